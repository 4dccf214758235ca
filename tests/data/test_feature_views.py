"""Features of several augmented views: which picture each epoch reads, and the file that holds them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import data
from kerastrain.data.feature_views import precompute_views
from kerastrain.data.views import Views
from kerastrain.errors import InputError

SEED = 7


@pytest.fixture(scope="module")
def examples():
    split = data.digits(image_size=(8, 8))
    return split.train.subset(np.arange(50))


@pytest.fixture(scope="module")
def pixels():
    """A model whose features are the pixels, so that a view can be compared with the augmented images."""
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, keras.layers.Flatten()(inputs))


@pytest.fixture(scope="module")
def augment():
    return data.augment("resized_crop", "noise")


@pytest.fixture(scope="module")
def expected(examples, augment):
    """The images as they are, and two epochs of augmented ones from the pipeline of fine-tuning: (3, 50, 192)."""
    augmented = [batch[0] for batch in data.batches(examples, 50, seed=SEED, epochs=3, augment=augment)]
    return np.stack([examples.inputs, *augmented[1:]]).reshape(3, 50, -1)


def test_views_are_the_image_and_what_augmented_epochs_train_on(examples, pixels, augment, expected, tmp_path):
    options = {"augment": augment, "seed": SEED}
    views = precompute_views(pixels, examples, 16, views=3, **options).inputs.arrays
    np.testing.assert_array_equal(views, expected)
    filed = precompute_views(pixels, examples, 20, views=2, path=tmp_path / "new" / "features.npy", **options)
    np.testing.assert_array_equal(filed.inputs.arrays, expected[:2])
    assert isinstance(filed.inputs.arrays, np.memmap)


def test_epochs_take_turns_on_the_views_in_any_order_of_the_examples(examples):
    arrays = np.stack([np.arange(50, dtype=np.float32)[:, None] + 100 * view for view in range(3)])
    cached = data.Examples(examples.targets, examples.labels, Views(arrays))
    read = np.stack([batch[0] for batch in data.batches(cached, 50, shuffle=True, seed=SEED, epochs=5)])[..., 0]
    orders = np.stack([data.indices(cached, 50, epoch, shuffle=True, seed=SEED) for epoch in range(5)])
    np.testing.assert_array_equal(read, orders + 100 * np.array([0, 1, 2, 0, 1])[:, None])
    # A resumed training starts in the middle of an epoch.
    resumed = next(iter(data.batches(cached, 20, shuffle=True, seed=SEED, epochs=5, start_step=3 * 3 + 1)))[0]
    np.testing.assert_array_equal(resumed[:, 0], orders[3][20:40])
    np.testing.assert_array_equal(cached.subset(np.array([4, 2])).inputs.arrays, arrays[:, [4, 2]])


@pytest.mark.slow
def test_views_of_two_replicas_are_those_of_one(examples, augment, expected):
    traces = []

    class Counted(keras.layers.Flatten):
        def call(self, inputs):
            traces.append(inputs)
            return super().call(inputs)

    reduction = tf.distribute.HierarchicalCopyAllReduce()  # whose keys cannot clash with those of another strategy
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], cross_device_ops=reduction).scope():
        inputs = keras.Input((8, 8, 3))
        model = keras.Model(inputs, Counted()(inputs))
    traces.clear()
    views = precompute_views(model, examples, 7, views=2, augment=augment, seed=SEED).inputs.arrays
    np.testing.assert_array_equal(views, expected[:2])
    assert len(traces) <= 2 * 2  # on each device for the first batch and for the last, which has one example


def test_one_view_of_a_stream_is_what_the_model_predicts(examples, pixels, tmp_path):
    streamed = precompute_views(pixels, examples, 16, path=tmp_path / "features.npy").inputs
    np.testing.assert_array_equal(streamed, data.features.precompute(pixels, examples, 16).inputs)


def test_a_damaged_file_is_written_again_and_a_whole_one_is_read(examples, pixels, tmp_path):
    path = tmp_path / "features.npy"
    first = np.array(precompute_views(pixels, examples, 16, path=path).inputs)
    content = path.read_bytes()
    for damaged in (content[:-100], content[:20], b"", np.lib.format.magic(1, 0) + b"no header"):
        path.write_bytes(damaged)
        np.testing.assert_array_equal(precompute_views(pixels, examples, 16, path=path).inputs, first)
    assert path.read_bytes() == content
    np.save(path, first[None] + 1)
    np.testing.assert_array_equal(precompute_views(pixels, examples, 16, path=path).inputs, first + 1)


def test_images_that_are_blended_have_no_views(examples, pixels):
    with pytest.raises(InputError, match="single images, and mixup and cutmix blend two"):
        precompute_views(pixels, examples, views=2, augment=data.augment("mixup"))
