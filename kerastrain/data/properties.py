"""Numbers about the inputs themselves, by which measures are divided: the size of images, the length of texts.

Takes `Examples`; returns a number for each. Must not decode pixels or import TensorFlow.
"""

import numpy as np

from kerastrain.data.examples import Examples
from kerastrain.data.image_files import original_sizes


def properties(examples: Examples) -> dict[str, np.ndarray]:
    """Measures the inputs, as far as they are files of images or texts.

    Args:
        examples: Examples of n inputs. The beginnings of image files are read.

    Returns:
        dict of float32 (n,): of images "shorter side" in pixels and "aspect ratio", width by height, both before they are
        resized, NaN for a file that cannot be opened; of texts "words", those of both texts of a pair. Empty for arrays.

    Example:
        >>> texts = np.array(["a short text", "one"], object)
        >>> properties(Examples(np.array([0, 1]), ("a", "b"), texts))["words"].tolist()
        [3.0, 1.0]
    """
    inputs = examples.inputs
    if isinstance(inputs, np.ndarray):
        if inputs.dtype != object:
            return {}
        counts = [sum(len(text.split()) for text in np.ravel(item)) for item in inputs]
        return {"words": np.array(counts, np.float32)}
    if examples.image_size is None:
        return {}
    sizes = original_sizes.sizes(inputs).astype(np.float32)
    width, height = np.where(sizes > 0, sizes, np.nan).T
    return {"shorter side": np.minimum(width, height), "aspect ratio": width / height}
