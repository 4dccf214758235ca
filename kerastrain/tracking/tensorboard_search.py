"""The trials of a search for TensorBoard: its HParams page, and the learning curve of each trial beside it.

Takes the folder of a search; writes `tensorboard/` in it. Only reads `trials.json`, so it gives the same after a resumed search.
"""

import datetime
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import tensorflow as tf
from tensorboard.plugins.hparams import api, summary

from kerastrain.system import files
from kerastrain.tuning import recorded_space, records

FOLDER = "tensorboard"
_ENDINGS = {"completed": "STATUS_SUCCESS", "pruned": "STATUS_SUCCESS", "failed": "STATUS_FAILURE"}


def write_search(directory: Path) -> Path:
    """Writes the trials of a search for TensorBoard, in the place of earlier ones.

    Each trial that has ended is a run, `tensorboard/007`, with its values (null, lists and choices of several types as JSON
    text), its measures, its status, and the curve of the first objective as `curve/MEASURE`. `tensorboard --logdir
    SEARCH/tensorboard` shows them under HPARAMS and TIME SERIES.

    Args:
        directory: Path of the search, which has `trials.json`.

    Returns:
        Path of the folder.

    Raises:
        InputError: there is no `trials.json`.
        WriteError: the disk is full or read-only.
    """
    record = records.read(directory)
    folder = directory / FOLDER
    trials = [trial for trial in record["trials"] if trial["status"] in _ENDINGS]
    keys = recorded_space.read(record["space"], [trial["values"] for trial in record["trials"]])
    with files.atomic(folder) as temporary:
        temporary.mkdir(parents=True)
        with files.surface_write_errors(folder):
            with _writer(temporary).as_default(step=0):
                api.hparams_config(hparams=list(map(_parameter, keys)), metrics=_metrics(record["objectives"], trials))
            for trial in trials:
                _write_trial(temporary / f"{trial['point']:03d}", trial, keys, record["objectives"][0]["measure"])
    return folder


def _writer(folder: Path):
    return tf.summary.create_file_writer(str(folder))


def _write_trial(folder: Path, trial: Mapping, keys: Sequence[recorded_space.RecordedKey], measure: str) -> None:
    values = {key.name: _value(key, trial["values"][key.name]) for key in keys if key.name in trial["values"]}
    writer, start = _writer(folder), _start(trial)
    end = None if start is None else start + (trial.get("seconds") or 0.0)
    with writer.as_default():
        api.hparams(values, trial_id=f"trial {trial['point']}", start_time_secs=start)
        for epoch, value in trial.get("curve") or ():
            if _finite(value):
                tf.summary.scalar(f"curve/{measure}", value, step=epoch)
        for name, value in _measures(trial, measure).items():
            tf.summary.scalar(name, value, step=trial.get("epochs") or 0)
        ending = summary.session_end_pb(summary.api_pb2.Status.Value(_ENDINGS[trial["status"]]), end)
        tf.summary.experimental.write_raw_pb(ending.SerializeToString(), step=0)
    writer.close()


def _start(trial: Mapping) -> float | None:
    try:
        return datetime.datetime.fromisoformat(trial.get("started") or "").timestamp()
    except ValueError:
        return None


def _measures(trial: Mapping, measure: str) -> dict[str, float]:
    """The numbers of a trial; the score of a pruned one under the name of the objective."""
    score = {measure: trial["score"]} if _finite(trial["score"]) else {}
    counts = {name: trial[name] for name in ("epochs", "seconds") if _finite(trial.get(name))}
    measured = {name: value for name, value in (trial.get("measures") or {}).items() if _finite(value)}
    return {**measured, **score, **counts}


def _metrics(objectives: Sequence[Mapping], trials: Sequence[Mapping]) -> list[api.Metric]:
    """The columns of measures, the objectives first."""
    first = [objective["measure"] for objective in objectives]
    names = dict.fromkeys(
        [*first, *sorted({name for trial in trials for name in _measures(trial, first[0])} - {*first})]
    )
    return [api.Metric(name, display_name=name) for name in names]


def _parameter(key: recorded_space.RecordedKey) -> api.HParam:
    if key.choices is None:
        return api.HParam(key.name, api.RealInterval(key.low, key.high) if key.low < key.high else None)
    values = [_value(key, choice) for choice in key.choices]
    return api.HParam(key.name, api.Discrete(values) if values else None)


def _value(key: recorded_space.RecordedKey, value: object) -> bool | float | str:
    """A value in a type that TensorBoard has, the same for all values of a key."""
    if key.choices is None or all(map(recorded_space.is_number, key.choices)):
        return float(value)
    for kind in (bool, str):
        if all(isinstance(choice, kind) for choice in key.choices):
            return value
    return recorded_space.text(value)


def _finite(value: object) -> bool:
    return recorded_space.is_number(value) and math.isfinite(value)
