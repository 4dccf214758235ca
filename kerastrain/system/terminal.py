"""How names from somebody's data reach a terminal or a log: class names, file names, texts.

Takes and gives strings. Must not import TensorFlow.
"""

import logging


def printable(text: object) -> str:
    r"""The text with whatever could steer a terminal or hide in a line spelled out: escapes, bells, bidi marks.

    Args:
        text: object, such as a class's or a file's name that came with somebody's data.

    Returns:
        str of printable characters and line breaks.

    Example:
        >>> printable("cat\x1b[2J\u202egpj.exe")
        'cat\\x1b[2J\\u202egpj.exe'
    """
    kept = (char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in str(text))
    return "".join(kept)


class PrintableFormatter(logging.Formatter):
    """A formatter of log records whose lines hold nothing that could steer a terminal."""

    def format(self, record):
        """The record's line, `printable`."""
        return printable(super().format(record))
