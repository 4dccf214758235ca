"""Plans a run that starts from the model of a finished one: its config, and which part of the head it keeps.

Takes the folder of the finished run; returns a `Config`, and says what is kept. Must not import TensorFlow.
"""

import json
import operator
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from kerastrain import config as configs
from kerastrain import data, report
from kerastrain.config import AUTO_BACKBONE, Config
from kerastrain.data.sources.class_names import folded
from kerastrain.errors import InputError
from kerastrain.system import files

START_FILE = "start.keras"
"""The copy of the model to start from, among the checkpoints of a run until it is finished."""

# What the weights of the model depend on. The rest of the section `model` concerns the training of the head.
_FIXED = ("data.kind", "data.task", "data.image_size", "runtime.precision")
_FIXED_IN_LANGUAGE = ("model.backbone", "runtime.precision")
_DEFAULTS_OF_A_WAY = (("optimizer", "learning_rate"), ("fit", "dpo_beta"), ("export", "formats"))
_OPEN = (("data.image_size", None), ("runtime.precision", "auto"))
_FREE_IN_MODEL = ("dropout", "l1", "l2", "from_run")
_MOST_NAMED = 10


@dataclass(frozen=True)
class Start:
    """What is known about the model of a run without opening it.

    Args:
        labels: tuple of str, the names of its outputs.
        task: str, "single_label", "multi_label" or "regression".
        image_size: (height, width) in pixels; None for texts.
        layers: frozenset of str, the names of the classes of its layers.
    """

    labels: tuple[str, ...]
    task: str
    image_size: tuple[int, int] | None
    layers: frozenset[str]


def config_from(run: str | os.PathLike, path: str | Path | None = None, overrides: Iterable[str] = ()) -> Config:
    """Returns the config of a run that trains a finished one further.

    Args:
        run: path of the folder of the finished run.
        path: str or Path of a YAML file with differences from the config of that run; None for none.
        overrides: iterable of str such as "fit.epochs=3", which take precedence over the file.

    Returns:
        Config with the values of the finished run, and `model.from_run`. A run that was trained on its validation part is trained
        further with one, and for as many epochs as the config says. The columns of its table are forgotten if the new
        data is not a table.

    Raises:
        FileNotFoundError: there is no run, or no file at `path`.
        InputError: the training of the run has not finished, a key or value is invalid, or a value would not fit the model
            of the run.

    Example:
        >>> config = config_from("runs/flowers", overrides=["data.path=more_flowers"])  # doctest: +SKIP
        >>> kt.recipe.run(config, "runs/flowers2")  # doctest: +SKIP
    """
    folder = report.run_folder(run)
    own = configs.automatic.unmeasured(configs.load(folder / "config.yaml"))
    start = None if own.is_language else read_start(folder)
    own = configs.no_validation.forgotten(own)
    changes = configs.override({} if path is None else configs.read_yaml(path), overrides)
    values = _merged(own.model_dump(mode="json"), changes)
    values["model"]["from_run"] = str(folder.absolute())
    if own.is_language:
        _forget_defaults(values, changes, own)
    changed_data = changes.get("data") or {}
    place = changed_data.get("path")
    if place is not None and "columns" not in changed_data and not data.has_columns(str(place)):
        values["data"]["columns"] = {}
    if place is not None and "exclude" not in changed_data:  # It names examples of the other data.
        values["data"]["exclude"] = None
    if start is not None and start.image_size is not None and values["data"].get("image_size") is None:
        values["data"]["image_size"] = list(start.image_size)
    config = configs.validate(values, source="the command line" if path is None else str(path))
    check(config)
    return config


def read_start(folder: Path) -> Start:
    """Reads what the model of a run says about itself.

    Args:
        folder: Path of the run.

    Returns:
        Start.

    Raises:
        InputError: the training of the run has not finished, or its model is not one of kerastrain.
    """
    path = _require_model(folder)
    try:
        with zipfile.ZipFile(path) as archive:
            settings = json.loads(archive.read("config.json"))
        layers = settings["config"]["layers"]
        last = next(layer["config"] for layer in layers if layer["class_name"] == "Labels")
        shape = next(layer["config"]["batch_shape"] for layer in layers if layer["class_name"] == "InputLayer")
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError, StopIteration):
        raise InputError(f"'{path}' is not a model that kerastrain has trained.") from None
    size = tuple(shape[1:3]) if len(shape) == 4 else None
    return Start(tuple(last["labels"]), last.get("task", "single_label"), size, frozenset(_class_names(settings)))


