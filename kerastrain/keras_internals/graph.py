"""The graph of a functional model: run it with other operations, and find what produced a tensor.

Takes a functional `keras.Model` or a symbolic tensor; returns tensors or operations. The model gets no new nodes, weights
or configuration.

The private names are `Functional._run_through_graph` and `KerasTensor._keras_history`, read in Keras 3.13 to 3.15: the
public `keras.models.clone_model` cannot replay a graph on the tensors of another model.
`tests/keras_internals/test_keras_graph.py` fails when one of them moves.
"""

from collections.abc import Callable

import keras
from keras.src.models.functional import Functional


def is_transparent(layer: keras.Layer) -> bool:
    """Whether the graph of `layer` is known: a functional or Sequential model that does not override `call`.

    Args:
        layer: keras.Layer or keras.Model.
    """
    return (isinstance(layer, Functional) and type(layer).call is Functional.call) or (
        isinstance(layer, keras.Sequential) and type(layer).call is keras.Sequential.call
    )


def run_through_graph(model: keras.Model, inputs: object, call: Callable) -> object:
    """Runs the graph of a functional model with `call` in place of calling each operation.

    Args:
        model: functional keras.Model, not Sequential.
        inputs: tensor, or nest of tensors, in the structure of the model's inputs.
        call: function of (operation, *args, **kwargs), which returns the operation's outputs.

    Returns:
        tensor, or nest of tensors, in the structure of the model's outputs.
    """
    return model._run_through_graph(inputs, operation_fn=lambda operation: operation, call_fn=call)


def is_chain(model: keras.Model) -> bool:
    """Whether each layer of a model takes the output of the layer before it, and beside it at most later inputs of the model.

    Args:
        model: keras.Model.

    Returns:
        bool; False for a model whose graph is not known.
    """
    if not is_transparent(model):
        return False
    if isinstance(model, keras.Sequential):
        return True
    first, *others = (object() for _ in model.inputs)
    outputs, called = [first], []

    def call(operation, *args, **kwargs):
        tensors = [
            leaf for leaf in keras.tree.flatten((args, kwargs)) if any(leaf is one for one in (*outputs, *others))
        ]
        follows = [tensor for tensor in tensors if tensor not in others]
        called.append((operation, len(follows) == 1 and follows[0] is outputs[-1]))
        outputs.append(object())
        return outputs[-1]

    last = keras.tree.flatten(run_through_graph(model, [first, *others], call))
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    return last == outputs[-1:] and called == [(layer, True) for layer in layers]


def producer(tensor: keras.KerasTensor) -> keras.Operation:
    """The operation that computes a symbolic tensor.

    Args:
        tensor: keras.KerasTensor of a functional model.

    Returns:
        keras.Operation; an InputLayer for an input.
    """
    return tensor._keras_history.operation
