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
