"""The errors that a person can cause, and the sentences that tell them what to do.

Takes and gives plain strings. Must not import TensorFlow or Keras: config errors are told before either starts.
"""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A value, file or option that a person gave breaks a rule.

    The message is one sentence or two: which argument, the rule, what was received, what to do. The command line
    prints it without a traceback and exits with code 2; every other exception is a fault of the program.
    """


class ConfigError(InputError):
    """All faults of one config at once, each with its key path.

    Args:
        source: str, where the config came from, such as "recipe.yaml".
        faults: iterable of (key path, sentence) pairs, such as ("fit.epochs", "must be >= 0. Received: -1.").
    """

    def __init__(self, source: str, faults: Iterable[tuple[str, str]]):
        self.source = source
        self.faults = tuple(faults)
        lines = [f"  {path}: {sentence}" for path, sentence in self.faults]
        count = "one fault" if len(lines) == 1 else f"{len(lines)} faults"
        super().__init__("\n".join([f"{source} has {count}:", *lines]))


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """The sentence for a name that is not on the list, with the list and the nearest name.

    Args:
        kind: str, what the name should have been, such as "schedule".
        name: object, what was received.
        known: iterable of str, the valid names.

    Returns:
        str, the message for an `InputError`.

    Example:
        >>> unknown("schedule", "cosin", ["constant", "cosine"])
        "unknown schedule 'cosin'. Known: constant, cosine. Did you mean 'cosine'?"
    """
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {name!r}. Known: {', '.join(known)}.{hint}"


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
