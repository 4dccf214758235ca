"""Which examples of one data set are also in another, byte for byte.

Takes `Examples`, returns digests and counts. Must not know of runs.
"""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from kerastrain.data.examples import Examples
from kerastrain.data.image_files.stores import ArrayImages
from kerastrain.system.resources import processor_count


def digests(examples: Examples) -> np.ndarray:
    """A digest of each input; equal inputs have equal digests.

    An image counts by the bytes of its file, whatever its name or label; a text by its characters, a pair by those of both
    texts; any other input by its values. With 64 bits, two different inputs among a million share a digest once in 37 million
    data sets.

    Args:
        examples: Examples of n inputs. Files are read.

    Returns:
        uint64 array (n,).

    Raises:
        FileNotFoundError: the file of an image is missing.

    Example:
        >>> digests(Examples(np.array([0, 1]), ("a", "b"), np.array(["one text", "one text"], object)))[0] == digests(
        ...     Examples(np.array([1]), ("a", "b"), np.array(["one text"], object))
        ... )[0]
        np.True_
    """
    inputs = examples.inputs
    if isinstance(inputs, ArrayImages):
        inputs = inputs.pixels
    if not isinstance(inputs, np.ndarray):
        content = inputs.content
    elif inputs.dtype == object:
        content = lambda index: "\0".join(np.ravel(inputs[index])).encode(errors="surrogatepass")
    else:
        content = lambda index: np.ascontiguousarray(inputs[index]).tobytes()

    def digest(index: int) -> int:
        return int.from_bytes(hashlib.blake2b(content(index), digest_size=8).digest(), "little")

    with ThreadPoolExecutor(processor_count()) as pool:
        return np.fromiter(pool.map(digest, range(len(examples))), np.uint64, len(examples))


def shared_counts(evaluated: np.ndarray, parts: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Counts the examples that are also in each part of another data set.

    Args:
        evaluated: uint64 array (n,) from `digests`.
        parts: mapping from the name of a part to its uint64 array (m,) from `digests`.

    Returns:
        dict from the name of each part to the number of `evaluated` examples in it, int in [0, n].

    Example:
        >>> shared_counts(np.array([1, 2, 2], np.uint64), {"train": np.array([2, 3], np.uint64)})
        {'train': 2}
    """
    return {name: int(np.isin(evaluated, part).sum()) for name, part in parts.items()}
