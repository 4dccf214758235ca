"""Says in plain English what a key takes and what it received. Must not import TensorFlow."""

import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from kerastrain.config.reading import Typed
from kerastrain.config.values import Meaning, Section

_LONGEST = 200  # characters of a received value, which may be a whole section
_NUMBERS = {2: "two", 3: "three", 4: "four"}
_PLURALS = {
    "a whole number": "whole numbers",
    "a number": "numbers",
    "text": "texts",
    "a value": "values",
}


def expected(annotation: Any, metadata: Iterable = ()) -> str:
    """Says what values a key takes.

    Args:
        annotation: type annotation of the key.
        metadata: the notes of the annotation, such as a range.

    Returns:
        str that continues "must be".

    Example:
        >>> from pydantic import Field
        >>> expected(Annotated[int, Field(gt=0)] | None)
        'a whole number above 0, or null'
    """
    options = list(dict.fromkeys(_options(annotation, list(metadata))))
    if type(None) in options:
        options.remove(type(None))
        options.append("null")
    return options[0] if len(options) == 1 else f"{', '.join(options[:-1])}, or {options[-1]}"


def _options(annotation: Any, notes: list) -> list:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = [note for item in arguments[1:] for note in getattr(item, "metadata", None) or [item]]
        return _options(arguments[0], notes + inner)
    meaning = next((note.text for note in notes if isinstance(note, Meaning)), None)
    if meaning is not None:
        return [meaning, *([type(None)] if type(None) in arguments else [])]
    if origin in (Union, types.UnionType):
        return [option for member in arguments for option in _options(member, notes)]
    if annotation is type(None):
        return [type(None)]
    if origin is Literal:
        return [arguments[0] if len(arguments) == 1 else f"one of {', '.join(map(str, arguments))}"]
    if annotation is bool:
        return ["true or false"]
    if annotation in (int, float):
        return [("a whole number" if annotation is int else "a number") + _bounds(notes)]
    if annotation is str:
        return ["text that is not empty" if any(getattr(note, "min_length", 0) for note in notes) else "text"]
    if origin is tuple and arguments[-1] is not Ellipsis:
        count = _NUMBERS.get(len(arguments), str(len(arguments)))
        return [f"a list of {count} {_plural(expected(arguments[0]))}"]
    if origin in (tuple, list):
        return [f"a list of {_plural(expected(arguments[0]))}"]
    if origin is dict:
        keys = "whole numbers" if int in _bare(arguments[0]) else "names"
        return [f"a mapping from {keys} to {_plural(expected(arguments[1]))}"]
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [f"a section with the keys {', '.join(annotation.model_fields)}"]
    return ["a value"]


def _bare(annotation: Any) -> tuple:
    return get_args(annotation)[:1] if get_origin(annotation) is Annotated else (annotation,)


def _plural(one: str) -> str:
    """Turns "a number above 0" into "numbers above 0"; a list of choices stays as it is."""
    for singular, plural in _PLURALS.items():
        if one.startswith(singular):
            return plural + one.removeprefix(singular)
    return f"values, each {one}"


def _bounds(notes: list) -> str:
    """Says the range of a number: " from 0 to 1", " above 0", " of at least 8"."""
    limit = {
        name: str(value) if isinstance(value, int) else f"{value:g}"
        for note in notes
        for name in ("gt", "ge", "lt", "le")
        if (value := getattr(note, name, None)) is not None
    }
    if {"ge", "le"} <= limit.keys():
        return f" from {limit['ge']} to {limit['le']}"
    low = f"above {limit['gt']}" if "gt" in limit else f"of at least {limit['ge']}" if "ge" in limit else ""
    high = f"below {limit['lt']}" if "lt" in limit else f"at most {limit['le']}" if "le" in limit else ""
    return "".join(f" {part}" for part in [" and ".join(filter(None, (low, high)))] if part)


def shown(value: object) -> str:
    """Writes a value as YAML has it, cut if it is long.

    Args:
        value: nested plain value.

    Returns:
        str.

    Example:
        >>> shown({"flip": None, "sizes": (1, "two", True)})
        "{flip: null, sizes: [1, 'two', true]}"
    """
    text = _yaml(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def _yaml(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Section):
        value = value.model_dump()
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_yaml(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, Typed):
        return repr(str(value)) if value else "null"
    return repr(value)
