"""Turns values as they were typed into what their keys take.

A value that was written without quotes becomes a number, a truth value or null only where its key takes one. Takes nested
values and a type; returns plain nested values. Must not import TensorFlow.
"""

import copy
import re
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml

from kerastrain.config.reading import Argument, Typed, parse, problem
from kerastrain.config.values import AsTyped, Section

_INTEGER = re.compile(r"[-+]?\d[\d_]*|[-+]?0[xob][\da-fA-F_]+")
_FLOAT = re.compile(r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_TRUTH = {word: word in ("true", "yes", "on") for word in ("true", "yes", "on", "false", "no", "off")}
_NULLS = ("", "~", "null", "Null", "NULL")


class Dotted(dict):
    """The mapping that a dotted key implies. In `data.class_weights.a.b`, the class is `a.b`."""


def expanded(value: Any) -> Any:
    """Returns the mapping that an override wrote in braces, or else the value itself.

    Args:
        value: a nested value.

    Returns:
        dict, or `value`.
    """
    if isinstance(value, Argument) and value.lstrip().startswith("{"):
        try:
            return parse(value)
        except yaml.YAMLError:
            return value
    return value


class Unreadable(ValueError):
    """A typed value that no type can be asked about: it is missing, or it is not valid YAML."""


def resolve(values: Any, annotation: Any, fault: Callable[[str, str], None], path: str = "") -> Any:
    """Turns values as they were typed into what their keys take.

    What does not fit its key stays text, which the validation then reports. Values that are not `Typed` stay as they are.

    Args:
        values: nested values, as from `parse`.
        annotation: the type of the key, such as a subclass of Section or `int | None`.
        fault: callable (key path, sentence), called for each value that cannot be read.
        path: str, the key path of `values`.

    Returns:
        The same values in plain types.
    """
    members = types_in(annotation)
    if isinstance(values, Argument):
        try:
            values = _read(values, members)
        except Unreadable as error:
            fault(path, str(error))
            return None
    if isinstance(values, Typed):
        if not values and {type(None), *filter(_is_section, members)} <= set(members) and len(members) > 1:
            fault(path, "it has no value. Write {} to turn it on with its defaults, or null to turn it off.")
        return _scalar(values, members)
    if isinstance(values, Mapping):
        return _mapping(values, members, fault, path)
    if isinstance(values, list | tuple):
        entry = _entry(members)
        return [resolve(value, entry, fault, f"{path}.{index}") for index, value in enumerate(values)]
    return values


def annotation_at(kind: type[Section], key: str) -> Any:
    """Returns the type of a dotted key.

    Args:
        kind: subclass of Section.
        key: str, such as "optimizer.learning_rate".

    Returns:
        A type annotation; Any for an unknown key.

    Example:
        >>> from kerastrain.config import Config
        >>> annotation_at(Config, "fit.checkpoints_kept")
        <class 'int'>
    """
    annotation: Any = kind
    for name in key.split("."):
        members = types_in(annotation)
        section = next((member for member in members if _is_section(member)), None)
        mapping = next((member for member in members if get_origin(member) is dict), None)
        if section is not None and name in section.model_fields:
            annotation = section.model_fields[name].annotation
        elif mapping is not None:
            return get_args(mapping)[1]
        else:
            return Any
    return annotation


def put(values: Any, key: str, value: Any) -> dict:
    """Returns a copy of nested `values` in which the dotted `key` has `value`.

    Args:
        values: nested mapping; anything else counts as empty.
        key: str, such as "fit.epochs".
        value: the new value.

    Returns:
        dict, a new nested mapping.

    Example:
        >>> put({"fit": {"epochs": 5}}, "fit.epochs", 3)
        {'fit': {'epochs': 3}}
    """
    values = expanded(values)
    inner = (
        copy.copy(values) if isinstance(values, dict) else Dotted(values) if isinstance(values, Mapping) else Dotted()
    )
    first, _, rest = key.partition(".")
    inner[first] = put(inner.get(first), rest, value) if rest else value
    return inner


def _read(argument: Argument, members: list) -> Any:
    """Returns what an override gives to a key with these types."""
    text, takes_text = argument.strip(), str in _scalars(members)
    if not (argument if takes_text else text):
        or_null = ", or null" if type(None) in members else ""
        raise Unreadable(f"it has no value. Write it right after the `=`{or_null}.")
    opens = text[:1] in ("[", "{") and any(get_origin(member) in (tuple, list, dict) for member in members)
    is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    if takes_text and not opens and not is_quoted:
        return Typed(argument)
    try:
        return parse(argument)
    except yaml.YAMLError as error:
        if takes_text and not opens:
            return Typed(argument)
        raise Unreadable(
            f"not valid YAML ({problem(error)}). Received: {str(argument)!r}. Put quotes around text with special "
            "characters."
        ) from None


def _scalar(text: Typed, members: list) -> Any:
    """Returns the first that fits of null, the choices, a truth value, a number; or else the text."""
    word, scalars = text.strip(), _scalars(members)
    if text and not word and str in scalars:
        return str(text)
    if word in _NULLS and (type(None) in members or not scalars):
        is_empty_section = not word and type(None) not in members and _sequence(members) is None
        return {} if is_empty_section else None
    if not word:
        return None
    if word in [choice for member in scalars if get_origin(member) is Literal for choice in get_args(member)]:
        return word
    if str in scalars:
        return str(text)
    if bool not in scalars and any(get_origin(member) is Literal for member in scalars) and len(scalars) == 1:
        return word
    if word.lower() in _TRUTH:
        return _TRUTH[word.lower()]
    if (value := number(word)) is not None:
        return value
    return None if word in _NULLS else word


def number(word: str) -> int | float | None:
    """Reads a number: decimal, `0x10`, `1_000`, `1e-3`, `.5`, `1.`, `.inf`.

    Args:
        word: str.

    Returns:
        int or float; None for anything else.

    Example:
        >>> number("1e-3"), number("010"), number("12:30")
        (0.001, 10, None)
    """
    if _INTEGER.fullmatch(word):
        digits = word.lstrip("+-")
        magnitude = int(digits, 0) if digits[:2].lower() in ("0x", "0o", "0b") else int(digits.replace("_", ""))
        return -magnitude if word.startswith("-") else magnitude
    if _FLOAT.fullmatch(word):
        special = word.lstrip("+-").lower() in (".inf", ".nan")
        return float(word.replace(".", "") if special else word.replace("_", ""))
    return None


def _mapping(values: Mapping, members: list, fault: Callable, path: str) -> dict:
    section = next((member for member in members if _is_section(member)), None)
    mapping = next((member for member in members if get_origin(member) is dict), None)

    def below(key: object) -> str:
        return f"{path}.{key}" if path else str(key)

    if section is None and mapping is not None:
        key_type, value_type = get_args(mapping)
        is_flat = len(_scalars(value_types := types_in(value_type))) == len(set(value_types) - {type(None)})
        pairs = _joined(values) if is_flat else values.items()
        return {resolve(key, key_type, fault): resolve(value, value_type, fault, below(key)) for key, value in pairs}
    resolved = {}
    for key, value in values.items():
        field = None if section is None or not isinstance(key, str) else section.model_fields.get(key)
        if field is None or AsTyped not in field.metadata:
            value = resolve(value, Any if field is None else field.annotation, fault, below(key))
        resolved[str(key) if isinstance(key, Typed) else key] = value
    return resolved


def _joined(values: Mapping) -> list[tuple[object, object]]:
    """Returns the pairs of a mapping; what a dotted key divided is joined again."""
    pairs = []
    for key, value in values.items():
        inner = _joined(value) if isinstance(value, Dotted) else None
        pairs += [(key, value)] if inner is None else [(f"{key}.{rest}", last) for rest, last in inner]
    return pairs


def _entry(members: list) -> Any:
    """Returns the type of the entries of a list; a list in place of a section has its names or sections."""
    sequence = _sequence(members)
    if sequence is not None:
        return sequence
    section = next((member for member in members if _is_section(member)), None)
    return Any if section is None else str | section


def _sequence(members: list) -> Any:
    """Returns the type of the entries if lists are among the types, or else None."""
    return next((get_args(member)[0] for member in members if get_origin(member) in (tuple, list)), None)


def types_in(annotation: Any) -> list:
    """Returns the types that a key takes: the members of a union, without notes such as a range.

    Args:
        annotation: type annotation.

    Returns:
        list of types.

    Example:
        >>> types_in(int | None)
        [<class 'int'>, <class 'NoneType'>]
    """
    if get_origin(annotation) is Annotated:
        return types_in(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [inner for member in get_args(annotation) for inner in types_in(member)]
    return [annotation]


def _scalars(members: list) -> list:
    """Returns the types of a value that is no list and no mapping; a single entry may stand for a list."""
    scalars = [
        member
        for member in members
        if member is not type(None) and not _is_section(member) and get_origin(member) not in (tuple, list, dict)
    ]
    sequence = _sequence(members)
    return scalars if scalars or sequence is None else types_in(sequence)


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)
