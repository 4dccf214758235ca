"""Turns the errors of a validation into one sentence for each key. Must not import TensorFlow."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from kerastrain.config.expectations import expected, shown
from kerastrain.config.keys import meant
from kerastrain.config.typed import types_in
from kerastrain.config.values import Section
from kerastrain.errors import unknown


def of(error: ValidationError, kind: type[Section], values: Any) -> list[tuple[str, str]]:
    """Returns the faults of a config: the path of each wrong key, and a sentence.

    Args:
        error: pydantic's error.
        kind: subclass of Section that was validated.
        values: nested values that were validated.

    Returns:
        list of (key path, sentence), one for each key.
    """
    faults = {}
    for details in error.errors():
        for path, sentence in _faults(details, kind, values):
            name = ".".join(str(part) for part in path if not isinstance(part, _Index))
            faults.setdefault(name or "config", sentence)
    return list(faults.items())


class _Index(int):
    """The place of an entry in a list, which the path of a fault leaves out."""


def _faults(details: Mapping, kind: type[Section], values: Any) -> list[tuple[tuple, str]]:
    """Returns the faults behind one entry of pydantic's `ValidationError.errors()`."""
    path, annotation, metadata = _walk(kind, details["loc"])
    received = _value_at(values, path, default=details["input"])
    if details["type"] == "extra_forbidden" and len(path) == len(details["loc"]):
        return _unknown(kind, path, received)
    if details["type"] == "value_error":
        return [(path, str(details["ctx"]["error"]))]
    if details["loc"][-1:] == ("[key]",):
        path, annotation, metadata = _walk(kind, details["loc"][:-2])
        return [(path, f"must be {expected(annotation, metadata)}. Received: the key {shown(details['input'])}.")]
    if details["type"] == "missing" and isinstance(path[-1], _Index):
        path, annotation, metadata = _walk(kind, path[:-1])
        received = details["input"]
    elif details["type"] == "missing" and len(path) == len(details["loc"]):
        return [(path, f"is missing. It must be {expected(annotation, metadata)}.")]
    if inner := _inside(annotation, received):
        return [(path + inner_path, sentence) for inner_path, sentence in inner]
    if details["type"] == "literal_error" and len(types_in(annotation)) == 1:
        if path[-1] == "quantize" and received == "aware":
            return [(path, "`quantize=aware` is now `quantize=quantize_aware`.")]
        if isinstance(received, str):
            return [(path, unknown("value", received, map(str, get_args(types_in(annotation)[0]))))]
    return [
        (path, f"must be {expected(annotation, metadata)}. Received: {shown(received)}.{_hint(annotation, received)}")
    ]


def _walk(kind: type[Section], location: Sequence) -> tuple[tuple, Any, list]:
    """Follows pydantic's location as far as the schema; returns the key path, and the type and notes of the last key."""
    path, annotation, metadata = (), kind, []
    for name in location:
        members = [member for member in types_in(annotation) if member is not type(None)]
        if len(members) != 1:  # What follows names a member of a union.
            break
        member, arguments = members[0], get_args(members[0])
        if _is_section(member):
            if name not in member.model_fields:
                return (*path, name), None, []
            annotation, metadata = member.model_fields[name].annotation, member.model_fields[name].metadata
        elif get_origin(member) is dict and name != "[key]":
            annotation, metadata = arguments[1], []
        elif get_origin(member) in (tuple, list) and isinstance(name, int):
            annotation, metadata, name = arguments[0], [], _Index(name)
        else:
            break
        path = (*path, name)
    return path, annotation, metadata


def _value_at(values: Any, path: Sequence, default: Any) -> Any:
    for name in path:
        if (
            isinstance(values, Mapping)
            and name in values
            or isinstance(values, list | tuple)
            and name in range(len(values))
        ):
            values = values[name]
        else:
            return default
    return values


