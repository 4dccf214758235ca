"""The files that describe a search in its folder, and which files of its trials stay on disk.

Takes and returns paths and configs. Must not import TensorFlow, and must not train.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kerastrain import config as configs
from kerastrain.config import Config, SearchConfig
from kerastrain.errors import InputError
from kerastrain.recipe import trial_config, user_function
from kerastrain.recipe.user_function import UserFunction
from kerastrain.system import files
from kerastrain.tuning.settings import Objective

SEARCH_FILE, CONFIG_FILE, FINISHED_FILE = "search.yaml", "config.yaml", "finished.json"

_OF_A_MODEL = ("model.keras", "exports")


@dataclass(frozen=True)
class SearchFiles:
    """A search as its folder describes it.

    Args:
        config: Config that every trial changes.
        search: SearchConfig.
    """

    config: Config
    search: SearchConfig

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What the search makes as high or as low as it can."""
        return trial_config.objectives(self.search)


def write(directory: Path, config: Config, search: SearchConfig, function: UserFunction | None = None) -> None:
    """Creates the folder of a search.

    Args:
        directory: Path that must not exist.
        config: Config, saved with the value of every key.
        search: SearchConfig.
        function: UserFunction that makes the models; None for those of the config.

    Raises:
        WriteError: the disk is full or read-only.
    """
    with files.atomic(directory) as folder:
        folder.mkdir()
        files.write_text(folder / CONFIG_FILE, configs.dump(config))
        files.write_text(folder / SEARCH_FILE, configs.dump(search))
        if function is not None:
            user_function.write(folder, function)


def read(directory: Path) -> SearchFiles:
    """Reads what a search was started with.

    Args:
        directory: Path of the search.

    Returns:
        SearchFiles.

    Raises:
        FileNotFoundError: there is no such folder.
        InputError: it is not the folder of a search, or a file in it is damaged.
    """
    if not directory.is_dir():
        raise FileNotFoundError(f"there is no search in {str(directory)!r}.")
    path = directory / SEARCH_FILE
    if not path.is_file():
        raise InputError(f"{str(directory)!r} is not the folder of a search: it has no {SEARCH_FILE}.")
    search = configs.validate(configs.read_yaml(path), SearchConfig, source=str(path))
    return SearchFiles(configs.load(directory / CONFIG_FILE), search)


def features_folder(directory: Path) -> Path:
    """The folder of the features of frozen backbones, which the trials share while the search runs.

    Args:
        directory: Path of the search.

    Returns:
        Path, which need not exist.
    """
    return directory / "features"


def remove_shared(directory: Path) -> None:
    """Removes what a search needs only until it ends: the checkpoints of trials that could continue, and shared features.

    Args:
        directory: Path of the search.
    """
    for folder in (directory / "trials").glob("*/"):
        remove_checkpoints(folder)
    if features_folder(directory).is_dir():
        files.remove(features_folder(directory))


def remove_checkpoints(folder: Path) -> None:
    """Removes the checkpoints of a trial that is not continued.

    Args:
        folder: Path of the trial.
    """
    if (folder / "checkpoints").is_dir():
        files.remove(folder / "checkpoints")


def keep_models(directory: Path, record: Mapping, count: int) -> None:
    """Removes the models of all trials that have ended, and what was exported from them, but those of the best ones.

    Args:
        directory: Path of the search.
        record: mapping, the content of `trials.json`.
        count: int >= 0, the number of trials whose models stay. With several objectives the Pareto set stays, too.
    """
    sign = 1 if record["objectives"][0]["direction"] == "min" else -1
    completed = [trial for trial in record["trials"] if trial["status"] == "completed" and trial["score"] is not None]
    # The winner comes first: a trial that was trained once can have a higher score than the winner's mean over its seeds.
    completed.sort(key=lambda trial: (trial["point"] != record.get("best"), sign * trial["score"], trial["point"]))
    kept = {trial["point"] for trial in completed[:count]} | set(record.get("pareto") or ())
    running = {trial["point"] for trial in record["trials"] if trial["status"] in ("running", "paused")}
    ended = {trial["point"] for trial in record["trials"]} - running
    for marker in (directory / "trials").glob("*/finished.json"):
        is_kept = int(marker.parent.name.partition("_")[0]) not in ended - kept
        for path in () if is_kept else [marker.parent / name for name in _OF_A_MODEL]:
            if path.exists():
                files.remove(path)
