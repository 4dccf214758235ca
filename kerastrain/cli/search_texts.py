"""How the measures, the searched values and the failures of a search are written on a terminal.

Takes plain values; returns texts for people, which may leave digits out. Must not print.
"""

from collections import Counter
from collections.abc import Mapping

_MOST_CHARACTERS = 200


def number(value: float) -> str:
    """Writes a measure: fractions with four digits, sizes as whole numbers.

    Args:
        value: float.

    Returns:
        str.

    Example:
        >>> number(0.98), number(12345.6), number(2e-5)
        ('0.9800', '12,346', '2e-05')
    """
    if 1e4 <= abs(value) < 1e12:
        return f"{value:,.0f}"
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.4g}"


def settings(values: Mapping) -> str:
    """Writes searched values for a reader, numbers with four digits.

    Args:
        values: mapping from a key to its value.

    Returns:
        str; not for a command line, which needs every digit.

    Example:
        >>> settings({"optimizer.learning_rate": 0.0123456, "model.hidden_units": [64], "fine_tune.last": None})
        'optimizer.learning_rate=0.01235 model.hidden_units=[64] fine_tune.last=null'
    """
    return " ".join(f"{key}={written(value)}" for key, value in values.items()) or "the recipe as it is"


def short_settings(values: Mapping) -> str:
    """Writes searched values for a table: without the sections of the keys, where the rest says enough.

    Args:
        values: mapping from a key to its value.

    Returns:
        str.

    Example:
        >>> short_settings({"optimizer.learning_rate": 0.01, "optimizer.name": "sgd"})
        'learning_rate=0.01 optimizer.name=sgd'
    """
    ends = Counter(key.rpartition(".")[2] for key in values)
    short = {key: end for key in values if ends[end := key.rpartition(".")[2]] == 1 and end != "name"}
    return settings({short.get(key, key): value for key, value in values.items()})


def first_sentence(reason: str | None) -> str:
    """The first sentence of the reason for which a trial failed; all of it is in `trials.csv`.

    Args:
        reason: str or None.

    Returns:
        str of at most 200 characters, without a full stop.

    Example:
        >>> first_sentence("NaN at step 1: the layer 'logits'. Lower the rate.")
        "NaN at step 1: the layer 'logits'"
    """
    sentence = (reason or "without a reason").strip().partition("\n")[0].partition(". ")[0].removesuffix(".")
    return sentence if len(sentence) <= _MOST_CHARACTERS else f"{sentence[: _MOST_CHARACTERS - 1]}…"


def written(value: object) -> str:
    """Writes a searched value for a reader, a number with four digits.

    Args:
        value: plain value.

    Returns:
        str.

    Example:
        >>> written([64, 0.0123456, None])
        '[64,0.01235,null]'
    """
    if isinstance(value, bool) or value is None:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"[{','.join(map(written, value))}]" if isinstance(value, list | tuple) else str(value)
