"""The fixture that comparisons of two devices with one share."""

import pytest
import tensorflow as tf

from kerastrain.train_step import keras_trainer


@pytest.fixture(scope="module")
def two_devices():
    keras_trainer.patch()
    yield tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.HierarchicalCopyAllReduce())
    keras_trainer.unpatch()
