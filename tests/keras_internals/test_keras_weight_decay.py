import keras
import tensorflow as tf

from kerastrain.keras_internals import weight_decay


def test_an_optimizer_calls_the_wrapper_in_place_of_its_weight_decay():
    variable = keras.Variable([2.0])
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.build([variable])
    calls = []

    def wrap(decay):
        def wrapped(variables):
            decay(variables)
            calls.append([each.numpy().item() for each in variables])

        return wrapped

    weight_decay.wrap_weight_decay(optimizer, wrap)
    optimizer.apply([tf.constant([0.0])])

    assert len(calls) == 1
    assert abs(calls[0][0] - (2.0 - 2.0 * 0.1 * 0.5)) < 1e-6
