"""Properties of inputs that need no model, so that data of any two parts can be compared.

Takes arrays of images or texts; returns a float for each. Must not import TensorFlow.
"""

import re

import numpy as np

_WORD = re.compile(r"\w+")
_LARGEST_SIDE = 64


def of_inputs(inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Properties of each input.

    Args:
        inputs: (n, height, width, channels) images of any number type, or (n,) or (n, 2) texts.

    Returns:
        dict from the name of a property to float32 (n,); empty for other inputs.

    Example:
        >>> of_inputs(np.array(["two words", "three more words"], object))["words"].tolist()
        [2.0, 3.0]
    """
    inputs = np.asarray(inputs)
    if inputs.dtype == object:
        return of_texts(inputs)
    return of_images(inputs) if inputs.ndim == 4 else {}


def of_images(images: np.ndarray) -> dict[str, np.ndarray]:
    """Brightness, contrast, colour and sharpness of each image.

    Args:
        images: (n, height, width, channels) of any number type.

    Returns:
        dict from the name of a property to float32 (n,), in the unit of the pixels.
    """
    # Every second, third, … pixel is enough for a mean, and keeps large images cheap.
    step = max(1, max(images.shape[1:3]) // _LARGEST_SIDE)
    pixels = images[:, ::step, ::step].astype(np.float32)
    grey = pixels.mean(axis=-1)
    brightness = grey.mean(axis=(1, 2))
    contrast = grey.std(axis=(1, 2))
    differences = np.abs(np.diff(grey, axis=1)).mean(axis=(1, 2)) + np.abs(np.diff(grey, axis=2)).mean(axis=(1, 2))
    properties = {"brightness": brightness, "contrast": contrast, "sharpness": differences / (contrast + 1)}
    if pixels.shape[-1] == 3:
        channels = pixels.mean(axis=(1, 2))
        properties["saturation"] = (pixels.max(axis=-1) - pixels.min(axis=-1)).mean(axis=(1, 2))
        properties["red"], properties["blue"] = channels[:, 0] - brightness, channels[:, 2] - brightness
    return {name: np.asarray(values, np.float32) for name, values in properties.items()}


def of_texts(texts: np.ndarray) -> dict[str, np.ndarray]:
    """Length, words and kinds of characters of each text; a pair of texts counts as both together.

    Args:
        texts: object (n,) or (n, 2) of str.

    Returns:
        dict from the name of a property to float32 (n,).
    """
    joined = [" ".join(map(str, np.ravel(text))) for text in texts]
    words = [_WORD.findall(text) for text in joined]
    lengths = np.array([len(text) for text in joined], np.float32)
    share = lambda test: np.array([sum(map(test, text)) / max(len(text), 1) for text in joined], np.float32)
    return {
        "length": lengths,
        "words": np.array([len(found) for found in words], np.float32),
        "word length": np.array(
            [np.mean([len(word) for word in found]) if found else 0 for found in words], np.float32
        ),
        "capitals": share(str.isupper),
        "digits": share(str.isdigit),
        "other than ASCII": share(lambda character: not character.isascii()),
    }
