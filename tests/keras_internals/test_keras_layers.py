import keras

from kerastrain.keras_internals.layers import every_layer


def test_layers_inside_models_wrappers_and_attention_are_listed():
    inputs = keras.Input((6, 4))
    values = keras.layers.TimeDistributed(keras.layers.Dense(4, name="wrapped"), name="wrapper")(inputs)
    values = keras.layers.MultiHeadAttention(2, 2, name="attention")(values, values)
    inner = keras.Model(inputs, values, name="inner")
    outer = keras.Sequential([keras.Input((6, 4)), inner], name="outer")

    names = [layer.name for layer in every_layer(outer)]

    assert names[0] == "outer"
    assert {"inner", "wrapper", "wrapped", "attention", "query", "key", "value"} <= set(names)
