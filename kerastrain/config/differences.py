"""What a config sets: the fewest keys from which the same config is loaded.

Takes a `Config`; returns plain values and YAML. Must not import TensorFlow.
"""

from collections.abc import Iterator, Mapping, Sequence

from kerastrain.config.loading import to_yaml, validate
from kerastrain.config.sections import Config
from kerastrain.errors import ConfigError


def differences(config: Config, *, keep: Sequence[str] = ()) -> dict[str, object]:
    """Finds the keys that a config file must have, or the config would be another one.

    Args:
        config: Config, resolved.
        keep: sequence of str, keys that stay in any case, such as those that were searched; they come first.

    Returns:
        dict from keys such as "optimizer.learning_rate" to plain values.

    Example:
        >>> from kerastrain.config import load
        >>> differences(load(overrides=["fit.epochs=3", "export.formats=null"]))
        {'fit.epochs': 3}
    """
    own = config.model_dump(mode="json")
    first = {key: _value(own, key) for key in keep}
    found = first | dict(_different(own, validate({}).model_dump(mode="json")))
    # What a null means depends on other keys, such as the rate on the kind of data: some keys differ only beside others.
    while more := dict(_different(own, _loaded(found) or {})):
        found = found | more
    for key in [key for key in found if key not in keep]:
        rest = {name: value for name, value in found.items() if name != key}
        if _loaded(rest) == own:
            found = rest
    return found


def sections_text(values: Mapping[str, object], *, first: Sequence[str], titles: tuple[str, str]) -> str:
    """Writes keys as a config file, in which some come first.

    Args:
        values: mapping from keys to plain values, as from `differences`.
        first: sequence of str, the keys that come first, in this order; their sections come first, too.
        titles: (str, str), the comments above these keys and above the others.

    Returns:
        str, YAML.
    """
    ordered = [*first, *(key for key in values if key not in first)]
    lines = []
    for section in dict.fromkeys(key.split(".")[0] for key in ordered):
        lines.append(f"{section}:")
        for title, is_first in zip(titles, (True, False), strict=True):
            own = {key: values[key] for key in ordered if key.split(".")[0] == section and (key in first) == is_first}
            nested = _nested(own).get(section, {})
            lines += [f"  # {title}"] if nested else []
            lines += [f"  {name}: {_flow(value)}" for name, value in nested.items()]
    return "\n".join(lines) + "\n"


def _different(own: Mapping, usual: Mapping, path: str = "") -> Iterator[tuple[str, object]]:
    for key, value in own.items():
        name, other = f"{path}{key}", usual.get(key)
        if value == other:
            continue
        if isinstance(value, Mapping) and isinstance(other, Mapping) and value.keys() == other.keys():
            yield from _different(value, other, f"{name}.")
        else:
            yield name, value


def _loaded(values: Mapping[str, object]) -> dict | None:
    try:
        return validate(_nested(values)).model_dump(mode="json")
    except ConfigError:
        return None


def _nested(values: Mapping[str, object]) -> dict:
    nested: dict = {}
    for key, value in values.items():
        inner, (*sections, last) = nested, key.split(".")
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[last] = value
    return nested


def _value(own: Mapping, key: str) -> object:
    for name in key.split("."):
        own = own[name]
    return own


def _flow(value: object) -> str:
    """A value as YAML on one line."""
    return to_yaml({"value": value}, flow=True).strip().removeprefix("{value: ").removesuffix("}")
