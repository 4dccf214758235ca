"""Gives a Python function a name under which graphs of other processes call it.

`tf.numpy_function` names its function by a number of its own process, and its documentation says that the function is no part of
the graph, so that a worker of the tf.data service fails: "callback pyfunc_0 is not found". The operation itself,
`tf.raw_ops.PyFunc`, is public and takes any name; only the table of names is not.

Reference: https://www.tensorflow.org/api_docs/python/tf/numpy_function

The private name is `script_ops._py_funcs._funcs`, read in TensorFlow 2.20 and 2.21. `tests/keras_internals/
test_python_operations.py` fails when it moves.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf
from tensorflow.python.ops import script_ops

_kept: dict[str, Callable] = {}  # The table holds only weak references.


def register(name: str, function: Callable) -> None:
    """Makes a function callable by graphs that run in this process.

    Args:
        name: str, the same in the process that makes the graph.
        function: callable from NumPy arrays and bytes to a NumPy array.
    """
    _kept[name] = function
    script_ops._py_funcs._funcs[name] = function


def call(name: str, inputs: Sequence[tf.Tensor], dtype: tf.DType) -> tf.Tensor:
    """Calls a function that is registered in the process in which the graph runs.

    Args:
        name: str.
        inputs: sequence of tensors.
        dtype: tf.DType of its result.

    Returns:
        tensor.
    """
    [output] = tf.raw_ops.PyFunc(input=list(inputs), token=name, Tout=[dtype])
    return output
