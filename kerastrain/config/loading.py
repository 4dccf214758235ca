"""Reads YAML and overrides into a validated config, and reports every fault at once.

Takes YAML with only the differences from the defaults, and overrides such as `fit.epochs=3`; returns frozen records.
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
    """Loads the config from a YAML file and overrides.

    Args:
        path: str or Path of a YAML file with the differences from the defaults, or None for the defaults.
        overrides: iterable of str such as "fit.epochs=3". The value is parsed as YAML; later overrides win.

    Returns:
        Config. Paths of data, backbone and weights that exist are made absolute, so that the saved copy works from any
        folder.

    Raises:
        FileNotFoundError: there is no file at `path`.
        ConfigError: a key or value is invalid. The error lists every fault with its key path and the nearest known name.

    Example:
        >>> load(overrides=["fit.epochs=3"]).fit.epochs
        3
    """
    values = {} if path is None else read_yaml(path)
    source = "the command line" if path is None else str(path)
    return validate(override(values, overrides), Config, source=source)


def read_yaml(path: str | Path) -> dict:
    """Reads the mapping in a YAML file with `yaml.safe_load`, which constructs no Python objects.

    Args:
        path: str or Path of the file, UTF-8.

    Returns:
        dict, nested plain values; empty for an empty file.

    Raises:
        FileNotFoundError: there is no file at `path`.
        ConfigError: the file is not valid YAML, or its content is not a mapping.
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
    """Returns a copy of nested `values` with every override applied.

    Args:
        values: nested mapping, as from `read_yaml`.
        overrides: iterable of str "section.key=value"; the value is parsed as YAML.

    Returns:
        dict, a new nested mapping.

    Raises:
        ConfigError: an override has no `=` or an empty key, or its value is not valid YAML.

    Example:
        >>> override({"fit": {"epochs": 5}}, ["fit.epochs=3"])
        {'fit': {'epochs': 3}}
    """
    result, faults = dict(values), []
    for text in overrides:
        keys, equals, value = text.partition("=")
        if not equals or not all(keys.split(".")):
            faults.append((text, "an override must have the form `section.key=value`, such as fit.epochs=3."))
            continue
        try:
            result = put(result, keys, yaml.safe_load(value))
        except yaml.YAMLError:
            faults.append((keys, f"not valid YAML. Received: {value!r}. Put quotes around it."))
    if faults:
        raise ConfigError("the command line", faults)
    return result


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
    inner = dict(values) if isinstance(values, Mapping) else {}
    first, _, rest = key.partition(".")
    inner[first] = put(inner.get(first), rest, value) if rest else value
    return inner


def validate(values: Mapping, kind: type[Section] = Config, *, source: str = "the config") -> Any:
    """Builds a frozen record from nested values.

    Args:
        values: nested mapping, as from `read_yaml`.
        kind: subclass of Section to build.
        source: str, the name of the values in error messages, such as the path of their file.

    Returns:
        An instance of `kind`. In a Config, nulls whose default depends on other keys are resolved, and paths are absolute.

    Raises:
        ConfigError: a key or value is invalid; the error lists every fault.
    """
    try:
        record = kind.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(source, [_fault(kind, details) for details in error.errors()]) from None
    return _resolved(record) if kind is Config else record


def _resolved(config: Config) -> Config:
    """Returns the config with absolute paths and with every null resolved whose default depends on other keys."""
    images = config.data.kind == "images"
    backbone = config.model.backbone or ("kerastrain:fractal_small" if images else "keras:embedding")
    formats = config.export.formats
    if formats is None:
        # A Hub text module reads strings, which TFLite does not support.
        text_formats = ("saved_model", "tflite_float32") if backbone.startswith("keras:") else ("saved_model",)
        formats = ("saved_model", "tflite_float32", "tflite_int8") if images else text_formats

    warmup = config.schedule.warmup or ("0 steps" if config.schedule.name == "one_cycle" else "5%")
    # Rare words overfit at 1e-2; 3e-3 was chosen on rt_polarity's validation split.
    trains_embedding = not images and backbone.startswith("keras:")
    rate = config.optimizer.learning_rate or (3e-3 if trains_embedding else 1e-2)

    def absolute(text):
        return str(Path(text).absolute()) if text and Path(text).exists() else text

    # The name of the bundled data set wins over a folder of the same name.
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
    """Returns the key path and the message for one entry of pydantic's `ValidationError.errors()`."""
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
            f"must be a section with the keys {', '.join(_fields(kind, where))}. Received: {received!r}.",
        )
    rule = details["msg"].replace("Input should be", "must be")
    return path, f"{rule[0].lower()}{rule[1:]}. Received: {received!r}."


def _section(kind: type[Section], keys: Iterable) -> type[Section]:
    for key in keys:
        annotation = kind.model_fields[key].annotation
        # The annotation of an optional section is a union with None.
        kind = next((member for member in get_args(annotation) if member is not type(None)), annotation)
    return kind


def _fields(kind: type[Section], keys: Iterable) -> list[str]:
    return list(_section(kind, keys).model_fields)


def dump(record: Section) -> str:
    """Returns a record as YAML text with every value, in the order of the fields.

    Args:
        record: Section.

    Returns:
        str, YAML.
    """
    return to_yaml(record.model_dump(mode="json"))


def to_yaml(values: Mapping) -> str:
    """Returns nested plain values as readable YAML: short lists on one line, keys in their order.

    Args:
        values: nested mapping of str, numbers, bool, None and lists.

    Returns:
        str, YAML.
    """
    options = {"sort_keys": False, "default_flow_style": None, "width": 100, "allow_unicode": True}
    return yaml.dump(dict(values), Dumper=_Dumper, **options)


class _Dumper(yaml.SafeDumper):
    """Quotes strings with U+0085, U+2028 or U+2029, which YAML would otherwise read back as line breaks."""

    def represent_text(self, text: str) -> yaml.Node:
        """Returns the node of a string, quoted if necessary."""
        style = '"' if set(text) & set("\x85\u2028\u2029") else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)


def schema() -> dict:
    """Returns the JSON schema of a config file as a dict, for completion and checks in editors."""
    return Config.model_json_schema()
