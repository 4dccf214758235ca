"""The names of all measures: which exist for a task, which direction is better, and how to read one.

Takes names such as "validation.macro.f1", the part of the data and the path in `metrics.json` below it; returns plain values.
Must not compute measures, and must not import TensorFlow.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence

from kerastrain.errors import InputError, unknown
from kerastrain.evaluation.measure_names import CLASS, FORMATS, GROUPS, KINDS, MEASURES, PART, SCORES, in_short
from kerastrain.tasks import TASKS

_LOGGED = {  # Keras computes them during training; all others are computed after each epoch
    "single_label": {"loss": "val_data_loss", "accuracy": "val_accuracy"},
    "multi_label": {"loss": "val_data_loss", "accuracy": "val_accuracy"},
    "regression": {"loss": "val_data_loss", "mae": "val_mae", "rmse": "val_rmse"},
    "language": {"loss": "val_data_loss", "accuracy": "val_accuracy"},
    "preference": {"preference.loss": "val_data_loss", "preference.accuracy": "val_accuracy"},
}
_LOWER_IS_BETTER = ("loss", "perplexity", "brier", "error", "mae", "rmse", "parameters", "bytes", "milliseconds")
_SHARES = (*SCORES, "accuracy", "balanced_accuracy", "top_3", "top_5", "exact", "best_f1", "likelier")
_AT_MOST_ONE = ("kappa", "matthews", "r2", "spearman")


def names(kind: str) -> tuple[str, ...]:
    """The measures of a part of the data, as in `metrics.json`.

    Args:
        kind: str in `KINDS`.

    Returns:
        tuple of str such as "macro.f1" and "classes.CLASS.f1", where CLASS is the name of any class.

    Raises:
        InputError: the kind is unknown.

    Example:
        >>> names("language")
        ('loss', 'perplexity', 'accuracy')
    """
    if kind not in KINDS:
        raise InputError(unknown("task", kind, KINDS))
    return MEASURES[kind]


def parse(objective: str) -> tuple[str, str]:
    """Splits the name of an objective into its first word and the rest.

    Args:
        objective: str such as "validation.macro.f1", "model.parameters" or "export.tflite_int8.bytes".

    Returns:
        (str, str): the part of the data, "model" or "export"; and the name in it.

    Raises:
        InputError: the name has no part, or one by which no model may be chosen.

    Example:
        >>> parse("validation.macro.f1")
        ('validation', 'macro.f1')
    """
    part, _, name = str(objective).partition(".")
    if part in ("test", "train") and name:
        why = (
            "a model that is chosen by the test part has no part left that says how good it is"
            if part == "test"
            else "the training part does not say what a model does with new examples"
        )
        raise InputError(
            f"models are compared on the validation part: {why}. Received: {objective}. Use {PART}.{name}."
        )
    if part not in (PART, "model", "export") or not name:
        raise InputError(
            f"a measure is named by the part of the data and its place in metrics.json, such as {PART}.accuracy. Received: "
            f"{objective}."
        )
    return part, name


def check(objective: str, kind: str, labels: Sequence[str] | None = None) -> None:
    """Raises an error unless a trained model of a kind has an objective.

    Args:
        objective: str as for `parse`.
        kind: str in `KINDS`.
        labels: sequence of str, the names of the classes or numbers; None before they are known, for any name.

    Raises:
        InputError: there is no such measure, part, class or format, or it is that of another task.
    """
    part, name = parse(objective)
    if part == "model" and name != "parameters":
        raise InputError(unknown("objective", objective, ["model.parameters"]))
    if part == "export":
        _check_export(objective)
    if part != PART:
        return
    group, label, score = _split(name)
    pattern = f"{group}.{CLASS}.{score}" if group else name
    if pattern not in names(kind):
        raise InputError(_no_such_measure(objective, pattern, kind))
    if group and labels is not None and label not in map(str, labels):
        raise InputError(
            f"{objective}: {unknown('class' if group == 'classes' else 'number', label, map(str, labels))}"
        )
    if name.startswith("top_") and labels is not None and len(labels) <= (top := int(name.removeprefix("top_"))):
        raise InputError(f"{objective} needs more than {top} classes. Received: {len(labels)}. Use {PART}.accuracy.")


def check_monitor(monitor: str, kind: str, labels: Sequence[str] | None = None) -> None:
    """Raises an error unless the epochs of a training can be compared by a measure.

    Args:
        monitor: str, the name of a measure of the validation part.
        kind: str in `KINDS`.
        labels: as for `check`.

    Raises:
        InputError: as for `check`, or it is not known after each epoch.
    """
    if monitor == f"{PART}.loss" and kind == "regression":  # which is logged, but no measure of a trained model
        return
    check(monitor, kind, labels)
    if logged_name(monitor, kind) is None:
        known = ", ".join(f"{PART}.{name}" for name in _LOGGED[kind])
        raise InputError(f"{monitor} is not measured after each epoch of {kind}. Known: {known}.")


def direction(objective: str) -> str:
    """Whether lower or higher values of an objective are better.

    Args:
        objective: str as for `parse`, or the name of a measure alone.

    Returns:
        "min" or "max".

    Example:
        >>> direction("validation.macro.f1"), direction("validation.calibration.error"), direction("model.parameters")
        ('max', 'min', 'min')
    """
    return "min" if objective.rpartition(".")[2] in _LOWER_IS_BETTER else "max"


def logged_name(objective: str, kind: str) -> str | None:
    """The column of `history.csv` that has a measure of the validation part after each epoch.

    Args:
        objective: str that passed `check`.
        kind: str in `KINDS`.

    Returns:
        str; None for what is not measured after each epoch, such as the size of a file.

    Example:
        >>> logged_name("validation.loss", "single_label"), logged_name("validation.macro.f1", "single_label")
        ('val_data_loss', 'val_macro_f1')
    """
    part, name = parse(objective)
    if part != PART:
        return None
    if name in _LOGGED[kind]:
        return _LOGGED[kind][name]
    # Trackers take letters, digits and underscores, whatever the name of a class is.
    return "val_" + re.sub(r"\W+", "_", name) if kind in TASKS else None


def is_logged_by_keras(objective: str, kind: str) -> bool:
    """Whether Keras computes a measure during training, so that it need not be computed after each epoch.

    Args:
        objective: str that passed `check`.
        kind: str in `KINDS`.

    Returns:
        bool.
    """
    return parse(objective)[1] in _LOGGED[kind]


def scale(objective: str) -> str:
    """What kind of number a measure is.

    Args:
        objective: str as for `parse`.

    Returns:
        "share" of examples, in [0, 1], such as accuracy and F1; "at_most_one", such as R² and kappa; else "loss".
    """
    score = objective.rpartition(".")[2]
    return "share" if score in _SHARES else "at_most_one" if score in _AT_MOST_ONE else "loss"


def class_of(objective: str) -> str | None:
    """The class, label or number whose measure an objective is.

    Args:
        objective: str, the name of a measure, with or without its part.

    Returns:
        str, or None for a measure of all.

    Example:
        >>> class_of("validation.classes.tabby cat.f1"), class_of("validation.macro.f1")
        ('tabby cat', None)
    """
    return _split(objective.removeprefix(f"{PART}."))[1]


def scalar(measures: Mapping, objective: str) -> float:
    """Reads one measure.

    Args:
        measures: mapping, the measures of a part as in `metrics.json`.
        objective: str, the name of a measure, with or without its part.

    Returns:
        float; NaN where the measure is undefined, such as the recall of a class without examples.

    Raises:
        InputError: the measures do not have it.

    Example:
        >>> scalar({"accuracy": 0.9, "macro": {"f1": None}}, "validation.macro.f1")
        nan
    """
    known = flat(measures)
    name = objective.removeprefix(f"{PART}.")
    if name not in known:
        raise InputError(unknown("measure", objective, known))
    return known[name]


def flat(measures: Mapping) -> dict[str, float]:
    """All measures of a part by their names.

    Args:
        measures: mapping, the measures of a part as in `metrics.json`.

    Returns:
        dict from names such as "macro.f1" and "classes.cat.recall" to floats, NaN for undefined ones. Counts, thresholds and
        descriptions of the data are left out, because no model is better by them.

    Example:
        >>> flat({"task": "language", "tokens": 12, "loss": 2.0, "perplexity": 7.4, "accuracy": 0.5})
        {'loss': 2.0, 'perplexity': 7.4, 'accuracy': 0.5}
    """
    kind = "preference" if "preference" in measures else measures.get("task")
    wanted = MEASURES.get(kind) or {name for kind in KINDS for name in MEASURES[kind]}
    return {name: _number(value) for name, pattern, value in _scalars(measures) if pattern in wanted}


def _scalars(measures: Mapping) -> Iterator[tuple[str, str, float | None]]:
    for name, value in measures.items():
        if name in GROUPS:
            for row in value:
                for score, number in row.items():
                    yield f"{name}.{row['label']}.{score}", f"{name}.{CLASS}.{score}", number
        elif isinstance(value, Mapping):
            for inner, number in value.items():
                yield f"{name}.{inner}", f"{name}.{inner}", number
        else:
            yield name, name, value


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _split(name: str) -> tuple[str | None, str | None, str]:
    """The group, the class and the score in "classes.CLASS.f1"; a class may have dots in its name, a score has none."""
    group, _, rest = name.partition(".")
    label, _, score = rest.rpartition(".")
    return (group, label, score) if group in GROUPS and label else (None, None, name)


def _check_export(objective: str) -> None:
    timed = [name for name in FORMATS if name.startswith("tflite_")]
    known = [*(f"export.{name}.bytes" for name in FORMATS), *(f"export.{name}.milliseconds" for name in timed)]
    if objective not in known:
        raise InputError(unknown("objective", objective, known))


def _no_such_measure(objective: str, pattern: str, kind: str) -> str:
    """Says that a kind has no such measure, with the most similar name and all names in short."""
    known = in_short(kind)
    if others := [other for other in KINDS if pattern in MEASURES[other]]:
        return f"{objective} is a measure of {' and '.join(others)}. Received: it for {kind}. Use {PART}. with {known}."
    sentence = unknown("measure", objective, (f"{PART}.{name}" for name in names(kind)))
    _, mark, similar = sentence.rpartition(" Did you mean ")
    return f"unknown measure {objective!r}. Known: {PART}. with {known}.{mark}{similar if mark else ''}"
