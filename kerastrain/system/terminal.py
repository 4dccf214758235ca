"""Escapes text from untrusted data, such as class names and file names, for a terminal or a log.

Takes and returns strings. Must not import TensorFlow.
"""

import logging


def printable(text: object) -> str:
    r"""Escapes all characters that could control a terminal or hide in a line: escapes, bells, bidi marks.

    Args:
        text: object whose `str` is shown, such as the name of a class or a file from somebody's data.

    Returns:
        str of printable characters and line breaks.

    Example:
        >>> printable("cat\x1b[2J\u202egpj.exe")
        'cat\\x1b[2J\\u202egpj.exe'
    """
    characters = (char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in str(text))
    return "".join(characters)


class PrintableFormatter(logging.Formatter):
    """A log formatter whose lines cannot control a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Formats a record, and escapes the result by `printable`.

        Args:
            record: logging.LogRecord.

        Returns:
            str.
        """
        return printable(super().format(record))
