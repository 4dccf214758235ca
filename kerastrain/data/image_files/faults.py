"""The error of an image file that cannot be used. Must not import a decoder."""

import os

from kerastrain.errors import InputError


class ImageFault(InputError):
    """A file cannot be used as an image.

    Args:
        path: path of the file.
        kind: str, a key of `quarantine.KINDS` such as "truncated".
        reason: str, the rest of a sentence about the file, such as "the file is empty".
    """

    def __init__(self, path: str | os.PathLike, kind: str, reason: str):
        self.path, self.kind, self.reason = os.fspath(path), kind, reason
        super().__init__(f"cannot read {os.fspath(path)!r} as an image: {reason}.")
