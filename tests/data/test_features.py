import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import data


def test_features_are_the_outputs_of_the_model_in_order():
    split = data.digits(image_size=(8, 8))
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.layers.Dense(4)(keras.layers.Flatten()(keras.layers.Dropout(0.5)(inputs))))
    features = data.features.precompute(model, split.validation, 100)
    kernel, bias = model.get_weights()
    expected = split.validation.inputs.reshape(-1, 192).astype(np.float32) @ kernel + bias
    np.testing.assert_allclose(features.inputs, expected, rtol=1e-4, atol=0.1)
    np.testing.assert_array_equal(features.targets, split.validation.targets)
    assert (len(features.labels), features.shape, features.dtype) == (10, (4,), np.float32)


def test_head_fits_on_batches_of_features():
    split = data.digits(image_size=(8, 8))
    images = keras.Input((8, 8, 3))
    backbone = keras.Model(images, keras.layers.Rescaling(1 / 255)(keras.layers.Flatten()(images)))
    train, validation = (data.features.precompute(backbone, part) for part in (split.train, split.validation))
    head = keras.Sequential([keras.Input(train.shape), keras.layers.Dense(10)])
    head.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    steps = data.steps_per_epoch(train, 32)
    head.fit(data.batches(train, 32, shuffle=True, epochs=6), epochs=6, steps_per_epoch=steps, shuffle=False, verbose=0)
    assert head.evaluate(data.batches(validation, 100), verbose=0, return_dict=True)["accuracy"] > 0.85


class _PaddedToTheLongest(keras.layers.Layer):
    """Counts the words of a text, and how many words its batch was padded to."""

    def call(self, texts):
        words = tf.strings.split(texts)
        longest = words.bounding_shape(axis=1, out_type=tf.int32)
        counts = tf.cast(words.row_lengths(), tf.int32)
        return tf.cast(tf.stack([counts, tf.fill(tf.shape(counts), longest)], axis=1), tf.float32)

    def compute_output_spec(self, texts):
        return keras.KerasTensor((None, 2), "float32")


@pytest.mark.parametrize("replicas", [1, 2])
def test_features_by_length_are_in_order_and_computed_beside_their_like(replicas):
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]) if replicas == 2 else tf.distribute.get_strategy()
    lengths = np.random.default_rng(0).permutation(np.arange(1, 41))
    texts = np.array([" ".join("w" * length) for length in lengths], object)
    examples = data.Examples(np.zeros(40, np.int64), ("a", "b"), texts)
    with strategy.scope():
        strings = keras.Input((), dtype="string")
        model = keras.Model(strings, _PaddedToTheLongest()(strings))
    plain = data.features.precompute(model, examples, 8).inputs
    counts, padded = data.features.precompute(model, examples, 8, lengths=lengths).inputs.T
    np.testing.assert_array_equal(counts, lengths)
    assert (padded - counts).max() <= 8 < (plain[:, 1] - plain[:, 0]).max()


def test_features_are_computed_by_the_first_process_and_read_by_the_others(tmp_path):
    inputs = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    examples = data.Examples(inputs=inputs, targets=np.array([0, 1, 0, 1, 0]), labels=("a", "b"))
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    path = tmp_path / "features" / "first.npy"
    first = data.features.precompute_once(path, model, examples)
    np.testing.assert_array_equal(first.inputs, data.features.precompute(model, examples).inputs)
    model.set_weights([2 * weight for weight in model.get_weights()])
    second = data.features.precompute_once(path, model, examples)
    np.testing.assert_array_equal(second.inputs, first.inputs)  # read, although the model would give others now
    assert not np.array_equal(data.features.precompute(model, examples).inputs, first.inputs)


def test_features_of_a_model_that_changes_when_it_is_called_are_computed_every_time(tmp_path):
    class Counting(keras.layers.Layer):
        def build(self, shape):
            self.calls = self.add_weight(shape=(), trainable=False, initializer="zeros")

        def call(self, inputs):
            self.calls.assign_add(1.0)
            return inputs + 0 * self.calls

    examples = data.Examples(inputs=np.ones((2, 3), "float32"), targets=np.array([0, 1]), labels=("a", "b"))
    model = keras.Sequential([keras.Input((3,)), Counting()])
    for count in (1, 2):
        data.features.precompute_once(tmp_path / "counted.npy", model, examples)
        assert float(model.layers[0].calls.value) == count
    assert not (tmp_path / "counted.npy").exists()
