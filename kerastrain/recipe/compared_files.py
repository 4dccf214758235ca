"""What lies beside the measures of finished runs: sizes, times, exported files, and the settings in which they differ.

Takes folders and configs of runs; returns plain values. Must not import TensorFlow.
"""

import json
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from kerastrain.config import Config
from kerastrain.evaluation import operating_point, paired

_SECONDS = 2.0  # to measure the time of a file
_EXAMPLES_FILE = "example_digests.npz"  # `run_directory.EXAMPLES_FILE`, whose module imports TensorFlow


def facts(folders: Sequence[Path]) -> dict[str, tuple]:
    """The sizes of runs and the time that they took.

    Args:
        folders: sequence of Path, the runs.

    Returns:
        dict from "parameters", "model_bytes" and "training_seconds", as far as a run has them, to a value or None for each run.
    """
    found = {
        "parameters": tuple(map(_parameters, folders)),
        "model_bytes": tuple(map(_model_bytes, folders)),
        "training_seconds": tuple(map(_seconds, folders)),
    }
    return {name: values for name, values in found.items() if any(value is not None for value in values)}


def _models(folder: Path) -> list[Path]:
    """The model of a run, or those of the folds of a cross-validation."""
    return [path for path in (folder / "model.keras", *sorted(folder.glob("fold_*/model.keras"))) if path.is_file()]


def _model_bytes(folder: Path) -> int | None:
    models = _models(folder)
    return models[0].stat().st_size if models else None


def _parameters(folder: Path) -> int | None:
    """The number of weights in the file of the model; of a cross-validation, in that of its first fold."""
    for model in _models(folder)[:1]:
        try:
            with (
                zipfile.ZipFile(model) as archive,
                archive.open("model.weights.h5") as file,
                h5py.File(file) as weights,
            ):
                return _count(weights)
        except (OSError, KeyError, zipfile.BadZipFile):
            return None
    return None


def _count(weights: h5py.File) -> int:
    sizes = []

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and not name.startswith("optimizer"):
            sizes.append(math.prod(item.shape))

    weights.visititems(visit)
    return sum(sizes)


def _seconds(folder: Path) -> float | None:
    """The time of the training, with that of all folds; of a resumed run, the last process's."""
    folds = sorted(folder.glob("fold_*/finished.json"))
    finished = folds or [path for path in [folder / "finished.json"] if path.is_file()]
    seconds = [_json(path).get("seconds") for path in finished]
    return sum(seconds) if seconds and None not in seconds else None


def exports(folders: Sequence[Path], *, timed: bool = False) -> dict[str, tuple]:
    """The exported and compressed files of runs.

    Args:
        folders: sequence of Path, the runs.
        timed: bool, whether to run the TFLite files, those of one name in turns, which takes some seconds for each.

    Returns:
        dict from the path of a file in a run to a tuple with its record for each run, or None: "size_bytes", and as far as they
        are known "agreement", "score" and "milliseconds", the median time of one inference.
    """
    records = [{**_exported(folder), **_compressed(folder)} for folder in folders]
    names = list(dict.fromkeys(name for each in records for name in each))
    if timed:
        for name in [name for name in names if name.endswith(".tflite")]:
            _time(name, folders, records)
    return {name: tuple(each.get(name) for each in records) for name in names}


def _exported(folder: Path) -> dict[str, dict]:
    found = (_json(path) for path in sorted((folder / "exports").rglob("*parity.json")))
    keys, seconds = ("size_bytes", "agreement", "score"), _json(folder / "exports" / "latency.json").get("seconds", {})
    records = {}
    for record in found:
        if name := record.get("file"):
            records[f"exports/{name}"] = {key: record[key] for key in keys if record.get(key) is not None}
            if name in seconds:
                records[f"exports/{name}"]["milliseconds"] = 1000 * seconds[name]
    return records


def _compressed(folder: Path) -> dict[str, dict]:
    results = _json(folder / "compressed" / "compression.json").get("results", [])
    return {
        f"compressed/{row['file']}": {"size_bytes": row["size_bytes"], "score": row["validation"]["value"]}
        for row in results
        if {"file", "size_bytes", "validation"} <= row.keys()
    }


def _time(name: str, folders: Sequence[Path], records: Sequence[dict]) -> None:
    """Adds the time of a file to the records of the runs that have it."""
    from kerastrain.export import benchmark

    pairs = [(folder / name, each[name]) for folder, each in zip(folders, records, strict=True) if name in each]
    pairs = [(path, record) for path, record in pairs if path.is_file()]
    if pairs:
        times = benchmark.seconds([path for path, _ in pairs], budget_seconds=_SECONDS)
        for (_, record), seconds in zip(pairs, times, strict=True):
            record["milliseconds"] = 1000 * seconds


def settings(own: Sequence[Config]) -> dict[str, tuple]:
    """The values of the config keys in which runs differ.

    Args:
        own: sequence of Config, those of the runs.

    Returns:
        dict from a dotted key to a tuple with its value for each run.
    """
    flat = [dict(_flattened(config.model_dump(mode="json"))) for config in own]
    keys = list(dict.fromkeys(key for values in flat for key in values))
    rows = {key: tuple(values.get(key) for values in flat) for key in keys}
    return {key: values for key, values in rows.items() if any(value != values[0] for value in values)}


def _flattened(values: Mapping, prefix: str = ""):
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def notes(part: str, names: Sequence[str], folders: Sequence[Path], digests: np.ndarray) -> Iterator[str]:
    """What makes a comparison of runs weaker than it looks.

    Args:
        part: str, the part that they are compared on.
        names: sequence of str, the names of the runs.
        folders: sequence of Path, the runs.
        digests: uint64 (n,), of the examples of the part.

    Yields:
        str, a sentence.
    """
    if len(digests) < paired.FEWEST_EXAMPLES:
        yield f"fewer than {paired.FEWEST_EXAMPLES} examples do not tell runs apart, whatever their difference"
    processors = {_json(folder / "exports" / "latency.json").get("processor") for folder in folders} - {None}
    if len(processors) > 1:
        yield "the times of the files were measured on different processors; --time measures them side by side"
    if part == "validation":
        yield "the validation part has chosen the best epoch of each run, so all runs look a little better on it than they are"
    for name, folder in zip(names, folders, strict=True):
        if (folder / operating_point.FILE).is_file():
            yield f"the thresholds and the temperature of {name} are not applied; its probabilities are compared as they are"
        path = folder / _EXAMPLES_FILE
        if not path.is_file():
            continue
        with np.load(path) as parts:
            count = int(np.isin(digests, parts["train"]).sum()) if "train" in parts else 0
        if count:
            yield f"{name} was trained on {count:,} of these {len(digests):,} examples, so it looks better than it is"


def _json(path: Path) -> dict:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
