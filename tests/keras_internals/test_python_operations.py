import numpy as np
import tensorflow as tf

from kerastrain.keras_internals import python_operations


def test_a_graph_calls_the_function_that_is_registered_under_a_name():
    graph = tf.function(lambda text, number: python_operations.call("test_double", [text, number], tf.int64))
    graph.get_concrete_function(
        tf.TensorSpec((), tf.string), tf.TensorSpec((), tf.int64)
    )  # before there is such a function
    python_operations.register("test_double", lambda text, number: np.array(len(text) * 2 * number))
    assert int(graph(tf.constant(b"abc"), tf.constant(5, tf.int64))) == 30
