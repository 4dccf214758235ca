"""Every schedule: config round trip, `.keras` save and load, eager equals graph, float32 under bfloat16."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import schedules

ROWS = {
    "constant": {},
    "linear": {"end_fraction": 0.1},
    "polynomial": {"power": 3.0},
    "cosine": {"end_fraction": 0.1},
    "cosine_restarts": {"cycles": 2},
    "exponential": {"end_fraction": 0.1},
    "step": {"every_steps": 5},
    "piecewise": {"boundaries_steps": [4, 9], "fractions": [0.5, 0.1]},
    "one_cycle": {"rise_steps": 4},
    "inverse_square_root": {"timescale_steps": 4},
    "own": {"slope": 0.5},
}


@keras.saving.register_keras_serializable("conformance")
def own(step, *, peak, steps, slope):
    return peak - slope * tf.cast(step, tf.float32) / steps


def made(name):
    return schedules.make(own if name == "own" else name, 0.3, steps=20, warmup_steps=3, **ROWS[name])


def test_every_schedule_has_its_row():
    assert set(ROWS) == {*schedules.CURVES, "own"}


@pytest.mark.parametrize("name", ROWS)
def test_schedule_comes_back_from_its_config(name):
    schedule = made(name)
    config = keras.optimizers.schedules.serialize(schedule)
    again = keras.optimizers.schedules.deserialize(config)
    assert again.get_config() == schedule.get_config()
    np.testing.assert_array_equal(schedules.simulate(again, 22), schedules.simulate(schedule, 22))


@pytest.mark.parametrize("name", ROWS)
def test_schedule_comes_back_from_a_saved_model(name, tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(made(name)), "mse")
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras").optimizer
    for step in (0, 7, 30):
        again.iterations.assign(step)
        assert float(again.learning_rate) == float(made(name)(step))


@pytest.mark.parametrize("name", ROWS)
def test_schedule_is_equal_eagerly_in_a_graph_and_under_bfloat16(name):
    schedule = made(name)
    eager = np.array([schedule(tf.constant(step, tf.int64)) for step in range(22)])
    assert eager.dtype == np.float32
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        graph = schedules.simulate(made(name), 22)
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_allclose(graph, eager, rtol=1e-6, atol=3e-8)
