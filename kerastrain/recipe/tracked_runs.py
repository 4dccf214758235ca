"""Sends a run to the trackers of its config while it trains, and at its end.

Takes a `Config` and the folder of a run; writes `tracking.json` in it. Only the chief of several workers sends. Must not raise
for a tracker that fails.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import keras

from kerastrain import distribute, tracking
from kerastrain.config import Config
from kerastrain.config.tracking import TrackingConfig
from kerastrain.system import files, stopwatch

_MB = 1_000_000
_TAGS = ("kerastrain", "tensorflow", "keras", "python", "data_sha256", "backbone_sha256", "command")

# The runs of this process whose training has begun and not ended, by their folders.
_open: dict[Path, tracking.TrackedRun] = {}


def callbacks(config: Config, directory: Path) -> list[keras.callbacks.Callback]:
    """Begins or continues a run in each tracker; the callback sends each epoch after `HistoryFile` has written it.

    Args:
        config: Config.
        directory: Path of the run.

    Returns:
        list of a keras.callbacks.Callback; empty without trackers, and in workers that are not the chief.
    """
    if not config.tracking.to or not distribute.is_chief():
        return []
    tracked = _tracked(config, directory)
    tracked.start()
    return [keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: tracked.send_history())]


@stopwatch.timed("tracking")
def write_tensorboard(directory: Path) -> None:
    """Writes the results of a run for TensorBoard.

    Args:
        directory: Path of the run, whose measures and verdict are written.

    Raises:
        WriteError: the folder of the run cannot be written to.
    """
    if (directory / "metrics.json").is_file():
        tracking.write_tensorboard(directory)


@stopwatch.timed("tracking")
def finish(config: Config, directory: Path) -> None:
    """Sends the epochs that are missing, the measures, the report and small exported files to the trackers, and ends the runs
    there.

    Args:
        config: Config.
        directory: Path of the run, all of whose files are written.
    """
    if config.tracking.to and distribute.is_chief():
        _tracked(config, directory).finish(upload_bytes=round(config.tracking.upload_mb * _MB))
        _open.pop(directory, None)


def add(config: Config, directory: Path, values: Mapping[str, float], paths: Mapping[str, Sequence[Path]]) -> None:
    """Sends measures and files of a finished run that were made later, if the run is in trackers.

    Args:
        config: Config.
        directory: Path of the run.
        values: mapping of names to numbers.
        paths: mapping from folders in the tracker, "" for its root, to files and folders.
    """
    if config.tracking.to and tracking.links(directory):
        _tracked(config, directory).add(values, {}, paths)
        _open.pop(directory, None)


def untracked(config: Config) -> Config:
    """A config without trackers, for a training whose result is thrown away.

    Args:
        config: Config.

    Returns:
        Config.
    """
    return config.model_copy(update={"tracking": TrackingConfig()})


@contextlib.contextmanager
def stopped_on_error(directory: Path) -> Iterator[None]:
    """Marks the runs in trackers as stopped if the block is left by an error or a signal.

    Args:
        directory: Path of the run.

    Yields:
        None.
    """
    try:
        yield
    finally:
        if directory in _open:  # `finish` would have taken it out.
            _open.pop(directory).stop()


def _tracked(config: Config, directory: Path) -> tracking.TrackedRun:
    if directory not in _open:
        _open[directory] = tracking.TrackedRun(
            directory,
            config.tracking.to,
            name=run_name(config.tracking.name, directory),
            project=config.tracking.project,
            parameters=lambda: tracking.parameters(config.model_dump(mode="json")),
            tags=lambda: _tags(directory),
        )
    return _open[directory]


def run_name(name: str | None, directory: Path) -> str:
    """The name of a run in its trackers.

    Args:
        name: str, `tracking.name`, or None.
        directory: Path of the run.

    Returns:
        str, the name or that of the folder; of a fold of a cross-validation or a trial of a search, followed by its own folder.

    Example:
        >>> run_name(None, Path("runs/flowers")), run_name(None, Path("runs/flowers/fold_2"))
        ('flowers', 'flowers_fold_2')
    """
    own = directory.absolute()
    whole = own.parent.parent if own.parent.name == "trials" else own.parent if own.name.startswith("fold_") else None
    return (name or own.name) if whole is None else f"{name or whole.name}_{own.name}"


def _tags(directory: Path) -> dict[str, str]:
    path = directory / "environment.json"
    record = files.read_json(path) if path.is_file() else {}
    git = record.get("git") or {}
    tags = {f"run.{name}": str(record[name]) for name in _TAGS if record.get(name)}
    return {**tags, **({"run.git": git["commit"]} if git else {}), "run.folder": str(directory.absolute())}
