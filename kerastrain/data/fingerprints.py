"""A checksum of a data set, so that a run records what it was trained on.

Takes a `Split`, returns text. Must not read inputs that are not in memory.
"""

import hashlib
import os

import numpy as np

from kerastrain.data.examples import Examples, Split


def fingerprint(split: Split) -> str:
    """Computes the SHA-256 of a data set: its parts, their order, targets, weights, names and inputs.

    Inputs in memory count by their decoded values, so the same pictures in another folder have the same fingerprint.
    Inputs that stay in their files count by the sizes of the files, since reading all of them would take as long as an
    epoch.

    Args:
        split: Split.

    Returns:
        str, 64 hexadecimal digits.

    Example:
        >>> from kerastrain import data
        >>> first, second = (data.digits(image_size=(8, 8), seed=seed) for seed in (0, 1))
        >>> fingerprint(first) == fingerprint(first), fingerprint(first) == fingerprint(second)
        (True, False)
    """
    total = hashlib.sha256()
    for name, part in split.parts.items():
        for piece in (name, part.task, *part.labels):
            _add(total, piece.encode(errors="surrogatepass"))
        for piece in _pieces(part):
            _add(total, piece)
    return total.hexdigest()


def _pieces(part: Examples):
    yield str(part.shape).encode()
    for array in (part.targets, part.weights):
        yield b"" if array is None else np.ascontiguousarray(array).data
    if part.numbers is not None:
        yield "\n".join(part.number_names).encode(errors="surrogatepass")
        yield np.ascontiguousarray(part.numbers).data
    for key in part.keys or ():
        yield key.encode(errors="surrogatepass")
    if not isinstance(part.inputs, np.ndarray):
        for path in part.paths or ():
            yield str(os.stat(path).st_size).encode()
    elif part.inputs.dtype == object:
        for text in part.inputs.flat:
            yield text.encode(errors="surrogatepass")
    else:
        yield np.ascontiguousarray(part.inputs).data


def _add(total, piece) -> None:
    # The length before each piece keeps two different lists of pieces from giving the same bytes.
    total.update(f"{len(memoryview(piece).cast('B'))}:".encode())
    total.update(piece)
