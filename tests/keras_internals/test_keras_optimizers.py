import keras

from kerastrain.keras_internals import optimizers


def test_a_built_optimizer_lists_its_variables_in_order():
    variables = [keras.Variable([float(number)], name=f"variable_{number}") for number in range(3)]
    optimizer = keras.optimizers.Adam()
    optimizer.build(variables)
    assert [id(variable) for variable in optimizers.trained_variables(optimizer)] == [id(one) for one in variables]
    assert [optimizers.variable_index(optimizer, variable) for variable in variables] == [0, 1, 2]
