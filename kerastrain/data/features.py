"""What a frozen model says about every example, computed once.

Takes a model and `Examples`, gives `Examples` of features, which `batches` serves like any other. While the backbone
is frozen and nothing is augmented, an epoch of the head then costs the head alone. Must not train.
"""

import dataclasses

import keras
import numpy as np

from kerastrain.data.examples import Examples
from kerastrain.data.pipeline import batches


def precompute(model: keras.Model, examples: Examples, global_batch_size: int = 32) -> Examples:
    """The examples with their inputs replaced by the model's outputs.

    Args:
        model: keras.Model from the examples' inputs to float features (n, ...), called with training=False.
        examples: Examples that the model can take.
        global_batch_size: int > 0, examples in one forward pass.

    Returns:
        Examples with `inputs` float32 (n, ...), the outputs in the order of `examples`; all else unchanged.

    Example:
        >>> head_data = precompute(backbone, split.train)  # doctest: +SKIP
        >>> head.fit(batches(head_data, 32, shuffle=True))  # doctest: +SKIP
    """
    outputs = model.predict(batches(examples, global_batch_size), verbose=0)
    return dataclasses.replace(examples, inputs=np.asarray(outputs, np.float32))
