"""Reads YAML without guessing types.

YAML alone reads `no` as false, `01` as 1 and `2024-05-01` as a date, and `1e-3` as text. Here a value that is written
without quotes stays as it was typed, until `typed.resolve` meets the type of its key. Must not import TensorFlow.
"""

import codecs
from pathlib import Path
from typing import Any

import yaml

from kerastrain.errors import ConfigError

_MOST_VALUES = 1_000_000


class Typed(str):
    """A value that was typed without quotes; its key decides what it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class Argument(Typed):
    """What follows the `=` of an override. A key of text takes it letter by letter; every other key reads it as YAML."""

    __slots__ = ()


class _Loader(yaml.SafeLoader):
    """Reads YAML without guessing types, and refuses a key that is given twice."""

    def resolve(self, kind: type, value: str, implicit: Any) -> str:
        """Returns the tag of a node; values without quotes get one of their own."""
        if kind is not yaml.ScalarNode or not implicit[0]:
            return super().resolve(kind, value, implicit)
        return "tag:yaml.org,2002:merge" if value == "<<" else "typed"

    def construct_typed(self, node: yaml.Node) -> Typed:
        """Returns the text of a value without quotes."""
        return Typed(node.value)

    def construct_pairs_once(self, node: yaml.Node) -> dict:
        """Returns a mapping, whose keys must differ."""
        if isinstance(node, yaml.MappingNode):
            seen = {}
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                    if key.value in seen:
                        raise yaml.constructor.ConstructorError(
                            problem=f"the key {key.value!r} is given twice, first in line {seen[key.value]}",
                            problem_mark=key.start_mark,
                        )
                    seen[key.value] = key.start_mark.line + 1
        return self.construct_mapping(node, deep=True)

    def construct_list(self, node: yaml.Node) -> list:
        """Returns a list."""
        return self.construct_sequence(node, deep=True)


_Loader.yaml_constructors = {
    "typed": _Loader.construct_typed,
    "tag:yaml.org,2002:map": _Loader.construct_pairs_once,
    "tag:yaml.org,2002:seq": _Loader.construct_list,
    **{
        f"tag:yaml.org,2002:{name}": yaml.SafeLoader.yaml_constructors[f"tag:yaml.org,2002:{name}"]
        for name in ("null", "bool", "int", "float", "str")
    },
    None: yaml.SafeLoader.yaml_constructors[None],
}


def parse(text: str) -> Any:
    """Reads YAML; values without quotes stay as they were typed.

    Args:
        text: str, YAML.

    Returns:
        Nested dict and list of `Typed` and, where there are quotes or a tag, plain values; None for no document.

    Raises:
        yaml.YAMLError: it is not valid YAML.
        ConstructorError: it has a tag of other types, a key twice, or aliases that stand for millions of values; a
            YAMLError too.

    Example:
        >>> parse("{path: 01, rate: 1e-3, name: 'no'}")
        {path: 01, rate: 1e-3, name: 'no'}
    """
    values = yaml.load(text, Loader=_Loader)
    if _count(values, {}) > _MOST_VALUES:
        raise yaml.constructor.ConstructorError(problem=f"its aliases stand for more than {_MOST_VALUES:,} values")
    return values


def _count(values: Any, known: dict[int, int]) -> int:
    """Counts values, those behind an alias as often as it occurs, but looks at each only once."""
    if id(values) not in known:
        inner = [*values, *values.values()] if isinstance(values, dict) else values if isinstance(values, list) else ()
        known[id(values)] = 1 + sum(_count(value, known) for value in inner)
    return known[id(values)]


def read_yaml(path: str | Path) -> dict:
    """Reads the mapping in a YAML file, without Python objects and without guessing types.

    Args:
        path: str or Path of the file, UTF-8, or UTF-16 with a byte order mark.

    Returns:
        dict, nested values as they were typed, which `validate` reads by the types of their keys; empty for an empty file.

    Raises:
        FileNotFoundError: there is no file at `path`.
        ConfigError: the file is not valid YAML, or its content is not a mapping.
    """
    path = Path(path)
    if not path.is_file():
        near = next((place for place in (Path(f"{path}.yaml"), Path(f"{path}.yml")) if place.is_file()), None)
        hint = "Settings are written section.key=value, such as data.path=flowers." if near is None else ""
        raise FileNotFoundError(f"there is no config file {str(path)!r}. {hint or f'Did you mean {near}?'}")
    try:
        values = parse(_text(path))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "file" if mark is None else f"line {mark.line + 1}"
        raise ConfigError(str(path), [(where, f"not valid YAML: {problem(error)}.")]) from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(
            str(path),
            [
                (
                    "file",
                    "must be a mapping such as `fit: {epochs: 3}`, with a space after each colon. Received: "
                    f"{values!r}.",
                )
            ],
        )
    return values


def _text(path: Path) -> str:
    """Reads a text file in UTF-8, or in UTF-16 if it begins with a byte order mark."""
    content = path.read_bytes()
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            str(path), [(f"line {line}", "the file is not UTF-8 text. Save it with the encoding UTF-8.")]
        ) from None


def problem(error: yaml.YAMLError) -> str:
    """Says in plain English what is wrong with YAML.

    Args:
        error: yaml.YAMLError.

    Returns:
        str, part of a sentence.
    """
    text = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
    if "\\t" in text:
        return "a tab; indent with spaces"
    if "could not determine a constructor for the tag" in text:
        return f"the tag {text.split(chr(39))[1].replace('tag:yaml.org,2002:', '!!')} is not allowed; remove it"
    plain = {
        "mapping values are not allowed here": "a second `: ` in a line, or wrong indentation; put quotes around text "
        "with `: `",
        "but found another document": "a second document; remove the line `---`",
        "found undefined alias": "text that begins with `*` needs quotes",
        "special characters are not allowed": "it has a control character",
        "could not find expected ':'": "a `:` is missing",
        "found unconstructable recursive node": "an alias (`*`) inside its own anchor (`&`)",
    }
    for wording, replacement in plain.items():
        if text.startswith(wording):
            return replacement
    if text.startswith("found character"):
        return f"text that begins with {text.split()[2]} needs quotes"
    if "unexpected end of stream" in text or "but got" in text or "but found" in text or "did not find" in text:
        return "wrong indentation, or a bracket, brace, comma or quote that is missing"
    return text
