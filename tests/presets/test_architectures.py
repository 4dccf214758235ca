"""The tables of architectures hold what the installed KerasHub has."""

import pytest

from kerastrain.keras_internals.kerashub_presets import builtin_presets
from kerastrain.presets.architectures import CLASSES, FAMILIES, MODEL_TYPES, SIMILAR, TIMM

keras_hub = pytest.importorskip("keras_hub")


def test_every_preset_of_kerashub_is_of_a_known_family():
    assert {builtin.family for builtin in builtin_presets().values()} <= set(FAMILIES)


def test_classes_are_those_of_kerashub():
    names = {name for name in vars(keras_hub.models) if name.endswith("Backbone") and name != "Backbone"}
    known = {name for name in CLASSES if name.endswith("Backbone")}
    assert known <= names | {"RWKV7Backbone", "ESMBackbone"}, known - names


WITHOUT_CONVERTER = (
    "convnext",
    "convnextv2",
    "deberta-v2",
    "dinov3_convnext",
    "electra",
    "mpnet",
    "resnet",
    "siglip",
    "siglip_vision_model",
)


@pytest.mark.parametrize("model_type", [name for name in MODEL_TYPES if name not in WITHOUT_CONVERTER])
def test_model_types_are_those_of_the_converters(model_type):
    from keras_hub.src.utils.transformers.preset_loader import TransformersPresetLoader

    found = TransformersPresetLoader("", {"model_type": model_type}).check_backbone_class().__module__
    assert found.split(".")[-2] == MODEL_TYPES[model_type]


@pytest.mark.parametrize("architecture", TIMM)
def test_architectures_of_timm_are_those_of_the_converters(architecture):
    from keras_hub.src.utils.timm.preset_loader import TimmPresetLoader

    loader = TimmPresetLoader("", {"architecture": architecture})
    assert loader.check_backbone_class().__module__.split(".")[-2] == TIMM[architecture]
    loader.converter.convert_backbone_config(loader.config)


def test_what_is_proposed_instead_exists():
    for handle in SIMILAR.values():
        prefix, _, name = handle.partition(":")
        assert name in (builtin_presets() if prefix == "kerashub" else vars(__import__("keras").applications))
