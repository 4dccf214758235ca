import keras
import tensorflow as tf

from kerastrain.keras_internals import variables


def test_a_tracked_variable_is_a_weight_of_the_layer_even_while_it_is_frozen():
    layer = keras.layers.Layer()
    learned = variables.wrapper(tf.Variable([1.0]), name="learned", trainable=True)
    statistic = variables.wrapper(tf.Variable([2.0]), name="statistic", trainable=False)
    for variable in (learned, statistic):
        variables.track(layer, variable)
    layer.trainable = False
    assert [id(weight) for weight in layer.weights] == [id(learned), id(statistic)]
    assert [id(weight) for weight in variables.trainable_when_unfrozen(layer)] == [id(learned)]


def test_a_wrapper_is_made_once_and_shares_its_value():
    value = tf.Variable([1.0, 2.0])
    wrapped = variables.wrapper(value, name="value", trainable=True)
    assert variables.wrapper(value, name="value", trainable=False) is wrapped
    wrapped.assign([3.0, 4.0])
    assert value.numpy().tolist() == [3.0, 4.0]


def test_a_redirected_wrapper_keeps_its_value_and_its_slots():
    wrapped, value = keras.Variable([1.0, 2.0]), tf.Variable([0.0, 0.0])
    optimizer = keras.optimizers.SGD(0.5, momentum=0.9)
    optimizer.build([wrapped])
    variables.redirect(wrapped, value)
    assert value.numpy().tolist() == [1.0, 2.0]
    optimizer.apply_gradients([(tf.constant([2.0, 2.0]), wrapped)])
    assert value.numpy().tolist() == [0.0, 1.0]


def test_safe_mode_is_off_outside_of_loading():
    assert variables.in_safe_mode() is False
    with keras.src.saving.serialization_lib.SafeModeScope(True):
        assert variables.in_safe_mode() is True
