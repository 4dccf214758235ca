"""From YAML and overrides to a checked config, with every fault of a file at once.

Takes YAML with only the differences from the defaults, and overrides such as `fit.epochs=3`; gives frozen records.
Must not import TensorFlow.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from kerastrain.config.sections import Config
from kerastrain.config.values import Section
from kerastrain.errors import ConfigError, unknown


def load(path: str | Path | None = None, overrides: Iterable[str] = ()) -> Config:
    """The config of a YAML file, with overrides, checked as a whole.

    Args:
        path: path of a YAML file that holds the differences from the defaults, or None for the defaults.
        overrides: iterable of str such as "fit.epochs=3"; the value is read as YAML, later ones win.

    Returns:
        Config; paths of data and backbone that exist are made absolute, so that the saved copy works from anywhere.

    Raises:
        FileNotFoundError: there is no file at `path`.
        ConfigError: with every fault of the file and the overrides, each with its key path and the nearest name.

    Example:
        >>> load(overrides=["fit.epochs=3"]).fit.epochs
        3
    """
    values = {} if path is None else read_yaml(path)
    source = "the command line" if path is None else str(path)
    return validate(override(values, overrides), Config, source=source)


def read_yaml(path: str | Path) -> dict:
    """The mapping in a YAML file, read without any of YAML's power to construct objects.

    Raises:
        FileNotFoundError: there is no file at `path`.
        ConfigError: the file is not YAML, or holds something other than a mapping.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no config file {str(path)!r}.")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = "file" if mark is None else f"line {mark.line + 1}"
        problem = getattr(error, "problem", None) or "it is not UTF-8 text"
        raise ConfigError(str(path), [(where, f"not valid YAML: {problem}.")]) from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(
            str(path), [("file", f"must be a mapping such as `fit: {{epochs: 3}}`. Received: {values!r}.")]
        )
    return values


def override(values: Mapping, overrides: Iterable[str]) -> dict:
    """A copy of nested `values` with each "section.key=value" put in.

    Raises:
        ConfigError: an override has no `=` or no key.

    Example:
        >>> override({"fit": {"epochs": 5}}, ["fit.epochs=3"])
        {'fit': {'epochs': 3}}
    """
    result, faults = dict(values), []
    for text in overrides:
        keys, equals, value = text.partition("=")
        if not equals or not all(keys.split(".")):
            faults.append((text, "an override is `section.key=value`, such as fit.epochs=3."))
            continue
        try:
            result = put(result, keys, yaml.safe_load(value))
        except yaml.YAMLError:
            faults.append((keys, f"not valid YAML. Received: {value!r}. Put quotes around it."))
    if faults:
        raise ConfigError("the command line", faults)
    return result


def put(values: Any, key: str, value: Any) -> dict:
    """A copy of nested `values` in which the dotted `key` has `value`.

    Example:
        >>> put({"fit": {"epochs": 5}}, "fit.epochs", 3)
        {'fit': {'epochs': 3}}
    """
    inner = dict(values) if isinstance(values, Mapping) else {}
    first, _, rest = key.partition(".")
    inner[first] = put(inner.get(first), rest, value) if rest else value
    return inner


def validate(values: Mapping, kind: type[Section] = Config, *, source: str = "the config") -> Any:
    """A record of `kind` from nested values, or every fault at once.

    Args:
        values: nested mapping, as read from YAML.
        kind: subclass of Section, the record to make.
        source: str, what the message calls the values.

    Returns:
        an instance of `kind`.

    Raises:
        ConfigError: with every fault.
    """
    try:
        record = kind.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(source, [_fault(kind, details) for details in error.errors()]) from None
    return _resolved(record) if kind is Config else record


