import keras
import numpy as np
import pytest

from kerastrain import data, export, models, testing
from kerastrain.errors import InputError
from kerastrain.hub import layer as hub_layer

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3)).astype("float32")


class Doubled(keras.layers.Layer):
    """A layer that is not registered in any other process."""

    def call(self, inputs):
        return inputs * 2


def classifier(*layers):
    inputs = x = keras.Input((8, 8, 3))
    for layer in (keras.layers.Conv2D(4, 3), *layers, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)):
        x = layer(x)
    return keras.Model(inputs, x, name="colours")


@pytest.mark.slow
def test_a_keras_file_answers_as_predict_and_carries_labels_and_activation(tmp_path):
    model, path = classifier(keras.layers.BatchNormalization()), tmp_path / "colours.keras"
    examples = data.Examples(np.arange(20) % 3, ("a", "b", "c"), IMAGES.astype("uint8"))
    measured = export.keras_file(model, path, samples=examples, labels=("a", "b", "c"), activation="softmax")
    logits = model.predict(IMAGES, verbose=0)
    expected = np.exp(logits - logits.max(-1, keepdims=True))
    opened = models.load(path)
    np.testing.assert_allclose(opened.predict(IMAGES, verbose=0), expected / expected.sum(-1, keepdims=True), atol=1e-5)
    assert models.labels(opened) == ("a", "b", "c")
    assert measured.score == np.mean(logits.argmax(-1) == examples.targets)
    assert len(model.layers) == 5  # the model is unchanged
    assert {child.name for child in tmp_path.iterdir()} == {
        path.name,
        f"{path.name}.labels.txt",
        f"{path.name}.parity.json",
    }


@pytest.mark.slow
def test_a_keras_file_carries_a_module_and_texts(tmp_path):
    inputs = keras.Input((8, 8, 3))
    module = hub_layer.HubLayer(str(testing.saved_model(tmp_path / "module")))
    model = keras.Model(inputs, keras.layers.Dense(3)(module(keras.layers.Rescaling(1 / 255)(inputs))))
    assert export.keras_file(model, tmp_path / "hub.keras", samples=IMAGES).agreement == 1


@pytest.mark.slow
def test_a_file_that_only_opens_beside_its_makers_code_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot become a .keras file that opens elsewhere: .*Doubled"):
        export.keras_file(classifier(Doubled()), tmp_path / "a.keras", samples=IMAGES)
    with pytest.raises(InputError, match="must end in .keras"):
        export.keras_file(classifier(), tmp_path / "a.h5", samples=IMAGES)
    assert not list(tmp_path.iterdir())
