"""The list of KerasHub's presets, read from its files, is the one that it registers."""

import pytest

from kerastrain.keras_internals.kerashub_presets import builtin_presets

keras_hub = pytest.importorskip("keras_hub")


def test_presets_are_those_that_kerashub_registers():
    registered = keras_hub.models.Backbone.presets
    found = builtin_presets()
    assert {name: found[name].address for name in registered} == {
        name: value["kaggle_handle"] for name, value in registered.items()
    }
    assert found["vit_base_patch16_224_imagenet"].family == "vit"
    assert found["vit_base_patch16_224_imagenet"].parameters == 85_798_656
