import tensorflow as tf

from kerastrain.keras_internals.frozen_graphs import frozen


def test_calls_are_inlined_and_variables_become_constants():
    variable = tf.Variable(3.0)
    inner = tf.function(lambda x: x * variable)
    outer = tf.function(lambda x: inner(x) + 1).get_concrete_function(tf.TensorSpec((), tf.float32))
    function = frozen(outer)
    assert not {"PartitionedCall", "StatefulPartitionedCall", "ReadVariableOp"} & {
        operation.type for operation in function.graph.get_operations()
    }
    variable.assign(5.0)
    assert float(function(tf.constant(2.0))[0]) == 7.0


def test_no_public_name_does_the_same():
    assert not hasattr(tf.graph_util, "convert_variables_to_constants_v2")
