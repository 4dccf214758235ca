import keras
import numpy as np
import tensorflow as tf

from kerastrain.keras_internals import tensor_masks


def test_the_mask_of_an_embedding_is_read():
    words = tf.constant([[3, 1, 0], [2, 0, 0]])
    embedded = keras.layers.Embedding(4, 2, mask_zero=True)(words)
    np.testing.assert_array_equal(tensor_masks.get_mask(embedded), words != 0)
    assert tensor_masks.get_mask(tf.zeros((2, 3))) is None


def test_a_layer_reads_the_mask_that_was_set():
    values = tf.constant([[[1.0], [5.0]]])
    tensor_masks.set_mask(values, tf.constant([[True, False]]))
    assert float(keras.layers.GlobalAveragePooling1D()(values)[0, 0]) == 1.0
