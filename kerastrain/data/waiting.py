"""How long a training waits for its batches.

Takes a `tf.data.Dataset`; returns one with the same elements, and the seconds that were waited for each. Must not change what
is read, nor in which order.
"""

import time
from collections import deque

import numpy as np
import tensorflow as tf


def timed(dataset: tf.data.Dataset) -> tuple[tf.data.Dataset, deque[float]]:
    """Measures the time between the request of each element and its arrival.

    A step of Keras's `fit` asks for its batch inside a TensorFlow function, where Python cannot time it. The data set is
    therefore read between two functions that note the time, one before and one after it, in the thread that asks.

    Args:
        dataset: tf.data.Dataset whose elements are read by one device.

    Returns:
        (tf.data.Dataset with the same elements; deque of float, to which the seconds of each wait are added).

    Example:
        >>> dataset, waits = timed(tf.data.Dataset.range(3).prefetch(1))
        >>> [int(element) for element in dataset], len(waits)
        ([0, 1, 2], 3)
    """
    waits: deque[float] = deque()

    def now(_) -> tf.Tensor:
        return tf.numpy_function(lambda: np.float64(time.perf_counter()), [], tf.float64)

    def arrived(asked: np.ndarray) -> np.ndarray:
        waits.append(time.perf_counter() - float(asked))
        return np.bool_(True)

    def after(asked: tf.Tensor, element):
        with tf.control_dependencies([tf.numpy_function(arrived, [asked], tf.bool)]):
            return tf.nest.map_structure(tf.identity, element)

    clock = tf.data.Dataset.counter().map(tf.autograph.experimental.do_not_convert(now))
    # Of the elements of a `zip`, the first is read before the second is asked for.
    both = tf.data.Dataset.zip((clock, dataset)).map(tf.autograph.experimental.do_not_convert(after))
    options = tf.data.Options()
    # A buffer behind the functions, or functions that run beside each other, would ask before the training does.
    options.experimental_optimization.inject_prefetch = False
    options.experimental_optimization.map_parallelization = False
    return both.with_options(options), waits
