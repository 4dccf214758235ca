import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain.optimizers.synchronized_clipping import PRIVATE_NAMES, SynchronizedClipping

CLIPS = [{"clipnorm": 0.5}, {"global_clipnorm": 0.5}, {"clipvalue": 0.2}]


class ClippedSGD(SynchronizedClipping, keras.optimizers.SGD):
    pass


@pytest.fixture(scope="module")
def two_replicas():
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.HierarchicalCopyAllReduce())


def weight_after_one_step(optimizer_class, clip, strategy):
    """A vector of zeros after one step with the gradients (3, 0) and (-1, 2) on two replicas; their sum is (2, 2)."""
    with strategy.scope():
        variable = keras.Variable(tf.zeros(2))
        optimizer = optimizer_class(1.0, **clip)
        optimizer.build([variable])
    replicas = strategy.num_replicas_in_sync

    @tf.function
    def step():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        gradients = tf.constant([[3.0, 0.0], [-1.0, 2.0]])
        gradient = gradients[replica] if replicas == 2 else tf.reduce_sum(gradients, axis=0)
        optimizer.apply([gradient], [variable])

    strategy.run(step)
    return variable.numpy()


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: next(iter(clip)))
def test_the_sum_over_replicas_is_clipped_once(clip, two_replicas):
    expected = [-0.2, -0.2] if "clipvalue" in clip else np.full(2, -0.5 / np.sqrt(2))
    np.testing.assert_allclose(weight_after_one_step(ClippedSGD, clip, two_replicas), expected, rtol=1e-6)


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: next(iter(clip)))
def test_one_device_clips_as_keras_does(clip):
    default = tf.distribute.get_strategy()
    expected = weight_after_one_step(keras.optimizers.SGD, clip, default)
    np.testing.assert_array_equal(weight_after_one_step(ClippedSGD, clip, default), expected)


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: next(iter(clip)))
def test_keras_itself_still_clips_each_replica(clip, two_replicas):
    """When this fails, Keras has fixed it: remove `SynchronizedClipping` from `kerastrain.optimizers`."""
    one_device = weight_after_one_step(keras.optimizers.SGD, clip, tf.distribute.get_strategy())
    assert np.abs(weight_after_one_step(keras.optimizers.SGD, clip, two_replicas) - one_device).max() > 1e-2


def test_sparse_gradients_are_clipped_too():
    table = keras.Variable(tf.zeros((3, 2)))
    gradient = tf.IndexedSlices(tf.constant([[3.0, 4.0]]), tf.constant([1]), tf.constant([3, 2]))
    ClippedSGD(1.0, clipnorm=1.0).apply([gradient], [table])
    np.testing.assert_allclose(table.numpy(), [[0, 0], [-0.6, -0.8], [0, 0]], rtol=1e-6)


def test_the_private_names_are_there():
    assert all(hasattr(keras.optimizers.Optimizer, name) for name in PRIVATE_NAMES)
