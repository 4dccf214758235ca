"""What `data.fold=all` means for a config: the config of each fold, and a sentence for what needs a single model.

Takes a `Config`; returns configs, or raises. Must not import TensorFlow.
"""

import os
import shlex
from pathlib import Path

from kerastrain.config.data import ALL_FOLDS
from kerastrain.config.sections import Config
from kerastrain.errors import InputError

SUMMARY_PART = "out_of_fold"
"""The name of the pooled predictions of a cross-validation, each by the model of the fold that has not seen the example."""


def trains_all(config: Config) -> bool:
    """Whether a config trains every fold.

    Args:
        config: Config.

    Returns:
        bool.
    """
    return config.data.fold == ALL_FOLDS


def of_fold(config: Config, fold: int) -> Config:
    """Returns the config of the run of one fold.

    Args:
        config: Config with `data.folds`.
        fold: int in [0, data.folds).

    Returns:
        Config, the same but for `data.fold`.
    """
    return config.model_copy(update={"data": config.data.model_copy(update={"fold": fold})})


def final_overrides(config: Config) -> list[str]:
    """Returns the overrides that turn the config of a cross-validation into that of the final model.

    It has no fold to choose its best epoch by, so a tenth of the examples remains for that.

    Args:
        config: Config with `data.folds`.

    Returns:
        list of str such as "data.folds=null".
    """
    overrides = ["data.folds=null", "data.fold=0", "data.validation_fraction=0.1"]
    if config.runtime.strategy == "multi_worker":  # which a process has that `kerastrain launch` starts
        overrides.append("runtime.strategy=auto")
    return [*overrides, "export.formats=null"] if config.export.formats == () else overrides


def final_command(config: Config, directory: str | os.PathLike) -> str:
    """Returns the command that trains the final model after a cross-validation.

    Args:
        config: Config with `data.folds`.
        directory: path of the run.

    Returns:
        str, a line for a shell.
    """
    return shlex.join(["kerastrain", "train", str(Path(directory) / "config.yaml"), *final_overrides(config)])


def require_one_model(config: Config, directory: str | os.PathLike) -> None:
    """Checks that a run has a single model.

    Args:
        config: Config of the run.
        directory: path of the run, for the message.

    Raises:
        InputError: the run trains every fold.
    """
    if trains_all(config):
        raise InputError(
            f"give a run with one model. Received: {str(directory)!r}, a cross-validation of {config.data.folds} folds, each "
            f"of them a run with its own model. Give one of these, such as {str(Path(directory) / 'fold_0')!r}, or train the "
            f"final model: {final_command(config, directory)}"
        )


def refuse_all(config: Config) -> None:
    """Refuses a config that trains every fold, for all that trains once.

    Args:
        config: Config.

    Raises:
        InputError: the config trains every fold.
    """
    if trains_all(config):
        raise InputError(
            "`data.fold` must be the number of a fold here. Received: all, which is for `kerastrain train`, `kerastrain check` "
            "and kt.recipe.run_folds. Set data.fold=0."
        )
