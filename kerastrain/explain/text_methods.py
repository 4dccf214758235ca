"""The methods that explain texts, and the choice of one for a model.

Takes a `keras.Model`; returns the name of a method and the reason. Must not explain anything itself.
"""

import keras

from kerastrain.errors import InputError, unknown
from kerastrain.explain.occlusion import occlusion
from kerastrain.explain.token_gradients import integrated_gradients, reads_ngrams, unsuitable

TEXT_METHODS = {"integrated_gradients": integrated_gradients, "occlusion": occlusion}


def text_method(model: keras.Model, method: str = "auto") -> tuple[str, str]:
    """Chooses how the words of a model's texts are explained.

    Args:
        model: keras.Model from texts.
        method: "auto" for integrated gradients where the model shows embeddings of tokens, except for n-grams, and else
            occlusion; or one of them.

    Returns:
        tuple of the name of the method and a sentence that says why, empty unless `method` is "auto".

    Raises:
        InputError: the method is unknown, or needs embeddings that the model does not show.
    """
    if method not in ("auto", *TEXT_METHODS):
        raise InputError(unknown("method for texts", method, ("auto", *TEXT_METHODS)))
    if method == "occlusion":
        return method, ""
    reason = unsuitable(model)
    if method == "integrated_gradients":
        if reason:
            raise InputError(
                f"integrated gradients need embeddings of tokens. Received: {reason}. Use occlusion (`--method occlusion`)."
            )
        return method, ""
    if reason:
        return "occlusion", f"integrated gradients need embeddings of tokens, and this is {reason}"
    if reads_ngrams(model):
        return "occlusion", "a word is part of many n-grams, whose weights depend on each other"
    return "integrated_gradients", "the model shows the embeddings of its tokens"
