"""The parts of a run's time: their names, their order, and what can be done where one of them is the largest.

Takes the record of `profile.json`; returns rows and sentences for the terminal and the page. Must not measure, and must not
import TensorFlow.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from kerastrain.report.formats import percent, seconds

FILE = "profile.json"
"""The file of a run with the seconds of its parts."""

WAITING, FIRST_STEPS, STEPS, VALIDATION, TRACE = "waiting for data", "first steps", "steps", "validation", "trace"
"""The parts of the training itself."""

_PARTS = {  # name -> (what it is, what can be done)
    "start": (
        "Python, TensorFlow and the imports, until the run begins",
        "It does not grow with the data or the epochs.",
    ),
    "reading data": (
        "finding, checking and splitting the examples",
        "Files are checked once and remembered for the next run; data.cache=disk keeps decoded images, too.",
    ),
    "building the model": (
        "loading the backbone and building the model",
        "It does not grow with the data or the epochs.",
    ),
    "precision": (
        "measuring precision and XLA",
        "Set runtime.precision and runtime.jit_compile to what was chosen.",
    ),
    "features": (
        "the frozen backbone's features, once for all epochs of the head",
        "Lower data.image_size or fit.head_views, or choose a smaller model.backbone.",
    ),
    "tokens": ("the tokens of all texts, once for all epochs", "It does not grow with the epochs."),
    WAITING: (
        "steps that wait for their batch",
        "The pipeline is slower than the step: set data.cache to memory or disk, lower data.image_size, name fewer transforms "
        "in data.augment, or use more processors.",
    ),
    FIRST_STEPS: (
        "the first step of each phase, with its tracing and compilation",
        "It counts in short runs only; runtime.jit_compile=false compiles less.",
    ),
    STEPS: (
        "all other steps: forward, backward and update",
        "This is the training itself. A smaller model.backbone or data.image_size is less work, and so are fewer epochs "
        "(fit.epochs, fit.early_stopping_epochs); runtime.precision=measure may find faster steps.",
    ),
    VALIDATION: (
        "the validation part, after each epoch",
        "Lower data.validation_fraction or the number of epochs.",
    ),
    "around the steps": (
        "what `fit` does between steps and epochs: callbacks, history.csv, TensorBoard, opening and closing the pipeline",
        "It grows with the number of epochs, not with the data.",
    ),
    "checkpoints": (
        "checkpoints to resume from, and the best epoch",
        "Set a longer fit.checkpoint_every.",
    ),
    TRACE: ("writing the trace for TensorBoard", "Only runs with runtime.profile=true write one."),
    "best phase": (
        "comparing the phases and restoring the best epoch",
        "It takes a pass over the validation part for each phase.",
    ),
    "evaluation": (
        "measures of the held-out parts, and answers of a language model",
        "Name fewer parts in evaluation.sets, or lower the evaluation.answers of a language model.",
    ),
    "diagnosis": ("the verdict, and the examples that are wrong", "It does not grow with the epochs."),
    "export": (
        "writing, reopening and comparing an exported file",
        "Name fewer export.formats, of which `kerastrain export` can write more later, or lower export.samples.",
    ),
    "report": ("report.html and the model card", "It does not grow with the data or the epochs."),
    "tracking": ("results for TensorBoard and other trackers", "Set tracking.to to fewer of them."),
    "rest": ("everything else", "No setting changes it."),
}


_LEAST_SECONDS = 0.05  # of a part that has a row of its own


@dataclass(frozen=True)
class Row:
    """A part of the time of a run.

    Args:
        name: str, such as "validation" or "export tflite_int8".
        what: str, what happens in it.
        seconds: float >= 0.
        fraction: float in [0, 1], of the whole time.
    """

    name: str
    what: str
    seconds: float
    fraction: float


def rows(record: Mapping) -> list[Row]:
    """Returns the parts of a run in the order in which they happen.

    Args:
        record: mapping, the content of `profile.json`.

    Returns:
        list of Row; parts of less than a twentieth of a second are in the rest.
    """
    parts = {"rest": 0.0}
    for name, value in (record.get("parts") or {}).items():
        shown = name if value >= _LEAST_SECONDS else "rest"
        parts[shown] = parts.get(shown, 0.0) + float(value)
    if parts["rest"] <= 0:
        del parts["rest"]
    total, order = sum(parts.values()), list(_PARTS)
    names = sorted(parts, key=lambda name: order.index(_kind(name)))
    return [Row(name, _PARTS[_kind(name)][0], parts[name], parts[name] / total) for name in names]


def sentences(record: Mapping) -> list[str]:
    """Says in plain words where the time went and what can be done.

    Args:
        record: mapping, the content of `profile.json`.

    Returns:
        list of str: the largest part with its advice, and what the record leaves open.
    """
    kinds: dict[str, float] = {}
    for row in rows(record):
        kinds[_kind(row.name)] = kinds.get(_kind(row.name), 0.0) + row.seconds
    if not kinds:
        return []
    total, largest = sum(kinds.values()), max(kinds, key=kinds.get)
    what, advice = _PARTS[largest]
    lines = [f"Of {seconds(total)}, {percent(kinds[largest] / total)} went into {largest} ({what}). {advice}"]
    if not record.get("waits", True):
        lines.append(
            "On several devices, only the start of the pipeline counts as waiting for data; steps that wait count as steps."
        )
    if record.get("processes", 1) > 1:
        lines.append(f"The run was resumed: the times of {record['processes']} processes are summed.")
    return lines


def _kind(name: str) -> str:
    """The part of a name such as "export tflite_int8"."""
    first = name.partition(" ")[0]
    return name if name in _PARTS else first if first in _PARTS else "rest"