def with_precision(config: Config) -> Config:
    """Returns the config with the precision of the model that it starts from, if it leaves the precision open.

    Args:
        config: Config.

    Returns:
        Config, `config` itself if it starts from no other run.

    Raises:
        FileNotFoundError: there is no such run.
    """
    if config.model.from_run is None or config.runtime.precision != "auto":
        return config
    own = configs.load(report.run_folder(config.model.from_run) / "config.yaml")
    return configs.automatic.with_runtime(config, precision=configs.automatic.used_precision(own))


def _forget_defaults(values: dict, changes: Mapping, own: Config) -> None:
    """Forgets what was chosen for a way of training that the changes leave: with LoRA or without, and the objective."""
    tuning, fit = changes.get("fine_tune") or {}, changes.get("fit") or {}
    is_lora = own.fine_tune.lora_rank is not None
    leaves_lora = "lora_rank" in tuning and (yaml.safe_load(str(tuning["lora_rank"])) is not None) != is_lora
    if leaves_lora or str(fit.get("objective", own.fit.objective)) != own.fit.objective:
        for section, key in _DEFAULTS_OF_A_WAY:
            if key not in (changes.get(section) or {}):
                values[section][key] = None


def _require_model(folder: Path) -> Path:
    path = folder / "model.keras"
    if not path.is_file():
        configs.folds.require_one_model(configs.load(folder / "config.yaml"), folder)
        raise InputError(
            f"the run in {str(folder)!r} was stopped before its training finished. Resume it with `kerastrain train "
            f"--resume {folder}`, then train it further."
        )
    return path


def _class_names(value: object) -> Iterator[str]:
    """Yields the names of all classes in the config of a model."""
    if isinstance(value, dict):
        if isinstance(name := value.get("class_name"), str):
            yield name
        value = list(value.values())
    for item in value if isinstance(value, list) else ():
        yield from _class_names(item)


def check(config: Config) -> None:
    """Checks that a config fits the model of the run that it starts from.

    Args:
        config: Config; nothing is checked if its `model.from_run` is None.

    Raises:
        InputError: a value that the weights depend on differs from that run's, or the training of that run has not
            finished.
        FileNotFoundError: there is no such run.
    """
    if config.model.from_run is None:
        return
    folder = report.run_folder(config.model.from_run)
    own = configs.automatic.unmeasured(configs.load(folder / "config.yaml"))
    if own.is_language or config.is_language:
        _check_language(config, own, folder)
        return
    start = read_start(folder)
    if (config.data.columns.pair is None) != (own.data.columns.pair is None):
        reads = "single texts" if own.data.columns.pair is None else "pairs of texts"
        raise InputError(
            f"the run to start from, {str(folder)!r}, reads {reads}. Received: data.columns.pair="
            f"{_text(config.data.columns.pair)}. Correct it, or train a new run without `--from`."
        )
    if len(config.data.columns.numbers) != len(own.data.columns.numbers):
        names, before = (list(columns.numbers) for columns in (config.data.columns, own.data.columns))
        raise InputError(
            f"`data.columns.numbers` must name as many columns as in the run to start from, {str(folder)!r}. Received: {names}, "
            f"and the run has {before}. Correct it, or train a new run without `--from`."
        )
    known = {"data.image_size": start.image_size, "data.task": start.task}
    keys = [f"model.{name}" for name in type(config.model).model_fields if name not in _FREE_IN_MODEL]
    for key in (*_FIXED, *keys):
        section, name = key.split(".")
        value, before = getattr(getattr(config, section), name), known.get(key, getattr(getattr(own, section), name))
        is_open = (key, value) in (*_OPEN, ("model.backbone", AUTO_BACKBONE))
        if value != before and not is_open:
            raise InputError(_changed(key, value, before, folder))


def _check_language(config: Config, own: Config, folder: Path) -> None:
    """Checks that a config of a language model fits the model of a run, whose LoRA matrices it has taken in."""
    _require_model(folder)
    is_same = own.is_language and config.is_language  # which reads conversations and texts
    for key in _FIXED_IN_LANGUAGE if is_same else ("data.kind",):
        value, before = (operator.attrgetter(key)(each) for each in (config, own))
        if value != before:
            raise InputError(_changed(key, value, before, folder))
    if own.fine_tune.quantize is not None:
        raise InputError(
            f"the kernels of the run to start from must be floats, which take in what its LoRA matrices learned. Received: "
            f"{str(folder)!r}, with fine_tune.quantize={own.fine_tune.quantize}. Export it to hugging_face, and train with that "
            "folder as model.backbone."
        )


