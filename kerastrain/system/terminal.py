"""Escapes text from untrusted data, such as class names and file names, for a terminal or a log.

Takes and returns strings. Must not import TensorFlow.
"""

import logging
import re

# C0 and C1 without tab and line feed, what overrides the direction of a line, and halves of characters.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


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


def readable(text: str) -> str:
    r"""Escapes the characters of a text that could control a terminal, and leaves those that languages need.

    Args:
        text: str of many lines, such as an answer; line breaks, tabs, joiners and wide spaces stay.

    Returns:
        str without other control characters and without those that reverse the order of a line.

    Example:
        >>> readable("caf\xe9\x1b[2J\u202e")
        'caf\xe9\\x1b[2J\\u202e'
    """
    return _CONTROLS.sub(lambda match: ascii(match[0])[1:-1], text)


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
