import keras
import numpy as np
import pytest

from kerastrain import models
from kerastrain.errors import InputError

TOKENS = np.random.default_rng(0).integers(1, 20, (8, 6))
TARGETS = np.random.default_rng(1).normal(0, 1, (8, 2)).astype("float32")


def transformer():
    inputs = keras.Input((6,), dtype="int32")
    values = keras.layers.Embedding(20, 8, name="words")(inputs)
    values = keras.layers.MultiHeadAttention(2, 4, name="attention")(values, values)
    values = keras.layers.LayerNormalization(name="norm")(values)
    values = keras.layers.GlobalAveragePooling1D()(keras.layers.Dense(8, name="mix")(values))
    backbone = keras.Model(inputs, values, name="backbone")
    backbone.trainable = False
    tokens = keras.Input((6,), dtype="int32")
    return keras.Model(tokens, keras.layers.Dense(2, name="outputs")(backbone(tokens)))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")  # see the docstring of `add_lora`
def test_lora_begins_unchanged_trains_little_and_merges_exactly(tmp_path):
    model = transformer()
    before = model.predict(TOKENS, verbose=0)
    kernel = model.get_layer("backbone").get_layer("mix").kernel.numpy()
    assert models.add_lora(model, rank=2) == 6
    np.testing.assert_allclose(model.predict(TOKENS, verbose=0), before, atol=1e-6)
    trained = {variable.path.split("/", 1)[-1] for variable in model.trainable_variables}
    assert not any(
        path.endswith(("kernel", "embeddings", "gamma")) and "outputs" not in path for path in trained - {"kernel"}
    )
    model.compile(keras.optimizers.Adam(0.05), "mse")
    model.fit(TOKENS, TARGETS, epochs=2, verbose=0)
    mix = model.get_layer("backbone").get_layer("mix")
    np.testing.assert_array_equal(mix._kernel.numpy(), kernel)
    expected = kernel + mix.lora_kernel_a.numpy() @ mix.lora_kernel_b.numpy()
    after = model.predict(TOKENS, verbose=0)
    assert np.abs(after - before).max() > 1e-2
    model.save(tmp_path / "adapted.keras")
    np.testing.assert_allclose(
        keras.models.load_model(tmp_path / "adapted.keras").predict(TOKENS, verbose=0), after, atol=1e-5
    )
    assert models.merge_lora(model) == 6
    np.testing.assert_allclose(mix.kernel.numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(model.predict(TOKENS, verbose=0), after, atol=1e-5)
    plain = transformer()
    assert [v.shape for v in model.weights] == [v.shape for v in plain.weights]
    model.save(tmp_path / "merged.keras")
    np.testing.assert_allclose(
        keras.models.load_model(tmp_path / "merged.keras").predict(TOKENS, verbose=0), after, atol=1e-5
    )


def test_unfreezing_does_not_let_adapted_kernels_go():
    model = transformer()
    models.add_lora(model, rank=2)
    models.unfreeze(model)
    assert not model.get_layer("backbone").get_layer("mix")._kernel.trainable


def test_named_layers_alone_are_adapted():
    model = transformer()
    assert models.add_lora(model, layers=["attention"]) == 4
    assert not model.get_layer("backbone").get_layer("mix").lora_enabled


@pytest.mark.parametrize(
    ("options", "match"),
    [({"rank": 0}, "above 0"), ({"layers": ["mixx"]}, "Did you mean 'mix'"), ({"layers": ["norm"]}, "to adapt")],
)
def test_lora_says_what_it_cannot_adapt(options, match):
    with pytest.raises(InputError, match=match):
        models.add_lora(transformer(), **options)


def test_a_named_layer_without_a_kernel_to_adapt_warns(caplog):
    assert models.add_lora(transformer(), layers=["mix", "norm"]) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "the layer 'norm' gets no LoRA matrices: no dense, embedding or attention kernel is in it"
    ]
