"""The winner of a search as a config: `best.yaml`, a command line, and whether it can be trained again on more data.

Takes the folder of a search; writes `best.yaml` in it. Must not choose the winner (`tuning.winner`), must not train, and must not
import TensorFlow.
"""

import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path

from kerastrain.config import Config, SearchConfig, no_validation
from kerastrain.config.differences import differences, sections_text
from kerastrain.diagnosis.verdict import setting
from kerastrain.errors import InputError
from kerastrain.recipe import search_files, trial_config
from kerastrain.system import files
from kerastrain.tuning import records, winner
from kerastrain.tuning.assignments import Assignment
from kerastrain.tuning.winner import Winner

BEST_FILE = "best.yaml"
"""The file with the config of the winner."""

HYPERPARAMETERS_FILE = "hyperparameters.json"
"""The file with the values of a user's own hyperparameters, which are no keys of a config."""

_OWN = "hp."  # the prefix of hyperparameters of a user's build(hp)
_TITLES = ("searched", "from the recipe")


@dataclasses.dataclass(frozen=True)
class WinnersConfig:
    """The winner of a search and its config.

    Args:
        winner: Winner.
        config: Config that trains it.
        values: mapping from the searched keys to their values, as in `trials.json`; keys that were not set are missing.
        folders: tuple of Path, the folders of its trainings, one for each seed that they are compared on.
    """

    winner: Winner
    config: Config
    values: Mapping[str, object]
    folders: tuple[Path, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The searched keys of the config."""
        return tuple(key for key in self.values if not key.startswith(_OWN))


def read_winner(directory: str | Path) -> WinnersConfig | None:
    """Reads the winner of a search.

    Args:
        directory: str or Path of the folder of the search.

    Returns:
        WinnersConfig; None for several objectives, or if no trial was trained to its end.

    Raises:
        FileNotFoundError: there is no search in the folder.
        InputError: the folder has no trials, or is damaged.
    """
    directory = Path(directory)
    recorded, record = search_files.read(directory), records.read(directory)
    best = winner.choose(record)
    if best is None:
        return None
    trial = next(trial for trial in record["trials"] if trial["point"] == best.point)
    values = dict(trial["values"])
    known = {key: value for key, value in values.items() if not key.startswith(_OWN)}
    config = _as_recipe(recorded.config, recorded.objectives, Assignment("", best.point, 0, known, None))
    own = [Assignment("", best.point, seed, known, None) for seed in best.compared_seeds]
    return WinnersConfig(best, config, values, tuple(directory / assignment.folder for assignment in own))


def _as_recipe(base: Config, objectives, assignment: Assignment) -> Config:
    """The config of a trial with what it leaves to the recipe: what is measured and exported, and where images are cached."""
    config = trial_config.of_trial(base, objectives, assignment)
    is_seed_searched = "runtime.seed" in assignment.values
    changes = {
        "data.split_seed": config.data.split_seed if is_seed_searched else base.data.split_seed,
        "data.cache": base.data.cache,
        "evaluation.sets": list(base.evaluation.sets),
        "export.formats": list(base.export.formats or ()),
    }
    return trial_config.with_values(
        config, {key: value for key, value in changes.items() if key not in assignment.values}
    )


def write_best(directory: str | Path) -> Path | None:
    """Writes the config of the winner so far as `best.yaml`: the searched keys first, then what the recipe sets.

    Args:
        directory: str or Path of the folder of a search, with `trials.json`.

    Returns:
        Path of the file; None if there is no winner, and nothing is written.

    Raises:
        FileNotFoundError: there is no search in the folder.
        InputError: the folder has no trials, or is damaged.
        WriteError: the disk is full or read-only.
    """
    directory = Path(directory)
    best = read_winner(directory)
    if best is None:
        return None
    own = {key.removeprefix(_OWN): value for key, value in best.values.items() if key.startswith(_OWN)}
    if own:
        files.write_json(directory / HYPERPARAMETERS_FILE, own)
    files.write_text(directory / BEST_FILE, text(best, directory))
    return directory / BEST_FILE


def text(best: WinnersConfig, directory: Path) -> str:
    """The config of a winner as a file.

    Args:
        best: WinnersConfig.
        directory: Path of the search, for the comments.

    Returns:
        str, YAML; the same config is loaded from it.
    """
    values = differences(best.config, keep=best.keys)
    lines = [
        best.winner.sentence,
        f"trains it: {shlex.join(['kerastrain', 'train', str(directory / BEST_FILE)])}",
        f"the same without this file: {_command(values)}",
    ]
    if own := [key for key in best.values if key.startswith(_OWN)]:
        lines[1:] = [f"{HYPERPARAMETERS_FILE} has the values that the search's own function gets ({', '.join(own)})"]
    comments = "".join(f"# {line}\n" for line in lines)
    return comments + sections_text(values, first=best.keys, titles=_TITLES)


def command(best: WinnersConfig) -> str:
    """The command that trains a winner, without a file.

    Args:
        best: WinnersConfig.

    Returns:
        str, a line for a shell.
    """
    return _command(differences(best.config, keep=best.keys))


def _command(values: Mapping[str, object]) -> str:
    return shlex.join(["kerastrain", "train", *(setting(key, value) for key, value in values.items())])


def check_retrain(config: Config, search: SearchConfig, *, build: str | None = None) -> None:
    """Checks that the winner of a search can be trained on train and validation, before the search starts.

    Args:
        config: Config that every trial changes.
        search: SearchConfig.
        build: str, the function that makes the models of the search; None for those of the config.

    Raises:
        InputError: it cannot be.
    """
    reason = None
    if len(search.objectives) > 1:
        measures = ", ".join(objective.measure for objective in search.objectives)
        reason = f"a single best trial. Received: several objectives ({measures}). Train the one that you choose"
    elif build is not None:
        reason = f"a model of the config. Received: --build {build}. Build it with the values in {HYPERPARAMETERS_FILE}"
    elif config.is_language:
        reason = f"a classifier or regression. Received: data.kind={config.data.kind}. Train best.yaml"
    elif config.data.folds is not None:
        reason = f"a validation part that is no fold. Received: data.folds={config.data.folds}. Train best.yaml"
    if reason is not None:
        raise InputError(f"--retrain needs {reason}, without --retrain.")
    for key in no_validation.CHOSEN_ON_VALIDATION:
        section, name = key.split(".")
        value = getattr(getattr(config, section), name)
        is_set = value or key in search.space
        if is_set and key not in no_validation.REPLACED_BY_STOP_EPOCH:
            raise InputError(
                f"--retrain trains on the validation part, too, and {no_validation.CHOSEN_ON_VALIDATION[key]}. Received: "
                f"{setting(key, value) if value else f'a space with {key}'}. Remove it, or train best.yaml, without --retrain."
            )
