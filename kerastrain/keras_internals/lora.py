"""The kernel of a layer beside its low-rank pair.

Takes a layer that Keras can adapt with `enable_lora`; returns its variable or changes the layer. Must not choose layers.

Keras has `enable_lora` and no way back: `kernel` (`embeddings` of an Embedding) returns the sum of the stored kernel and
the pair. The private names are `_kernel` of Dense and EinsumDense and `_embeddings` of Embedding, together with the
attributes `lora_kernel_a`, `lora_kernel_b`, `lora_embeddings_a` and `lora_embeddings_b`, and `_untrack_variable` of
`keras.Layer`, read in Keras 3.12.4 and 3.15.1.
`tests/keras_internals/test_keras_lora.py` fails when one of them moves.
"""

import keras


def stored_kernel(layer: keras.Layer) -> keras.Variable:
    """The kernel that a layer holds, without its low-rank pair.

    Args:
        layer: built Dense, EinsumDense or Embedding layer, with or without a pair.

    Returns:
        keras.Variable of the layer's kernel or embeddings.
    """
    return getattr(layer, f"_{_kernel_name(layer)}")


def merge(layer: keras.Layer) -> None:
    """Adds the low-rank pair of a layer to its kernel, removes the pair and lets the kernel train again.

    Args:
        layer: Dense, EinsumDense or Embedding layer for which `lora_enabled` is True.
    """
    name = _kernel_name(layer)
    kernel = stored_kernel(layer)
    kernel.assign(getattr(layer, name))
    for factor in ("a", "b"):
        delete_variable(layer, f"lora_{name}_{factor}")
    layer.lora_enabled, layer.lora_rank, layer.lora_alpha = False, None, None
    kernel.trainable = True


def delete_variable(layer: keras.Layer, name: str) -> None:
    """Deletes a variable of a layer as `del` does, but does not collect garbage.

    Keras collects all garbage of the process after each variable, half a second that hundreds of pairs make minutes.

    Args:
        layer: keras.Layer.
        name: str, the attribute that holds the variable.
    """
    layer._untrack_variable(getattr(layer, name))
    super(keras.Layer, layer).__delattr__(name)


def _kernel_name(layer: keras.Layer) -> str:
    return "embeddings" if isinstance(layer, keras.layers.Embedding) else "kernel"
