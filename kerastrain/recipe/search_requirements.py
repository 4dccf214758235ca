"""What a search needs, checked before TensorFlow starts: its space and objectives, extras, workers and folder.

Takes a `Config` and a `SearchConfig`; raises errors. Must not import TensorFlow.
"""

from pathlib import Path

from kerastrain import config as configs
from kerastrain import tracking
from kerastrain.config import Config, SearchConfig
from kerastrain.distribute import cluster
from kerastrain.errors import InputError
from kerastrain.recipe import requirements, search_space, trial_config
from kerastrain.recipe.user_function import UserFunction
from kerastrain.system import folders, optional_imports
from kerastrain.tuning import devices
from kerastrain.tuning.space import Space


def require(
    config: Config,
    search: SearchConfig,
    directory: str | Path,
    *,
    workers: int = 1,
    function: UserFunction | None = None,
    resumes: bool = False,
) -> Space:
    """Checks what can be known about a search before its data are read and TensorFlow starts.

    Args:
        config: Config that every trial changes.
        search: SearchConfig.
        directory: str or Path of the folder of the search.
        workers: int, the number of trials at a time on this machine.
        function: UserFunction that makes the models; None for those of the config.
        resumes: bool, whether the folder exists.

    Returns:
        Space of the search.

    Raises:
        ConfigError: the space has an unknown key, or a value that its key does not accept.
        FileExistsError: `directory` exists, and `resumes` is False.
        InputError: the objective, the algorithm, the workers or the config does not fit a search.
        MissingExtra: a library of the algorithm, of a tracker or of an objective's export is not installed.
    """
    if cluster.from_environment() is not None or config.runtime.strategy == "multi_worker":
        raise InputError(
            "every trial of a search trains in one process. Received: a training of several workers. Set runtime.strategy to "
            "mirrored or none; `kerastrain tune --workers` trains several trials at a time."
        )
    if config.data.fold == "all":
        raise InputError("a trial trains one model. Received: data.fold=all. Remove it, or choose one fold.")
    configs.no_validation.require_validation(config, "a search")
    if search.algorithm == "tpe":
        optional_imports.require("tpe")
    if function is not None and config.is_language:
        raise InputError(
            f"a function makes models of images or texts. Received: --build {function.text}, and data.kind={config.data.kind}."
        )
    space = search_space.check(config, search, build_space=None if function is None else function.space)
    formats = trial_config.export_formats(trial_config.objectives(search))
    export = config.export.model_copy(update={"formats": tuple(formats)})
    if function is None:  # which needs no backbone
        requirements.require(config.model_copy(update={"export": export}))
    tracking.require(config.tracking.to)
    devices.require_cores(workers)
    if not resumes:
        folders.refuse_existing(directory)
    return space
