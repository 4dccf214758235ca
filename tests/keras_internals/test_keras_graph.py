import keras

from kerastrain.keras_internals import graph


def model():
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.ReLU(name="relu")(keras.layers.Dense(2, name="dense")(inputs)))


def test_a_graph_runs_with_other_operations():
    called = []

    def call(operation, *args, **kwargs):
        called.append(operation.name)
        return args[0] + 1

    assert graph.run_through_graph(model(), 5, call) == 7
    assert called == ["dense", "relu"]


def test_the_producer_of_a_tensor_is_its_layer():
    functional = model()
    assert graph.producer(functional.output).name == "relu"
    assert isinstance(graph.producer(functional.input), keras.layers.InputLayer)


def test_a_model_that_overrides_call_is_opaque():
    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    assert graph.is_transparent(model())
    assert graph.is_transparent(keras.Sequential([keras.layers.Dense(2)]))
    assert not graph.is_transparent(Own())
    assert not graph.is_transparent(keras.layers.Dense(2))


def test_layers_that_follow_one_another_are_a_chain():
    inputs, numbers, dense = keras.Input((4,)), keras.Input((2,)), keras.layers.Dense(4)
    values = keras.layers.Dense(4, name="first")(inputs)
    assert graph.is_chain(model())
    assert graph.is_chain(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2), keras.layers.Dense(2)]))
    both = keras.layers.Concatenate()([values, numbers])
    assert graph.is_chain(keras.Model([inputs, numbers], keras.layers.Dense(1)(both)))
    assert not graph.is_chain(keras.Model(inputs, dense(values) + values))
    assert not graph.is_chain(keras.Model(inputs, keras.layers.Add()([values, inputs])))
    assert not graph.is_chain(keras.Model(inputs, [values, dense(values)]))
    assert not graph.is_chain(keras.Model(inputs, dense(dense(inputs))))
    assert not graph.is_chain(keras.Model(inputs, keras.ops.relu(values)))
