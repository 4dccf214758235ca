"""A search over several machines: one process owns it and serves it to the others, which train its trials.

Takes what `recipe.tuning.run` takes, and the `Role` of this process; all processes share the folder of the search. The chief
writes its files, as a search on one machine does.
"""

from collections.abc import Callable
from pathlib import Path

from kerastrain.config import Config, SearchConfig
from kerastrain.recipe import (
    automatic_backbone,
    search_files,
    search_requirements,
    trial_run,
    tuning,
    user_function,
)
from kerastrain.tuning import chief, cluster, heartbeats, remote_oracle, trial_process
from kerastrain.tuning import workers as trial_workers
from kerastrain.tuning.cluster import Role
from kerastrain.tuning.events import Event


def serve(
    config: Config,
    search: SearchConfig,
    directory: str | Path,
    *,
    resumes: bool = False,
    on_event: Callable[[Event], None] | None = None,
) -> tuning.SearchResult:
    """Owns a search, whose trials the workers of other processes carry out; returns when it is over.

    Args:
        config: Config that every trial changes; the recorded one of a search that is resumed takes precedence.
        search: SearchConfig, likewise.
        directory: str or Path of the folder, which all processes share.
        resumes: bool, whether the folder exists, because its chief was stopped or killed. Workers that have outlived it keep
            their trials.
        on_event: callable that gets each `tuning.Event`; None for none.

    Returns:
        SearchResult.

    Raises:
        FileExistsError: `directory` already exists, and `resumes` is False.
        ConfigError, InputError, MissingExtra, Stopped: as for `recipe.tuning.run`.
    """
    directory = Path(directory)
    if resumes:
        recorded = search_files.read(directory)
        config, search = recorded.config, recorded.search
        if (directory / search_files.FINISHED_FILE).is_file():
            return tuning.resume(directory)
    else:
        config = automatic_backbone.resolved(config)
    space = search_requirements.require(config, search, directory, resumes=resumes)
    settings = tuning.settings_of(config, search)
    if not resumes:
        search_files.write(directory, config, search)

    def carry_out(oracle, views) -> str | None:
        return chief.serve(oracle, directory, minutes=search.minutes, on_event=views.handle)

    return tuning.carry_out(directory, settings, space, carry_out, on_event=on_event, keep_ongoing=True)


def work(
    role: Role,
    directory: str | Path,
    *,
    workers: int = 1,
    on_event: Callable[[Event], None] | None = None,
) -> None:
    """Carries out trials of a search that another process owns, until it is over.

    Args:
        role: Role of this process, which is not the chief.
        directory: str or Path of the folder that the chief makes.
        workers: int >= 1, the number of trials at a time on this machine.
        on_event: callable that gets each Event of this machine's trials; None for none.

    Raises:
        ChiefLost: the chief does not answer; exit code 75.
        InputError: the chief has not made the folder in time, another process has this id, or this machine has too few cores.
        Stopped: a signal arrived inside `signals.graceful`; the trials are resumed when a worker with this id starts again.
    """
    directory = Path(directory)
    trial_process.start_server(tuning.PRELOADED)
    cluster.wait_for_search(role, directory)
    recorded = search_files.read(directory).search
    user_function.require_same(directory, None)  # The folder of a search must not bring code to this machine.
    with heartbeats.beating(directory, role.worker_ids(workers)) as signs:
        trial_workers.run(
            remote_oracle.RemoteOracle(role, directory, signs),
            trial_run.carry_out,
            directory,
            workers=workers,
            worker_prefix=f"{role.name}.",
            preload=tuning.PRELOADED,
            trial_minutes=recorded.trial_minutes,
            on_event=on_event,
        )
