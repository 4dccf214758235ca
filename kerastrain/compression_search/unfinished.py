"""The folder of a compression that is not finished yet, which a later process continues: `compressed.unfinished`.

Takes paths, records and settings. Everything in the folder is complete or absent: the files of each candidate, followed
by its record; the model after each sequence of training steps; the checkpoints of the training that was interrupted.
Must not know what the records mean, and must not train.
"""

import contextlib
import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from kerastrain.errors import InputError
from kerastrain.system import files, locks

NAME = "compressed.unfinished"
"""The name of the folder inside the folder of a run."""

MAY_CHANGE = ("budget.minutes", "threads")
"""The settings that may differ when a compression is resumed: no file depends on them."""

logger = logging.getLogger("kerastrain")


class Unfinished:
    """The records, models and checkpoints of an unfinished compression.

    Args:
        folder: Path of an existing folder.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def record(self, name: str) -> object | None:
        """Returns the record that `save` wrote under a name, or None.

        Args:
            name: str, such as the name of a candidate.

        Returns:
            object as from JSON.
        """
        path = self._record_path(name)
        return files.read_json(path) if path.is_file() else None

    def save(self, name: str, record: object) -> None:
        """Writes a record, which marks the files that belong to it as complete.

        Args:
            name: str.
            record: object for JSON.
        """
        files.write_json(self._record_path(name), record)

    def model_path(self, stem: str) -> Path:
        """Returns the path of the model after a sequence of training steps.

        Args:
            stem: str, as `Candidate.stem`.

        Returns:
            Path.
        """
        return self.folder / f"{stem}.keras"

    def checkpoints(self, stem: str) -> Path:
        """Returns the folder of the checkpoints of the last training step of a model.

        Args:
            stem: str, as `Candidate.stem`.

        Returns:
            Path.
        """
        return self.folder / "checkpoints" / stem

    def remove_checkpoints(self, stem: str) -> None:
        """Removes the checkpoints of a model that is saved.

        Args:
            stem: str, as `Candidate.stem`.
        """
        shutil.rmtree(self.checkpoints(stem), ignore_errors=True)

    def publish(self, target: Path, names: set[str], extra: Mapping[str, Path]) -> None:
        """Moves the finished files to their final folder, which is complete or absent, and removes this folder.

        Args:
            target: Path at which nothing exists.
            names: set of str, the names before the first dot of the files to publish.
            extra: mapping from a file name to the Path of one more file.
        """
        finished = self.folder / "finished"
        shutil.rmtree(finished, ignore_errors=True)
        with files.surface_write_errors(target):
            finished.mkdir()
            for path in self.folder.iterdir():
                if path.is_file() and path.name.split(".")[0] in names:
                    files.link(path, finished / path.name)
            for name, path in extra.items():
                files.link(path, finished / name)
        files.move(finished, target)
        self.remove()

    def remove(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _record_path(self, name: str) -> Path:
        return self.folder / "records" / f"{name}.json"


def recorded_settings(directory: Path) -> dict | None:
    """Returns the settings that the unfinished compression of a run was started with.

    Args:
        directory: Path of the run.

    Returns:
        dict for `config.CompressConfig`; None if there is no unfinished compression.
    """
    path = directory / NAME / "settings.json"
    if not path.is_file():
        return None
    settings = files.read_json(path)["settings"]
    if settings["budget"] is not None:
        del settings["quantize"]  # A budget does not take it.
    return settings


@contextlib.contextmanager
def opened(
    directory: Path, settings: Mapping, inputs: Mapping[str, str], *, keeps_on_error: bool
) -> Iterator[Unfinished]:
    """Context manager that creates the folder of a compression, or reopens that of an interrupted one, and locks it.

    Args:
        directory: Path of the run.
        settings: mapping of JSON values, the settings of the compression.
        inputs: mapping from "model" and "data" to their digests.
        keeps_on_error: bool, whether the folder stays if the block raises an InputError, after which the same command
            would fail again.

    Yields:
        Unfinished.

    Raises:
        InputError: the compression was started with other settings, another model or other data, or another process
            is compressing this run.
    """
    folder = directory / NAME
    with files.surface_write_errors(folder):
        folder.mkdir(exist_ok=True)
    with locks.locked(folder, "compressing in"):
        for leftover in directory.glob(".compressed.*.tmp"):  # of killed processes of earlier versions
            shutil.rmtree(leftover, ignore_errors=True)
        files.remove_leftovers(folder)
        started = folder / "settings.json"
        if started.is_file() and (any(folder.glob("records/*")) or any(folder.glob("checkpoints/*"))):
            _require_equal(directory, files.read_json(started), settings, inputs)
            records = [files.read_json(path) for path in folder.glob("records/*.json")]
            count = sum("name" in record for record in records)
            logger.info("resuming the compression in %s: %d candidates are done", folder, count)
        files.write_json(started, {"settings": settings, **inputs})
        unfinished = Unfinished(folder)
        try:
            yield unfinished
        except InputError:
            if not keeps_on_error:
                unfinished.remove()
            raise


def changed_settings(own: Mapping, settings: Mapping) -> list[str]:
    """Lists the settings that must not change and differ from those of an unfinished compression.

    Args:
        own: mapping of JSON values, the settings of the unfinished compression.
        settings: mapping of JSON values, the settings now.

    Returns:
        list of str, such as "prune.fraction=0.9 (in the unfinished one 0.8)".
    """
    before, now = dict(_flat(own)), dict(_flat(settings))
    return [
        f"{key}={now.get(key)!r} (in the unfinished one {before.get(key)!r})"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key) and key not in MAY_CHANGE
    ]


def _require_equal(directory: Path, started: Mapping, settings: Mapping, inputs: Mapping[str, str]) -> None:
    discard = f"or remove {str(directory / NAME)!r} to start again."
    if differences := changed_settings(started["settings"], settings):
        raise InputError(
            "a compression can only be resumed with the settings that it was started with. Received: "
            f"{', '.join(differences)}. Resume it with `kerastrain compress --resume {directory}`, {discard}"
        )
    changed = [name for name, digest in inputs.items() if started.get(name) != digest]
    if changed:
        raise InputError(
            f"a compression can only be resumed with the model and the data that it was started with. Received: another "
            f"{' and other '.join(changed)} than when it was started. Restore them, {discard}"
        )


def _flat(values: Mapping, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