def _resolved(config: Config) -> Config:
    """The config with every null that stands for a choice by another key spelled out, and absolute paths."""
    images = config.data.kind == "images"
    backbone = config.model.backbone or ("kerastrain:fractal_small" if images else "keras:embedding")
    formats = config.export.formats
    if formats is None:
        # A Hub module of texts reads strings, which TFLite does not hold.
        of_texts = ("saved_model", "tflite_float32") if backbone.startswith("keras:") else ("saved_model",)
        formats = ("saved_model", "tflite_float32", "tflite_int8") if images else of_texts

    warmup = config.schedule.warmup or ("0 steps" if config.schedule.name == "one_cycle" else "5%")
    # Words that are met once are learnt by heart at the higher rate: chosen on the validation part of film reviews.
    of_words = not images and backbone.startswith("keras:")
    rate = config.optimizer.learning_rate or (3e-3 if of_words else 1e-2)

    def absolute(text):
        return str(Path(text).absolute()) if text and Path(text).exists() else text

    # The embedded name wins over a folder that happens to be called the same.
    path = config.data.path
    if path != "digits":
        prefix = next((prefix for prefix in ("hf:", "tfds:") if path.startswith(prefix)), "")
        path = prefix + absolute(path.removeprefix(prefix))
    model = {"backbone": absolute(backbone), "weights": absolute(config.model.weights)}
    return config.model_copy(
        update={
            "data": config.data.model_copy(update={"path": path}),
            "model": config.model.model_copy(update=model),
            "optimizer": config.optimizer.model_copy(update={"learning_rate": rate}),
            "schedule": config.schedule.model_copy(update={"warmup": warmup}),
            "export": config.export.model_copy(update={"formats": formats}),
        }
    )


def _fault(kind: type[BaseModel], details: Mapping) -> tuple[str, str]:
    """Key path and sentence of one of pydantic's error details."""
    where, received = details["loc"], details["input"]
    path = ".".join(str(key) for key in where) or "config"
    if details["type"] == "extra_forbidden":
        new = _section(kind, where[:-1]).renamed_keys.get(where[-1])
        if new is not None:
            return path, f"`{path}` is now `{'.'.join([*map(str, where[:-1]), new])}`."
        return path, unknown("key", where[-1], _fields(kind, where[:-1]))
    if details["type"] == "literal_error":
        if where[-1] == "quantize" and received == "aware":
            return path, "`quantize=aware` is now `quantize=quantize_aware`."
        return path, unknown("value", received, re.findall(r"'([^']*)'", details["ctx"]["expected"]))
    if details["type"] == "value_error":
        return path, str(details["ctx"]["error"])
    if details["type"] == "model_type":
        return (
            path,
            f"must be a section with keys of its own: {', '.join(_fields(kind, where))}. Received: {received!r}.",
        )
    rule = details["msg"].replace("Input should be", "must be")
    return path, f"{rule[0].lower()}{rule[1:]}. Received: {received!r}."


def _section(kind: type[Section], keys: Iterable) -> type[Section]:
    for key in keys:
        annotation = kind.model_fields[key].annotation
        # A section that may be null is a union of the section and None.
        kind = next((member for member in get_args(annotation) if member is not type(None)), annotation)
    return kind


def _fields(kind: type[Section], keys: Iterable) -> list[str]:
    return list(_section(kind, keys).model_fields)


def dump(record: Section) -> str:
    """A record as YAML, every value spelled out, in the order of its definition."""
    return to_yaml(record.model_dump(mode="json"))


def to_yaml(values: Mapping) -> str:
    """Nested plain values as YAML for people: short lists on one line, keys in their order."""
    options = {"sort_keys": False, "default_flow_style": None, "width": 100, "allow_unicode": True}
    return yaml.dump(dict(values), Dumper=_Dumper, **options)


class _Dumper(yaml.SafeDumper):
    """Writes what YAML takes for the end of a line, as in U+0085, so that it is read as it was."""

    def represent_text(self, text: str) -> yaml.Node:
        """A scalar, escaped where it must be."""
        style = '"' if set(text) & set("\x85\u2028\u2029") else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)


def schema() -> dict:
    """The JSON schema of a config file, for editors."""
    return Config.model_json_schema()
