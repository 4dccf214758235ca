"""Reads YAML and overrides into a validated config, and reports every fault at once.

Takes YAML with only the differences from the defaults, and overrides such as `fit.epochs=3`; returns frozen records.
Must not import TensorFlow.
"""

import functools
import logging
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from kerastrain import presets
from kerastrain.config import automatic, faults, typed
from kerastrain.config.data import ALL_FOLDS
from kerastrain.config.model import AUTO_BACKBONE, NGRAM_BACKBONE, ModelConfig
from kerastrain.config.reading import Argument, read_yaml
from kerastrain.config.sections import Config
from kerastrain.config.training import GLOBAL_BATCH_SIZE, LANGUAGE_BATCH_SIZE
from kerastrain.config.typed import put
from kerastrain.config.values import Section
from kerastrain.errors import ConfigError

logger = logging.getLogger("kerastrain")

_WORDS = {
    AUTO_BACKBONE: "the choice by the size of the images",
    "digits": "the bundled data set",
    "imagenet": "the weights that Keras downloads",
    "random": "random weights",
    "keras:": "a network of Keras",
    "kerastrain:": "a module that ships with kerastrain",
}


def load(path: str | Path | None = None, overrides: Iterable[str] = ()) -> Config:
    """Loads the config from a YAML file and overrides.

    Args:
        path: str or Path of a YAML file with the differences from the defaults, or None for the defaults.
        overrides: iterable of str such as "fit.epochs=3"; later overrides win. Text is taken letter by letter, everything
            else is YAML.

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
    values = {} if path is None else _as_written(read_yaml(path), Path(path))
    source = "the command line" if path is None else str(path)
    return validate(override(values, overrides), Config, source=source)


def _as_written(values: dict, path: Path) -> dict:
    """Returns the values of a file as they were meant: null weights in the config of an older run were random ones."""
    written, data = values.get("model"), values.get("data") or {}
    are_sections = isinstance(written, Mapping) and isinstance(data, Mapping)
    if not are_sections or not path.with_name("environment.json").is_file():
        return values
    model = typed.resolve(written, ModelConfig, lambda path, sentence: None)  # `validate` reports the faults.
    is_network = str(model.get("backbone")).startswith("keras:") and data.get("kind", "images") == "images"
    if is_network and model.get("weights", "imagenet") is None and model.get("from_run") is None:
        return {**values, "model": {**written, "weights": "random"}}
    return values


def override(values: Mapping, overrides: Iterable[str]) -> dict:
    """Returns a copy of nested `values` with every override applied.

    Args:
        values: nested mapping, as from `read_yaml`.
        overrides: iterable of str "section.key=value". `validate` reads the value by the type of its key: text is taken
            letter by letter, everything else as YAML.

    Returns:
        dict, a new nested mapping.

    Raises:
        ConfigError: an override has no `=` or an empty key.

    Example:
        >>> override({"fit": {"epochs": 5}}, ["fit.epochs=3"])
        {'fit': {'epochs': 3}}
    """
    result, wrong = dict(values), []
    for text in overrides:
        keys, equals, value = text.partition("=")
        if not equals or not all(keys.strip().split(".")):
            wrong.append((text, "an override must have the form `section.key=value`, such as fit.epochs=3."))
            continue
        argument = Argument(value)
        # A whole section may be written in braces; below it, a key of text keeps them.
        result = put(result, keys.strip(), argument if "." in keys else typed.expanded(argument))
    if wrong:
        raise ConfigError("the command line", wrong)
    return result


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
    wrong = []
    values = typed.resolve(values, kind, lambda path, sentence: wrong.append((path, sentence)))
    try:
        record = kind.model_validate(values)
    except ValidationError as error:
        wrong += faults.of(error, kind, values)
    if wrong:
        raise ConfigError(source, dict(reversed(wrong)).items())
    return _resolved(record) if kind is Config else record


def _resolved(config: Config) -> Config:
    """Returns the config with absolute paths and with every null resolved whose default depends on other keys."""
    if config.is_language:
        return _resolved_language(config)
    images = config.data.kind == "images"
    backbone = config.model.backbone_of(config.data.kind)
    formats = config.export.formats
    if formats is None and config.data.fold == ALL_FOLDS:
        formats = ()  # The model to ship is the one that is trained on all examples.
    elif formats is None:
        # A Hub text module reads strings, which TFLite does not support.
        is_read = images or backbone.startswith("keras:") or presets.is_preset(backbone)
        formats = ("saved_model", "tflite_float32") if is_read else ("saved_model",)
        if images and not config.data.columns.numbers:
            # Most pretrained networks of images are transformers, whose layer normalization does not fit into integers.
            formats += ("tflite_dynamic",) if presets.is_preset(backbone) else ("tflite_int8",)

    warmup = config.schedule.warmup or ("0 steps" if config.schedule.name == "one_cycle" else "5%")
    # Rare words overfit at 1e-2; 3e-3 was chosen on rt_polarity's validation split.
    trains_embedding = not images and backbone.startswith("keras:")
    rate = config.optimizer.learning_rate or (3e-3 if trains_embedding else 1e-2)

    usual = {}
    if not images and presets.is_preset(backbone):
        usual = {"fine_tune_fraction": 0.003}  # 3e-5, as Hugging Face's guides have it
    if backbone == NGRAM_BACKBONE and config.optimizer.name == "adamw" and config.model.from_run is None:
        # Without it, n-grams overfit within two epochs; benchmarks/texts.py has the measures.
        usual = {"weight_decay": 3.0}
    path = _absolute_data(config.data.path, "digits")
    columns, folder = config.data.columns, config.data.columns.folder
    if folder and not (Path(path).parent / folder).is_dir() and not (Path(path) / folder).is_dir():
        columns = columns.model_copy(update={"folder": _absolute(folder)})
    model = {
        "backbone": _absolute(backbone, AUTO_BACKBONE, "keras:", "kerastrain:"),
        "from_run": config.model.from_run and _absolute(config.model.from_run),
        "weights": _weights(config.model, images=images),
    }
    return config.model_copy(
        update={
            "data": config.data.model_copy(
                update={
                    "path": path,
                    "columns": columns,
                    "exclude": config.data.exclude and _absolute(config.data.exclude),
                }
            ),
            "model": config.model.model_copy(update=model),
            "optimizer": _with_defaults(config.optimizer, {"learning_rate": rate, **usual}),
            "fit": _with_defaults(config.fit, {"global_batch_size": GLOBAL_BATCH_SIZE}),
            "evaluation": _with_defaults(config.evaluation, {"batch_size": 64}),
            "schedule": config.schedule.model_copy(update={"warmup": warmup}),
            "export": config.export.model_copy(update={"formats": formats}),
        }
    )


def _resolved_language(config: Config) -> Config:
    """`_resolved` for a language model."""
    is_lora = config.fine_tune.lora_rank is not None
    is_dpo = config.fit.objective == "dpo"
    optimizer = {"global_clip_norm": 1.0}
    if config.optimizer.clip_norm is not None or config.optimizer.clip_value is not None:
        del optimizer["global_clip_norm"]
    formats = ("adapter", "hugging_face") if is_lora else ("hugging_face",)
    path = {"path": _absolute_data(config.data.path)}
    warmup = config.schedule.warmup or ("0 steps" if config.schedule.name == "one_cycle" else "5%")
    return automatic.unmeasured(config).model_copy(
        update={
            "data": config.data.model_copy(update=path),
            "model": config.model.model_copy(update={"backbone": _absolute(config.model.backbone)}),
            "optimizer": _with_defaults(config.optimizer, optimizer),
            "fit": _with_defaults(
                config.fit,
                {"epochs": 3, "global_batch_size": LANGUAGE_BATCH_SIZE, **({"dpo_beta": 0.1} if is_dpo else {})},
            ),
            "schedule": config.schedule.model_copy(update={"warmup": warmup}),
            "evaluation": _with_defaults(config.evaluation, {"batch_size": 8}),
            "export": _with_defaults(config.export, {"formats": formats}),
        }
    )


def _with_defaults(section: Section, values: Mapping[str, object]) -> Section:
    """The section with values in place of its nulls."""
    return section.model_copy(update={key: value for key, value in values.items() if getattr(section, key) is None})


def _absolute_data(path: str, *words: str) -> str:
    prefix = next((prefix for prefix in ("hf:", "tfds:") if path.startswith(prefix)), "")
    return prefix + _absolute(path.removeprefix(prefix), *([] if prefix else words))


def _weights(model: ModelConfig, *, images: bool) -> str | None:
    """Returns the weights that a network of Keras starts with; None for other backbones and for the model of another run."""
    if model.weights is not None:
        return _absolute(model.weights, "imagenet", "random")
    is_network = images and model.from_run is None and (model.backbone or "").startswith("keras:")
    return "imagenet" if is_network else None


def _absolute(text: str, *words: str) -> str:
    """Returns the absolute path of what exists; a word with a meaning of its own wins over a file of the same name."""
    if not Path(text).exists():
        return text
    meaning = next(
        (_WORDS[word] for word in words if text == word or word.endswith(":") and text.startswith(word)), None
    )
    if meaning is not None:
        _warn_of_namesake(text, meaning)
        return text
    return str(Path(text).absolute())


@functools.cache
def _warn_of_namesake(word: str, meaning: str) -> None:
    logger.warning("%s is %s, and not the file or folder of this name here: write ./%s for that", word, meaning, word)


def dump(record: Section) -> str:
    """Returns a record as YAML text with every value, in the order of the fields.

    Args:
        record: Section.

    Returns:
        str, YAML.
    """
    return to_yaml(record.model_dump(mode="json"))


def to_yaml(values: Mapping, *, flow: bool = False) -> str:
    """Returns nested plain values as readable YAML: short lists on one line, keys in their order.

    Args:
        values: nested mapping of str, numbers, bool, None and lists.
        flow: bool, whether everything is on one line, in braces.

    Returns:
        str, YAML.
    """
    style = {"default_flow_style": True, "width": math.inf} if flow else {"default_flow_style": None, "width": 100}
    options = {"sort_keys": False, "allow_unicode": True, **style}
    return yaml.dump(dict(values), Dumper=_Dumper, **options)


class _Dumper(yaml.SafeDumper):
    """Quotes strings that YAML would read as something else: line breaks such as U+2028, and numbers such as 1e-3."""

    def represent_text(self, text: str) -> yaml.Node:
        """Returns the node of a string, quoted if necessary."""
        style = '"' if set(text) & set("\x85\u2028\u2029") else "'" if typed.number(text) is not None else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)


def schema() -> dict:
    """Returns the JSON schema of a config file as a dict, for completion and checks in editors."""
    return Config.model_json_schema()
