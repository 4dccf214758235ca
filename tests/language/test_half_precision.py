"""A language model in bfloat16 computes the same before it is saved and after."""

import numpy as np

from kerastrain import models, runtime
from kerastrain.language import decoders
from kerastrain.presets.decoders import DecoderNetwork


def test_a_saved_model_computes_as_before(tmp_path):
    block = {"num_heads": 4, "num_kv_heads": 2, "head_size": 4, "intermediate": 24, "rope": {"base": 100.0}}
    network = DecoderNetwork(23, 64, 16, 1e-6, True, 1.0, None, (block, block))
    random = np.random.default_rng(0)
    inputs = {"token_ids": random.integers(0, 23, (2, 12)), "segments": np.ones((2, 12), int)}
    with runtime.precision("mixed_bfloat16"):
        model = decoders.build(network)
    for variable in model.weights:
        variable.assign_add(random.normal(0, 0.2, variable.shape))
    assert model.get_layer("block_0").compute_dtype == "bfloat16"
    expected = np.asarray(model(inputs))
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(models.load(tmp_path / "model.keras")(inputs), expected)
    assert len(np.unique(expected)) > 0.9 * expected.size  # Logits have all digits of float32.
    whole = decoders.build(network)
    whole.set_weights(model.get_weights())
    difference = np.abs(np.asarray(whole(inputs)) - expected)
    assert 0 < difference.max() < 0.05 * np.abs(expected).max()