def _changed(key: str, value: object, before: object, folder: Path) -> str:
    return (
        f"`{key}` must be that of the run to start from, {str(folder)!r}. Received: {_text(value)}, and the run has "
        f"{_text(before)}. Remove it, or train a new run without `--from`."
    )


def matched(start: Sequence[str], labels: Sequence[str]) -> list[str | None]:
    """Finds the label of a model for each label of new data.

    Labels match that differ only by case or Unicode normalization, unless one is equal.

    Args:
        start: sequence of str, the labels of the model to start from.
        labels: sequence of n str, the labels of the data.

    Returns:
        list of n, labels of `start`, each at most once, or None for a new label.

    Example:
        >>> matched(["cat", "dog"], ["bird", "Cat"])
        [None, 'cat']
    """
    free = {folded(label): label for label in reversed(start) if label not in labels}
    return [label if label in start else free.pop(folded(label), None) for label in labels]


def kept(start: Sequence[str], labels: Sequence[str]) -> dict[str, list[str]]:
    """Compares the labels of a model with those of new data.

    Args:
        start: sequence of str, the labels of the model to start from.
        labels: sequence of str, the labels of the data.

    Returns:
        dict with the lists of str "kept" and "new", labels of the data, and "dropped", labels of the model.

    Example:
        >>> kept(["cat", "dog"], ["bird", "cat"])
        {'kept': ['cat'], 'new': ['bird'], 'dropped': ['dog']}
    """
    names = matched(start, labels)
    return {
        "kept": [label for label, name in zip(labels, names, strict=True) if name is not None],
        "new": [label for label, name in zip(labels, names, strict=True) if name is None],
        "dropped": [label for label in start if label not in names],
    }


def description(config: Config, labels: Sequence[str]) -> list[str]:
    """Says what a run keeps of the model that it starts from.

    Args:
        config: Config.
        labels: sequence of str, the labels of its data.

    Returns:
        list of str, lines without line ends; empty if the run starts from no other.

    Raises:
        InputError: the numbers of a regression have other names, or the training of that run has not finished.
    """
    if config.model.from_run is None:
        return []
    if not Path(config.model.from_run).is_dir():  # A run is resumed with its own copy of the model.
        return [f"starts from: {config.model.from_run}, which is no longer there"]
    start = read_start(report.run_folder(config.model.from_run))
    same = kept(start.labels, labels)
    if start.task == "regression" and (same["new"] or same["dropped"]):
        raise InputError(
            f"the numbers must be those of the run to start from, {', '.join(start.labels)}. Received: "
            f"{', '.join(labels)}. Set `data.columns.targets` to columns of these names, or train a new run without "
            "`--from`."
        )
    lines = [f"starts from: {config.model.from_run}"]
    if config.data.kind == "text":
        lines.append("vocabulary: that of the run to start from; words that it does not contain stay unknown")
    if not same["new"] and not same["dropped"]:
        noun = "numbers" if start.task == "regression" else "labels"
        lines.append(f"head: kept, for the same {len(labels):,} {noun}")
        return lines
    counts = [f"{len(names):,} {what} ({_some(names)})" for what, names in same.items() if names]
    lines.append(f"head: {', '.join(counts)}")
    if not same["kept"]:
        lines.append(
            "warning: no label of the data is one of the model's, so the last layer of the head gets new weights"
        )
    elif same["dropped"]:
        lines.append(f"warning: the new model will not know {_some(same['dropped'])}, which the data lack")
    return lines


def record(config: Config, labels: Sequence[str], directory: Path, *, copy: Path) -> None:
    """Writes from what a run was trained, and keeps the model to start from until the run is finished.

    Args:
        config: Config with a `model.from_run`.
        labels: sequence of str, the labels of the data.
        directory: Path of the run, for `start.json`.
        copy: Path for the model to start from, from which the run could be resumed without the other run.
    """
    if not copy.exists():
        source = Path(config.model.from_run) / "model.keras"
        copy.parent.mkdir(parents=True, exist_ok=True)
        files.link(source, copy)
        same = kept(read_start(source.parent).labels, labels)
        content = {"run": config.model.from_run, "model_sha256": files.sha256(copy), **same}
        files.write_json(directory / "start.json", content)


def _merged(values: Mapping, changes: Mapping) -> dict:
    """Returns `values` with the keys of `changes`, section by section; the columns of tables count as a section."""
    result = dict(values)
    for name, change in changes.items():
        is_section = isinstance(change, Mapping) and isinstance(values.get(name), Mapping)
        result[name] = _merged(values[name], change) if is_section and name != "augment" else change
    return result


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _text(value: object) -> str:
    return "null" if value is None else repr(value)
