"""The bundled backbone keeps TF Hub's promises, and the script that made it still makes one."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "saved_models" / "fractal_small"


@pytest.fixture
def backbone():
    return tf.saved_model.load(FOLDER)


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(size=(3, 40, 32, 3)).astype(np.float32)


def test_folder_is_small_enough_to_ship():
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) < 3_000_000


def test_pooled_features_are_the_mean_of_the_feature_maps(backbone, images):
    maps = backbone.feature_maps(images)
    assert maps.shape == (3, 5, 4, 256)
    np.testing.assert_allclose(backbone(images), maps.numpy().mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)


def test_served_features_are_the_callables(backbone, images):
    served = backbone.signatures["serving_default"](images=tf.constant(images))["features"]
    np.testing.assert_allclose(served, backbone(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (224, 224)])
def test_any_size_gives_finite_features_that_are_not_constant(backbone, size):
    noise = np.random.default_rng(0).uniform(size=(2, *size, 3)).astype(np.float32)
    features = backbone(noise).numpy()
    assert features.shape == (2, 256)
    assert np.isfinite(features).all()
    assert features.std() > 0


def test_training_moves_the_batch_norm_statistics_and_inference_does_not(backbone, images):
    moving = [variable for variable in backbone.variables if "batch_normalization/moving" in variable.name]
    assert len(moving) == len(backbone.variables) - len(backbone.trainable_variables)
    before = [variable.numpy() for variable in moving]
    backbone(images, training=False)
    assert all(np.array_equal(old, new) for old, new in zip(before, moving, strict=True))
    backbone(images, training=True)
    assert not any(np.array_equal(old, new) for old, new in zip(before, moving, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("training", [False, True])
def test_every_trainable_variable_has_a_gradient(backbone, images, training):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(backbone(images, training=training) ** 2)
    gradients = tape.gradient(loss, list(backbone.trainable_variables))
    assert len(gradients) > 0
    assert all(gradient is not None for gradient in gradients)


def test_regularization_loss_is_the_kernels_sum_of_squares(backbone):
    kernels = [variable.numpy() for variable in backbone.trainable_variables if "kernel" in variable.name]
    expected = 1e-5 * sum(np.sum(kernel.astype(np.float64) ** 2) / 2 for kernel in kernels)
    (loss,) = backbone.regularization_losses
    assert float(loss()) == pytest.approx(expected, rel=1e-4)


def test_card_tells_what_the_model_has(backbone):
    card = json.loads((FOLDER / "card.json").read_text())
    assert card["parameters"] == sum(int(np.prod(variable.shape)) for variable in backbone.variables)
    assert card["features"] == backbone(np.zeros((1, *card["image_size"], 3), np.float32)).shape[-1]


@pytest.mark.chaos
def test_pretraining_writes_a_model_that_loads_and_is_the_same_for_the_same_seed(tmp_path, images):
    few = ["--classes", "2", "--instances", "4", "--steps", "2", "--batch-size", "8"]
    features = []
    for name in ("first", "second"):
        command = [sys.executable, "-m", "saved_models.pretrain", "--output", str(tmp_path / name), *few]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        features.append(tf.saved_model.load(tmp_path / name)(images).numpy())
    np.testing.assert_array_equal(*features)


@pytest.mark.slow
def test_pretrained_features_beat_the_untrained_networks_on_digits():
    command = [sys.executable, "-m", "saved_models.probe", "--seeds", "1"]
    table = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    (row,) = (line for line in table.splitlines() if "digits" in line)
    error_ratio = float(row.split("|")[-2])
    assert error_ratio < 0.6
