"""`.keras` files of 0.1.0 open: classes are looked up by their registered names, wherever they live by now."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import kerastrain as kt
from kerastrain.decoding import OF_EARLIER_VERSIONS

FOLDER = Path(__file__).with_name("saved_by_0_1_0")


@pytest.mark.parametrize(
    "name",
    [
        "bundled_module",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("keras_backbone", "text_transformer")),
    ],
)
def test_a_model_of_0_1_0_predicts_what_it_predicted_and_trains_on(name):
    with np.load(FOLDER / "answers.npz") as saved:
        inputs, answers = saved["texts" if name == "text_transformer" else "images"], saved[name]
    inputs = tf.constant(inputs)
    model = kt.models.load(FOLDER / f"{name}.keras")
    # The same bits on the same processor; others add in another order.
    np.testing.assert_allclose(model.predict(inputs, verbose=0), answers, rtol=1e-4, atol=1e-5)
    assert kt.models.decoding(model) == OF_EARLIER_VERSIONS
    assert model.optimizer.iterations == 1
    assert type(model.optimizer).__module__ == "kerastrain.optimizers.registry"
    model.train_on_batch(inputs, np.eye(answers.shape[-1], dtype="float32")[np.arange(len(answers)) % 2])
    assert model.optimizer.iterations == 2
