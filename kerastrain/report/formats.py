"""How numbers are written on a page. Takes numbers or None; returns text, in which a dash means undefined."""

from collections.abc import Callable, Sequence

UNDEFINED = "–"


def score(value: float | None) -> str:
    """A measure, with three digits behind the point.

    Args:
        value: float or None.

    Returns:
        str.
    """
    return UNDEFINED if value is None else f"{value:.3f}"


def number(value: float | None) -> str:
    """A number with three digits.

    Args:
        value: float or None.

    Returns:
        str.
    """
    if value is None:
        return UNDEFINED
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"


def count(value: int | None) -> str:
    """A count, with commas.

    Args:
        value: int or None.

    Returns:
        str.
    """
    return UNDEFINED if value is None else f"{value:,}"


def percent(value: float | None) -> str:
    """A fraction as a percentage.

    Args:
        value: float or None, a fraction.

    Returns:
        str.
    """
    return UNDEFINED if value is None else f"{value:.1%}"


def size(size_bytes: int | None) -> str:
    """A number of bytes in a unit of three digits.

    Args:
        size_bytes: int or None.

    Returns:
        str.
    """
    if size_bytes is None:
        return UNDEFINED
    for unit in ("B", "kB", "MB"):
        if size_bytes < 1000:
            return f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.3g} GB"


def seconds(value: float | None) -> str:
    """A time in milliseconds, seconds, minutes or hours.

    Args:
        value: float or None, in seconds.

    Returns:
        str.
    """
    if value is None:
        return UNDEFINED
    if value < 1:
        return f"{value * 1000:.3g} ms"
    if value < 120:
        return f"{value:.3g} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def interval(ends: Sequence[float] | None, form: Callable[[float], str] = score) -> str:
    """The two ends of an interval; empty for none.

    Args:
        ends: sequence of two floats, or None.
        form: callable from a float to str.

    Returns:
        str.
    """
    return "" if not ends or None in ends else f"{form(ends[0])} to {form(ends[1])}"


FILTERS = {
    "number": number,
    "score": score,
    "percent": percent,
    "count": count,
    "size": size,
    "seconds": seconds,
    "interval": interval,
    "interval_percent": lambda ends: interval(ends, percent),
    "interval_number": lambda ends: interval(ends, number),
}
