"""A run in one or several trackers, sent from the files in its folder.

Takes a folder with `history.csv`; writes `tracking.json` in it, by which a later process continues the same runs. Every epoch
is sent once. Must not let a tracker's failure stop the training.
"""

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kerastrain.system import files, optional_imports
from kerastrain.tracking import contents, wandb_tracker
from kerastrain.tracking.mlflow_tracker import MlflowTracker
from kerastrain.tracking.wandb_tracker import WandbTracker

logger = logging.getLogger("kerastrain")

FILE = "tracking.json"
"""The file of a run with its ids and links in trackers."""

TRACKERS = {"mlflow": MlflowTracker, "wandb": WandbTracker}
_TITLES = {"mlflow": "MLflow", "wandb": "Weights & Biases"}


def require(names: Sequence[str]) -> None:
    """Checks that runs can be sent to trackers, as far as is known before.

    Args:
        names: sequence of keys of `TRACKERS`.

    Raises:
        MissingExtra: a library is not installed.
        InputError: Weights & Biases has no API key and is not offline.
    """
    for name in names:
        optional_imports.require(name)
    if "wandb" in names:
        wandb_tracker.require_login()


def links(directory: Path) -> dict[str, str]:
    """Where a run can be seen in its trackers.

    Args:
        directory: Path of the run.

    Returns:
        dict from the title of each tracker to an address, or to a text about a run on this machine.
    """
    return {_TITLES[name]: entry["link"] for name, entry in _read(directory).items() if "link" in entry}


class TrackedRun:
    """A run in its trackers. Nothing here raises for a tracker that fails: it is named in one warning and tried again at the end.

    Args:
        directory: Path of the run.
        names: sequence of keys of `TRACKERS`.
        name: str, the name of the run there.
        project: str, the project or experiment; None for that of the environment, or "kerastrain".
        parameters: callable that returns a dict of str to str, called for a new run.
        tags: callable that returns a dict of str to str, called for a new run.
    """

    def __init__(
        self,
        directory: Path,
        names: Sequence[str],
        *,
        name: str,
        project: str | None = None,
        parameters: Callable[[], Mapping[str, str]] = dict,
        tags: Callable[[], Mapping[str, str]] = dict,
    ):
        self._directory, self._name, self._project = directory, name, project
        self._parameters, self._tags = parameters, tags
        self._record = _read(directory)
        self._open: dict[str, object] = {}
        self._names, self._failed = list(dict.fromkeys(names)), set()
        self._is_last_try = False

    def start(self) -> None:
        """Begins a run in each tracker, or continues the one in `tracking.json`, and says where it can be seen."""
        for name in self._names:
            self._try(name, lambda tracker: None)

    def send_history(self) -> None:
        """Sends the epochs in `history.csv` that a tracker does not have."""
        rows = contents.history(self._directory / "history.csv")

        for name in self._names:
            self._try(name, functools.partial(self._send_rows, name, rows))

    def finish(self, *, upload_bytes: int) -> None:
        """Sends what is missing, the measures, the pages and the small exported files, and ends the runs.

        Args:
            upload_bytes: int >= 0, the largest exported file that is sent; of larger ones the path is noted.
        """
        self._failed.clear()  # A server that was down may be up again.
        self._is_last_try = True
        self.send_history()
        path = self._directory / "metrics.json"
        measured = files.read_json(path) if path.is_file() else {}
        sizes = contents.exported(self._directory)
        tags = {f"exports.{path.name}": f"{path.absolute()}, {size:,} bytes" for path, size in sizes.items()}
        phases = contents.phase_names(self._directory / "history.csv")
        self.add(
            contents.measures(measured),
            {**tags, **({"phases": phases} if phases else {})},
            {
                "": [path for name in contents.PAGES if (path := self._directory / name).is_file()],
                "exports": [path for path, size in sizes.items() if size <= upload_bytes],
            },
        )

    def add(self, values: Mapping[str, float], tags: Mapping[str, str], paths: Mapping[str, Sequence[Path]]) -> None:
        """Sends measures, tags and files, and ends the runs.

        Args:
            values: mapping of names to numbers.
            tags: mapping of str to str.
            paths: mapping from folders in the tracker, "" for the root, to files and folders.
        """
        self._is_last_try = True

        def send(tracker):
            tracker.add(values, tags, paths)
            tracker.end(finished=True)

        for name in self._names:
            self._try(name, send)
        self._open.clear()

    def stop(self) -> None:
        """Marks the runs as stopped, because the training was; a later process may continue them."""
        for name in list(self._open):
            self._try(name, lambda tracker: tracker.end(finished=False))
        self._open.clear()

    def _send_rows(self, name: str, rows: Sequence[Mapping[str, float]], tracker) -> None:
        entry = self._record[name]
        for epoch, values in enumerate(rows, start=1):
            if epoch > entry.get("epochs", 0):
                tracker.log(epoch, values)
                entry["epochs"] = epoch
                self._write()

    def _try(self, name: str, action: Callable) -> None:
        if name in self._failed:
            return
        try:
            action(self._tracker(name))
        # Whatever a server or a client does, hours of training must not be lost by it.
        except Exception as error:
            self._failed.add(name)
            message = " ".join(str(error).split())[:300] or type(error).__name__
            rest = "the run's folder has what it lacks" if self._is_last_try else "it is tried again at the end"
            logger.warning("tracking: %s failed; %s: %s", _TITLES[name], rest, message)

    def _tracker(self, name: str):
        if name in self._open:
            return self._open[name]
        entry = self._record.setdefault(name, {})
        known = entry.get("run")
        tracker = TRACKERS[name](
            project=self._project,
            name=self._name,
            run=known,
            parameters=self._parameters(),
            tags=self._tags(),
            directory=self._directory,
        )
        entry |= {"run": tracker.run, "link": tracker.link}
        if known is not None:  # A process may have been killed between sending an epoch and noting it.
            entry["epochs"] = max(entry.get("epochs", 0), tracker.logged_epochs())
        self._write()
        logger.info("tracking: %s %s %s", _TITLES[name], "continues" if known else "has", entry["link"])
        self._open[name] = tracker
        return tracker

    def _write(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        files.write_json(self._directory / FILE, self._record)


def _read(directory: Path) -> dict[str, dict]:
    path = directory / FILE
    if not path.is_file():
        return {}
    try:
        record = files.read_json(path)
        return {name: dict(record[name]) for name in TRACKERS if name in record}
    except (ValueError, TypeError) as error:
        # A file that somebody changed must not stop a training.
        logger.warning("tracking: cannot read %s, so new runs begin there: %s", path, error)
        return {}