def _inside(annotation: Any, received: Any) -> list[tuple[tuple, str]]:
    """Returns the faults inside a mapping or list, if it is one of several types that a key takes."""
    members = [member for member in types_in(annotation) if member is not type(None)]
    if len(members) < 2 or not isinstance(received, Mapping | list | tuple):
        return []
    for member in members:
        if _is_section(member) and isinstance(received, Mapping):
            try:
                member.model_validate(received)
            except ValidationError as error:
                return [fault for details in error.errors() for fault in _faults(details, member, received)]
        is_list = get_origin(member) in (tuple, list) and not isinstance(received, Mapping)
        if is_list and len(types_in(get_args(member)[0])) == 1:
            for index, item in enumerate(received):
                try:
                    TypeAdapter(get_args(member)[0]).validate_python(item)
                except ValidationError:
                    return [((_Index(index),), f"must be {expected(get_args(member)[0])}. Received: {shown(item)}.")]
    return []


def _unknown(kind: type[Section], location: Sequence, received: Any) -> list[tuple[tuple, str]]:
    """Answers an unknown key, or every key below it, with the one that was probably meant."""
    section = _section(kind, location[:-1])
    new = section.renamed_keys.get(location[-1])
    if new is not None:
        path = ".".join(map(str, location))
        return [(location, f"`{path}` is now `{'.'.join([*map(str, location[:-1]), new])}`.")]
    fields = list(section.model_fields)
    near = unknown("key", location[-1], fields)
    if len(location) > 1 and "Did you mean" in near and not _leaves(received):
        return [(location, near)]
    faults = []
    for rest in _leaves(received) or [()]:
        keys = meant(kind, ".".join(map(str, (*location, *rest))))
        if not keys:
            faults.append((location, near))
            continue
        if keys == [".".join((*location, *rest))]:
            *sections, last = keys[0].split(".")
            written = f"{': {'.join(sections)}: {{{last}: …{'}' * len(sections)}"
            faults.append(((*location, *rest), f"a file has one section inside the other. Write {written}."))
            continue
        names = " or ".join(filter(None, [", ".join(map(repr, keys[:4][:-1])), repr(keys[:4][-1])]))
        listed = near.removesuffix(near.partition(" Did you mean")[1] + near.partition(" Did you mean")[2])
        text = (
            f"unknown key. Did you mean {names}?" if rest or len(location) == 1 else f"{listed} Did you mean {names}?"
        )
        faults.append(((*location, *rest), text))
    return faults


def _leaves(value: Any) -> list[tuple]:
    """Returns the paths of the values inside nested mappings."""
    if not isinstance(value, Mapping):
        return []
    return [(key, *rest) for key, inner in value.items() for rest in _leaves(inner) or [()]]


def _section(kind: type[Section], path: Sequence) -> type[Section]:
    annotation = _walk(kind, path)[1]
    return next(member for member in types_in(annotation) if _is_section(member))


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _are_choices(entry: Any, parts: Sequence[str]) -> bool:
    """Whether parts are among the choices of a list's entries, where there are choices."""
    types = types_in(entry)
    return all(get_origin(kind) is not Literal for kind in types) or all(
        any(part in get_args(kind) for kind in types) for part in parts
    )


def _hint(annotation: Any, received: Any) -> str:
    """Says how the received value is written, where that is clear."""
    members = types_in(annotation)
    if isinstance(received, str) and ":" in received and any(map(_is_section, members)):
        return " Write a space after each colon."
    lists = [member for member in members if get_origin(member) in (tuple, list)]
    if (
        lists
        and isinstance(received, str | int | float)
        and not isinstance(received, bool)
        and set(members) <= {*lists, type(None)}
    ):
        entries = get_args(lists[0])
        is_open = Ellipsis in entries or get_origin(lists[0]) is list
        parts = [part for part in re.split(r"[\s,;]+" if is_open else r"[\s,;x*]+", str(received)) if part]
        parts *= len(entries) if len(parts) == 1 and not is_open else 1
        fits = len(parts) == len(entries) or is_open and _are_choices(entries[0], parts)
        return f" Write [{', '.join(parts)}]." if fits else ""
    if isinstance(received, str) and float in members and (percent := re.fullmatch(r"\s*(\d+\.?\d*)\s*%\s*", received)):
        return f" Write {float(percent[1]) / 100:g}."
    if isinstance(received, str) and {int, float} & set(members) and re.fullmatch(r"\d+,\d+", received):
        return f" Write {received.replace(',', '.')} with a point."
    return ""
