import re

import keras
import numpy as np
import pytest

from kerastrain import saving
from kerastrain.errors import InputError
from kerastrain.language import adapters, decoders
from kerastrain.presets.decoders import DecoderNetwork

VOCABULARY = 23
BLOCK = {"num_heads": 4, "num_kv_heads": 2, "head_size": 4, "intermediate": 24, "rope": {"base": 100.0}}
IDS = np.random.default_rng(1).integers(0, VOCABULARY, (8, 10)).astype("int32")
INPUTS = {"token_ids": IDS, "segments": np.ones_like(IDS)}
TARGETS = np.roll(IDS, -1, axis=1)


def tiny(policy="float32"):
    block = {**BLOCK, "attention_bias": True}
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = decoders.build(DecoderNetwork(VOCABULARY, 20, 16, 1e-6, True, 1.0, None, (block, block)))
    finally:
        keras.config.set_dtype_policy(before)
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:
        is_norm = variable.path.endswith("scale")
        variable.assign(random.normal(1, 0.1, variable.shape) if is_norm else random.normal(0, 0.3, variable.shape))
    return model


def outputs(model):
    return np.asarray(model(INPUTS), np.float32)


def fill(model):
    """Gives every pair random matrices, as a training would."""
    random = np.random.default_rng(2)
    for pair in adapters.pairs(model).values():
        pair.b.assign(random.normal(0, 0.1, pair.b.shape))


def fit(model, epochs=1):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, jit_compile=False)
    return model.fit(INPUTS, TARGETS, batch_size=4, epochs=epochs, verbose=0, shuffle=False).history["loss"]


@pytest.mark.parametrize(("stabilized", "scale"), [(False, 2.0), (True, 4.0)])
def test_pairs_add_their_scaled_product_to_each_kernel(stabilized, scale):
    model, plain = tiny(), tiny()
    before = outputs(model)
    assert adapters.add(model, 4, alpha=8, rank_stabilized=stabilized) == 14
    np.testing.assert_array_equal(outputs(model), before)
    fill(model)
    for path, pair in adapters.pairs(model).items():
        block, name, _ = path.split("/")
        assert np.abs(pair.a.numpy()).max() <= 1 / np.sqrt(pair.a.shape[0])
        kernel = plain.get_layer(block).linear(name).kernel
        kernel.assign(kernel.numpy() + scale * pair.a.numpy() @ pair.b.numpy())
    expected = outputs(plain)
    assert np.abs(expected - before).max() > 0.1
    np.testing.assert_allclose(outputs(model), expected, atol=1e-4)


@pytest.mark.slow
def test_a_model_with_adapters_switched_off_is_the_one_before_them():
    model = tiny()
    before, predicted = outputs(model), model.predict(INPUTS, verbose=0)
    adapters.add(model, 2)
    fill(model)
    after = outputs(model)
    with adapters.switched_off(model):
        np.testing.assert_array_equal(outputs(model), before)
        np.testing.assert_allclose(model.predict(INPUTS, verbose=0), predicted, atol=1e-5)
    np.testing.assert_array_equal(outputs(model), after)
    np.testing.assert_allclose(model.predict(INPUTS, verbose=0), after, atol=1e-4)


def test_merging_keeps_the_outputs_and_leaves_the_weights_of_a_plain_model():
    model = tiny()
    adapters.add(model, 2, layers=["query|value", "block_1/down"])
    assert len(adapters.pairs(model)) == 5
    fill(model)
    after = outputs(model)
    assert adapters.merge(model) == 5
    np.testing.assert_allclose(outputs(model), after, atol=1e-4)
    plain = tiny()
    assert [v.path for v in model.trainable_weights] == [v.path for v in plain.trainable_weights]
    assert len(model.weights) == len(plain.weights)
    assert adapters.merge(model) == 0
    adapters.add(model, 3)
    np.testing.assert_allclose(outputs(model), after, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("policy", "precision"), [("float32", None), ("mixed_bfloat16", "int8"), ("float32", "int4")])
def test_pairs_train_alone_and_a_file_keeps_them_with_the_optimizer(tmp_path, policy, precision):
    model = tiny(policy)
    if precision:
        before = outputs(model)
        assert adapters.quantize(model, precision) == 14
        layer = model.get_layer("block_0").linear("gate")
        assert layer.variables[0].dtype == "int8"
        kernel = tiny().get_layer("block_0").linear("gate").kernel.numpy()
        step = np.abs(kernel).max(axis=0) / 127 if precision == "int8" else np.ptp(kernel, axis=0) / 15
        error = np.abs(adapters.merged_kernel(model, "block_0/gate/kernel") - kernel)
        assert (error <= step * 1.05 + 0.02 * (policy != "float32")).all()
        assert np.abs(outputs(model) - before).max() > 0
    adapters.add(model, 4, alpha=8, dropout=0.1)
    assert {v.path.rsplit("/", 1)[-1] for v in model.trainable_weights} == {"a", "b"}
    assert {v.dtype for v in model.trainable_weights} == {"float32"}
    frozen = [v.numpy() for v in model.non_trainable_variables if "seed" not in v.path]
    losses = fit(model, epochs=5)
    assert losses[-1] < 0.85 * losses[0]
    kept = [v.numpy() for v in model.non_trainable_variables if "seed" not in v.path]
    assert all((one == other).all() for one, other in zip(frozen, kept, strict=True))
    model.save(tmp_path / "model.keras")
    loaded = saving.load(tmp_path / "model.keras")
    # In half precision Keras computes the logits of a loaded model with rounded embeddings.
    np.testing.assert_allclose(outputs(loaded), outputs(model), atol=0 if policy == "float32" else 0.1)
    pairs_of_variables = zip(model.optimizer.variables, loaded.optimizer.variables, strict=True)
    assert all((one.numpy() == other.numpy()).all() for one, other in pairs_of_variables)
    assert [v.path for v in loaded.trainable_weights] == [v.path for v in model.trainable_weights]
    if precision:
        with pytest.raises(InputError, match=f"kernels of floats.*Received: kernels of {precision}"):
            adapters.merge(model)


def test_dropout_hides_inputs_of_the_pairs_in_training_only():
    model = tiny()
    adapters.add(model, 2, dropout=0.5)
    before = outputs(model)
    np.testing.assert_array_equal(np.asarray(model(INPUTS, training=True)), before)
    fill(model)
    assert np.abs(np.asarray(model(INPUTS, training=True)) - outputs(model)).max() > 0.01


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "`rank` must be a whole number above 0. Received: 0"),
        ({"alpha": -1}, "`alpha` must be above 0. Received: -1"),
        ({"dropout": 1.0}, r"`dropout` must lie in \[0, 1\). Received: 1.0"),
        ({"layers": "q_proj"}, "'block_0/query/kernel'. Received: 'q_proj', which is in none. A block has query, key"),
        ({"layers": ["("]}, r"must hold regular expressions. Received: '\('"),
    ],
)
def test_adapters_that_cannot_be_are_refused(options, message):
    model = tiny()
    with pytest.raises(InputError, match=message):
        adapters.add(model, **options)
    assert not adapters.pairs(model)


def test_a_second_set_and_an_unknown_precision_are_refused():
    model = tiny()
    with pytest.raises(InputError, match=re.escape("must be one of int8, int4. Received: 'float8'")):
        adapters.quantize(model, "float8")
    adapters.add(model, 2)
    with pytest.raises(InputError, match="has adapters already"):
        adapters.add(model, 2)
    with pytest.raises(InputError, match="must be quantized before it gets adapters"):
        adapters.quantize(model, "int8")
