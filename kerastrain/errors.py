"""Errors that a user can cause, with messages that say what to do.

Takes and returns plain strings. Must not import TensorFlow or Keras, so that config errors are reported before either
starts.
"""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A value, file or option from the user is invalid.

    The message states the argument, the rule, what was received and what to do, in a sentence or two. The command line
    prints it without a traceback and exits with code 2. Any other exception is a bug.
    """


class ConfigError(InputError):
    """A config is invalid; the message lists all its faults with their key paths.

    Args:
        source: str, origin of the config, such as "recipe.yaml".
        faults: iterable of (key path, sentence) pairs of str, such as ("fit.epochs", "must be >= 0. Received: -1.").
    """

    def __init__(self, source: str, faults: Iterable[tuple[str, str]]):
        self.source = source
        self.faults = tuple(faults)
        lines = [f"  {path}: {sentence}" for path, sentence in self.faults]
        count = "one fault" if len(lines) == 1 else f"{len(lines)} faults"
        super().__init__("\n".join([f"{source} has {count}:", *lines]))


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """Message for an unknown name: lists the valid names and suggests the most similar one.

    Args:
        kind: str, the kind of the name, such as "schedule".
        name: object, the value that was received.
        known: iterable of str, the valid names.

    Returns:
        str, the message for an `InputError`.

    Example:
        >>> unknown("schedule", "cosin", ["constant", "cosine"])
        "unknown schedule 'cosin'. Known: constant, cosine. Did you mean 'cosine'?"
    """
    known = sorted(known)
    lower = {other.lower(): other for other in known}
    near = difflib.get_close_matches(str(name).lower(), lower, n=1)
    hint = f" Did you mean {lower[near[0]]!r}?" if near else ""
    return f"unknown {kind} {name!r}. Known: {', '.join(known)}.{hint}"


def counted(count: int, noun: str) -> str:
    """Counts things in a sentence.

    Args:
        count: int.
        noun: str, the plural of what is counted, such as "images".

    Returns:
        str.

    Example:
        >>> counted(1, "images"), counted(1200, "images")
        ('1 image', '1,200 images')
    """
    return f"1 {noun.removesuffix('s')}" if count == 1 else f"{count:,} {noun}"


def is_whole_number(value: object) -> bool:
    """Whether `value` is an int and not a bool.

    Args:
        value: object, the value to check.

    Returns:
        bool, False also for floats such as 2.0 and for NumPy integers.

    Example:
        >>> is_whole_number(3), is_whole_number(True), is_whole_number(2.0)
        (True, False, False)
    """
    return isinstance(value, int) and not isinstance(value, bool)
