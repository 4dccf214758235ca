"""Files of models of half precision compute in float32, and the model keeps its precision."""

import keras
import numpy as np
import pytest

from kerastrain import export
from kerastrain.export import litert

INPUTS = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_a_file_computes_in_float32_and_the_model_as_before(tmp_path, caplog, policy):
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "tanh", dtype=policy)])
    model = keras.Sequential([inner, keras.layers.Dense(2, dtype="float32")])
    before = model.predict(INPUTS, verbose=0)
    kernel, bias, head_kernel, head_bias = map(np.asarray, model.get_weights())
    expected = np.tanh(INPUTS @ kernel + bias) @ head_kernel + head_bias
    caplog.set_level("INFO", "kerastrain")
    export.tflite(model, tmp_path / "model.tflite", samples=INPUTS)
    np.testing.assert_allclose(litert.run(tmp_path / "model.tflite", INPUTS), expected, atol=1e-6)
    assert np.abs(before - expected).max() > 1e-5
    np.testing.assert_array_equal(model.predict(INPUTS, verbose=0), before)
    assert f"the model computes in {policy.removeprefix('mixed_')}, the file in float32" in caplog.messages
