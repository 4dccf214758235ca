"""The bundled backbone for photos keeps TF Hub's promises, and the file that it was converted from is read without torch."""

import collections
import io
import json
import pickle
import struct
import sys
import types
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import backbones
from saved_models import efficientnet_lite0

FOLDER = Path(__file__).parents[1] / "saved_models" / "efficientnet_lite0"


@pytest.fixture(scope="module")
def module():
    return tf.saved_model.load(FOLDER)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(size=(2, 64, 96, 3)).astype(np.float32)


def test_folder_is_small_enough_to_ship():
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) < 17_000_000


def test_pooled_features_are_the_mean_of_the_feature_maps_and_the_card_is_true(module, images):
    maps = module.feature_maps(images)
    assert maps.shape == (2, 2, 3, 1280)
    assert float(tf.reduce_min(maps)) >= 0
    assert float(tf.reduce_max(maps)) <= 6
    np.testing.assert_allclose(module(images), maps.numpy().mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)
    card = json.loads((FOLDER / "card.json").read_text())
    assert card["parameters"] == sum(int(np.prod(variable.shape)) for variable in module.variables)
    assert card["features"] == 1280


def test_weights_are_those_of_the_network_and_round_to_float16_without_loss(module, images):
    network = efficientnet_lite0.network()
    for variable, value in zip(network.variables, module.variables, strict=True):
        assert np.array_equal(value.numpy(), value.numpy().astype(np.float16))
        variable.assign(value)
    np.testing.assert_allclose(network(images), module.feature_maps(images), rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_every_trainable_variable_has_a_gradient(module, images):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(module(images, training=False) ** 2)
    assert all(gradient is not None for gradient in tape.gradient(loss, list(module.trainable_variables)))


def test_it_is_a_backbone_of_its_own_name():
    backbone = backbones.load("kerastrain:efficientnet_lite0")
    assert backbone.image_size == (224, 224)
    assert backbone.value_range == (0, 1)


class _Pickler(pickle.Pickler):
    """Writes arrays as torch.save does: a reference to a storage, and how the tensor lies in it."""

    def persistent_id(self, value):
        return (
            ("storage", sys.modules["torch"].FloatStorage, value.key, "cpu", 9) if isinstance(value, _Storage) else None
        )


class _Storage:
    def __init__(self, key):
        self.key = key


class _Tensor:
    def __init__(self, key, offset, size, strides):
        self.layout = (_Storage(key), offset, size, strides, False, collections.OrderedDict())

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.layout


def _saved(value, monkeypatch):
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    torch.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})
    utils._rebuild_tensor_v2 = lambda *layout: layout
    utils._rebuild_tensor_v2.__module__, utils._rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    file = io.BytesIO()
    for item in (efficientnet_lite0._MAGIC, 1001, {}, value, ["0"]):
        _Pickler(file, 2).dump(item)
    numbers = np.arange(6, dtype=np.float32)
    return file.getvalue() + struct.pack("<q", len(numbers)) + numbers.tobytes()


def test_tensors_are_read_as_they_lie_in_their_storage(monkeypatch):
    content = _saved(
        collections.OrderedDict(a=_Tensor("0", 0, (2, 3), (3, 1)), b=_Tensor("0", 1, (2,), (2,))), monkeypatch
    )
    tensors = efficientnet_lite0.read_tensors(content)
    np.testing.assert_array_equal(tensors["a"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(tensors["b"], [1, 3])


def test_a_file_that_runs_code_or_reads_elsewhere_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="a dict of tensors needs no .*system"):
        efficientnet_lite0.read_tensors(pickle.dumps(__import__("os").system))
    beyond = _saved(collections.OrderedDict(a=_Tensor("0", 4, (2, 3), (3, 1))), monkeypatch)
    with pytest.raises(ValueError, match="must lie within its storage"):
        efficientnet_lite0.read_tensors(beyond)
    with pytest.raises(ValueError, match="SHA-256 .* must be"):
        efficientnet_lite0.weights_file(Path(keras.__file__))
