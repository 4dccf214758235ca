import keras
import numpy as np
import pytest

from kerastrain.distribute import placement
from kerastrain.language import adapters, decoders, losses
from kerastrain.presets.decoders import DecoderNetwork

BLOCK = {
    **{
        "num_heads": 4,
        "num_kv_heads": 2,
        "head_size": 4,
        "intermediate": 24,
        "rope": {"base": 1e4},
        "activation": "silu",
    },
    **dict.fromkeys(("attention_bias", "output_bias", "mlp_bias", "head_norms", "post_norms"), False),
}
NETWORK = DecoderNetwork(50, 64, 16, 1e-6, True, 1.0, None, (BLOCK,) * 4)
IDS = np.random.default_rng(0).integers(0, 50, (8, 12)).astype("int32")
INPUTS = {"token_ids": IDS, "segments": np.repeat([[1] * 7 + [2] * 5], 8, axis=0).astype("int32")}


def trained(lora_rank, devices, **options):
    keras.utils.set_random_seed(0)
    model = decoders.build(NETWORK)
    if lora_rank:
        adapters.add(model, lora_rank)
    model.compile(keras.optimizers.AdamW(0.01), losses.NextTokenCrossentropy(), jit_compile=False)
    stages = placement.place(model, devices, at=["block_2"], **options) if devices else ()
    model.fit(INPUTS, np.roll(IDS, -1, axis=1), batch_size=4, shuffle=False, epochs=2, verbose=0)
    return model, stages


@pytest.mark.equality
@pytest.mark.parametrize(
    ("lora_rank", "options"),
    [(None, {}), (2, {"micro_batches": 2, "recompute": True})],
)
def test_a_decoder_on_two_devices_trains_to_the_weights_of_one(lora_rank, options):
    (one, _), (two, stages) = trained(lora_rank, None), trained(lora_rank, ["CPU:0", "CPU:1"], **options)
    assert [stage.layers[-1] for stage in stages] == ["block_1", "logits"]
    assert {
        two.get_layer("block_3").weights[0].value.device[-5:],
        two.get_layer("block_0").weights[0].value.device[-5:],
    } == {
        "CPU:0",
        "CPU:1",
    }
    for weight, expected in zip(two.weights, one.weights, strict=True):
        np.testing.assert_allclose(weight, expected, atol=1e-6, err_msg=weight.path)
    np.testing.assert_allclose(two.predict(INPUTS, verbose=0), one.predict(INPUTS, verbose=0), atol=1e-5)
