"""What of a language model trains.

Takes a `keras.Model` from `decoders.build`; sets what trains. Must not train.
"""

import keras

from kerastrain.layers.decoder import DecoderBlock
from kerastrain.presets import decoder_choices


def train_last(model: keras.Model, last: int | None) -> int:
    """Lets the last blocks of a model train, with what follows them.

    Args:
        model: keras.Model from `decoders.build`, without adapters.
        last: int >= 1, the number of blocks; None for the whole model, its embeddings included.

    Returns:
        int >= 1, the numbers that train.

    Raises:
        InputError: the model has fewer blocks.
    """
    blocks = [layer for layer in model.layers if isinstance(layer, DecoderBlock)]
    decoder_choices.check_last(last, len(blocks))
    model.trainable = True
    if last is not None:
        kept = [*blocks[-last:], model.get_layer("norm")]
        for layer in model.layers:
            layer.trainable = layer in kept
    return sum(int(weight.value.shape.num_elements()) for weight in model.trainable_weights)
