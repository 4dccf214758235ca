"""The features that the head trains on: their views, and what is done where memory or the disk is short."""

import dataclasses
import errno
import logging
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from interruptions import InterruptAfter, Interrupted

from kerastrain import config as configs
from kerastrain import data, models, recipe, runtime
from kerastrain.errors import ConfigError, InputError
from kerastrain.recipe import fitting, head_features, plan
from kerastrain.system import files, resources
from kerastrain.train_step import folded_norms

SETTINGS = ("data.image_size=[8, 8]", "fit.head_epochs=3", "fit.epochs=0", "evaluation.batch_size=16")


def config_of(*overrides):
    return configs.load(overrides=[*SETTINGS, *overrides])


def classifier():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    backbone = keras.Model(inputs, keras.layers.Conv2D(4, 3)(keras.layers.Rescaling(1 / 255)(inputs)))
    return models.image_classifier(backbone, labels=list("0123456789"), dropout=0.0)


@pytest.fixture(scope="module")
def split():
    whole = data.digits(image_size=(8, 8))
    return dataclasses.replace(
        whole, train=whole.train.subset(np.arange(40)), validation=whole.validation.subset(np.arange(9)), test=None
    )


@pytest.fixture(scope="module")
def features():
    return models.split_at_backbone(classifier())[0]


def computed(features, config, split, *folders):
    [phase] = plan.phases(config, len(split.train))
    return head_features.computed(features, config, split, phase, head_features.Places(*folders))[0]


def test_there_are_no_more_views_than_epochs_and_one_is_the_image_as_it_is(features, split, caplog):
    caplog.set_level(logging.INFO)
    train, validation = computed(features, config_of("fit.head_views=5"), split)
    assert train.inputs.arrays.shape == (3, 40, 4)
    assert "computing the backbone's features of 3 views of 40 images and of 9 validation images" in caplog.text
    plain = data.features.precompute(features, split.validation, 16).inputs
    np.testing.assert_array_equal(validation.inputs, plain)
    [one, _] = computed(features, config_of(), split)
    np.testing.assert_array_equal(one.inputs, data.features.precompute(features, split.train, 16).inputs)
    np.testing.assert_array_equal(train.inputs.arrays[0], one.inputs)


@pytest.mark.parametrize("views", [1, 2])
def test_a_backbone_is_traced_once_for_all_parts_and_views(split, monkeypatch, views):
    inputs = keras.Input((8, 8, 3))
    network = keras.Sequential([inputs, keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization()])
    model = models.image_classifier(network, labels=list("0123456789"))
    traces, fused = [], folded_norms._fused
    monkeypatch.setattr(folded_norms, "_fused", lambda *of: traces.append(of) or fused(*of))
    features = models.split_at_backbone(model)[0]
    computed(features, config_of(f"fit.head_views={views}"), split)
    assert len(traces) == 1


def test_features_that_memory_cannot_hold_are_in_a_file(features, split, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    config = config_of("fit.head_views=2")
    in_memory = computed(features, config, split)
    size = 4 * 4 * (2 * 40 + 9)
    monkeypatch.setattr(resources, "available_bytes", lambda: 2 * size - 1)
    [train, validation] = computed(features, config, split, None, tmp_path / "features")
    assert isinstance(train.inputs.arrays, np.memmap)
    assert isinstance(validation.inputs, np.memmap)
    np.testing.assert_array_equal(train.inputs.arrays, in_memory[0].inputs.arrays)
    np.testing.assert_array_equal(validation.inputs, in_memory[1].inputs)
    assert "more than half of the free memory: until the head is trained, they are in a file" in caplog.text
    with pytest.raises(InputError, match="fit.head_views=2. Lower it"):
        computed(features, config, split)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 0))
    [train, _] = computed(features, config, split, None, tmp_path / "features")  # written already
    with pytest.raises(InputError, match="lower fit.head_views"):
        computed(features, config, split, None, tmp_path / "other")
    head_features.remove_spilled(tmp_path / "features")
    assert not (tmp_path / "features").exists()
    np.testing.assert_array_equal(train.inputs.arrays, in_memory[0].inputs.arrays)


def test_what_decides_the_features_decides_the_name_of_their_file(features, split):
    def name(*overrides, parts=split):
        config = config_of("fit.head_views=2", *overrides)
        [phase] = plan.phases(config, len(parts.train))
        return head_features._digest(features, config, parts, head_features.view_count(config, phase))

    names = [
        name(),
        name("runtime.seed=1"),
        name("fit.head_views=3"),
        name("data.augment.noise.stddev=20"),
        name("evaluation.batch_size=8"),
        name(parts=dataclasses.replace(split, train=split.train.subset(np.arange(39)))),
    ]
    kernel = features.get_layer("backbone").weights[0]
    kernel.assign(2 * kernel)
    names.append(name())
    kernel.assign(kernel / 2)
    assert len(set(names)) == len(names)
    assert name() == names[0]
    assert name("fit.head_views=1") == name("fit.head_views=1", "runtime.seed=1")


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["data.augment=[]"], "fit.head_views needs data.augment"),
        (["data.augment=[noise, cutmix]"], "Received: 4, and data.augment with cutmix. Remove one of them."),
        (["data.kind=text", "data.path=reviews"], "fit.head_views is for images. Received: 4, and data.kind=text."),
        (["model={backbone: 'keras:VGG16', weights: random}"], "keras:VGG16 with random weights, which has none."),
    ],
)
def test_views_of_nothing_are_refused(overrides, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        configs.load(overrides=["fit.head_views=4", *overrides])


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("what", ["features", "folder"])
def test_features_are_computed_although_they_cannot_be_shared(
    features, split, tmp_path, monkeypatch, caplog, views, what
):
    def full(path, **_):
        if what == "features":
            raise files.WriteError(path, errno.ENOSPC)
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    config = config_of(f"fit.head_views={views}")
    monkeypatch.setattr(*((files, "atomic") if what == "features" else (Path, "mkdir")), full)
    [train, _] = computed(features, config, split, tmp_path)
    assert train.shape == (4,)
    assert "not shared with other trainings, but computed again: cannot write" in caplog.text
    assert "the disk is full" in caplog.text


@pytest.mark.slow
def test_a_resumed_head_on_features_in_a_file_ends_with_the_same_weights(split, tmp_path, monkeypatch):
    options = ("fit.head_views=2", "fit.head_epochs=2", "fit.global_batch_size=16", "fit.checkpoint_every=2 steps")

    def weights(folder):
        folder.mkdir(exist_ok=True)
        runtime.seed(0)
        model = classifier()
        recipe.fit(model, config_of(*options), split, folder)
        return model.get_weights()

    whole = weights(tmp_path / "whole")
    standard = fitting.callbacks.standard
    with monkeypatch.context() as patched:
        patched.setattr(resources, "available_bytes", lambda: 100)
        patched.setattr(fitting.callbacks, "standard", lambda *a, **k: [*standard(*a, **k), InterruptAfter(4)])
        with pytest.raises(Interrupted):
            weights(tmp_path / "killed")
    assert list((tmp_path / "killed").rglob("*_0.npy"))
    for one, other in zip(whole, weights(tmp_path / "killed"), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not list((tmp_path / "killed").rglob("*.npy"))
