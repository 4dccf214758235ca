"""The steps of `kerastrain tune`: reads what is asked for, checks it, searches, prints the end, and retrains the winner.

Takes the arguments of the command. Must not compute anything.
"""

import shlex
import sys
from pathlib import Path
from typing import NamedTuple

import typer

from kerastrain import config as configs
from kerastrain.cli import search_arguments, search_machines, search_plan, search_results
from kerastrain.cli.program import console, dated, plain, print_messages_as_comments, start_tensorflow
from kerastrain.cli.search_table import SearchTable
from kerastrain.cli.tables import print_exports, print_measures
from kerastrain.errors import InputError
from kerastrain.recipe import search_files, search_requirements, search_room, search_winner, user_function
from kerastrain.system import signals
from kerastrain.system.terminal import printable
from kerastrain.tuning import next_trial, records
from kerastrain.tuning.space import Space


class Request(NamedTuple):
    """What the command was asked to do.

    Args:
        directory: Path of the search.
        search: SearchConfig.
        config: Config that every trial changes.
        resumes: bool, whether the search continues in an existing folder.
        workers: int >= 1, the number of trials at a time.
        retrain: bool, whether the winner is trained again in the end.
        function: UserFunction that makes the models; None for those of the config.
        space: Space of the search; None as long as it is not checked.
    """

    directory: Path
    search: configs.SearchConfig
    config: configs.Config
    resumes: bool
    workers: int
    retrain: bool
    function: user_function.UserFunction | None
    space: Space | None = None

    @property
    def resume_command(self) -> str:
        """The command that continues the search."""
        words = ["kerastrain", "tune", "--resume", str(self.directory)]
        words += ["--workers", str(self.workers)] if self.workers > 1 else []
        words += ["--build", self.function.text] if self.function is not None else []
        return shlex.join([*words, *(["--retrain"] if self.retrain else [])])


def tune(
    arguments: list[str],
    out: Path | None,
    resume: Path | None,
    build: str | None,
    *,
    workers: int,
    retrain: bool,
    dry_run: bool,
) -> None:
    """Carries out the command; the arguments are those of `tune_command.tune`."""
    if dry_run:
        print_messages_as_comments()
    role = None if dry_run else search_machines.find_role(out or resume, workers)
    if role is not None and build is not None:
        raise InputError(f"a search with --build runs on one machine. Received: --build {build}, and {role.name}.")
    if role is not None and not role.is_chief:
        search_machines.work(role, out or resume, arguments, workers)
        return
    request = _requested(arguments, out, resume, build, workers=workers, retrain=retrain)
    directory = request.directory
    is_finished = request.resumes and (directory / search_files.FINISHED_FILE).is_file()
    if retrain:
        from kerastrain.recipe import retrained_run

        search_winner.check_retrain(request.config, request.search, build=build)
        retrained_run.refuse_second(request.directory)
    if is_finished:
        console.print(plain(f"the search in '{directory}' is finished"))
    else:
        request = _checked(request, prefix="# " if dry_run else "")
    if dry_run:
        print(search_plan.to_yaml(request.search), end="")
        return
    if not is_finished:
        start_tensorflow(initializes_devices=False)  # They belong to the processes of the trials.
        _search(request, is_served=role is not None)
    _print_end(request)
    if retrain:
        _retrain(request)


def _requested(arguments: list[str], out: Path | None, resume: Path | None, build: str | None, **options) -> Request:
    """Reads the settings of a new search, or those of the one to resume."""
    if out and resume:
        raise InputError(
            f"--out creates a folder and --resume continues in one. Received: {out} and {resume}. Give one of them."
        )
    directory = resume or out or dated("searches")
    if resume is None or (arguments and not resume.exists()):
        given = search_arguments.read(arguments, has_function=build is not None)
        function = None if build is None else user_function.discover(build)
        return Request(directory, given.search, given.config, resumes=False, function=function, **options)
    own, function = search_files.read(directory), user_function.require_same(directory, build)
    if arguments:
        search_arguments.require_same(own, search_arguments.read(arguments, has_function=build is not None))
    return Request(directory, own.search, own.config, resumes=True, function=function, **options)


def _checked(request: Request, *, prefix: str) -> Request:
    """Checks all that can be known before TensorFlow starts, and prints what the search will do."""
    search, directory, workers = request.search, request.directory, request.workers
    function = request.function
    options = {"workers": workers, "function": function, "resumes": request.resumes}
    space = search_requirements.require(request.config, search, directory, **options)
    data = search_plan.data_plan(request.config, has_function=function is not None)
    room = ()
    if function is None:
        sizes = {"workers": workers, "examples": data.examples}
        room = (search_room.require(directory, data.config, search, **sizes).sentence,)
    for line in (
        *data.lines,
        *search_plan.lines(search, data.epochs, function),
        *search_plan.place(directory, workers, *room),
    ):
        console.print(prefix + plain(line))
    return request._replace(config=data.config, space=space)


def _search(request: Request, *, is_served: bool) -> None:
    """Carries out the search, or has it carried out by other machines if it `is_served`; shows its trials meanwhile."""
    from kerastrain.recipe import tuning

    directory = request.directory
    earlier = records.read(directory)["trials"] if request.resumes and (directory / records.FILE).is_file() else ()
    settings = tuning.settings_of(request.config, request.search, request.function)
    planned = next_trial.planned_points(settings, request.space)
    try:
        with signals.graceful(), SearchTable(search_plan.progress(request.search, planned, earlier), console) as table:
            options = {"workers": request.workers, "build": request.function, "on_event": table.show}
            if is_served:
                from kerastrain.recipe import search_cluster

                of_search = (request.config, request.search, directory)
                search_cluster.serve(*of_search, resumes=request.resumes, on_event=table.show)
            elif request.resumes:
                tuning.resume(directory, **options)
            else:
                tuning.run(request.config, request.search, directory, **options)
    except signals.Stopped as stopped:
        console.print(plain(stopped))
        if (directory / records.FILE).is_file():
            search_results.print_trials(records.read(directory))
            console.print(f"resume with: {plain(request.resume_command)}")
        raise


def _retrain(request: Request) -> None:
    """Trains the winner on training and validation part, and prints the measures of the test part."""
    start_tensorflow(request.config)
    from kerastrain.recipe import retraining

    try:
        with signals.graceful():
            result = retraining.retrain(request.directory)
    except signals.Stopped as stopped:
        console.print(plain(stopped))
        console.print(f"resume with: {plain(request.resume_command)}")
        raise
    print_measures(result.measures)
    print_exports(result.exports, result.directory)
    console.print(f"\nrun         {plain(result.directory)}")
    console.print(f"report      {plain(result.directory / 'report.html')}")


def _print_end(request: Request) -> None:
    """Prints the trials, the winner and the files; exits with code 1 if no trial completed."""
    directory = request.directory
    view = records.read(directory)
    if view["reason"]:
        console.print(plain(f"the search ended early: {view['reason']}"))
    if view["state"] == "stopped":
        console.print(f"resume with: {plain(request.resume_command)}")
    search_results.print_trials(view)
    reasons = [trial["reason"] for trial in view["trials"] if trial["status"] == "failed"]
    if not any(trial["status"] == "completed" for trial in view["trials"]):
        first = f" The first one failed with: {reasons[0]}" if reasons else ""
        print(f"kerastrain: no trial of the search completed.{printable(first)}", file=sys.stderr)
        raise typer.Exit(1)
    winner = search_winner.read_winner(directory)
    if winner is None:
        search_results.print_pareto(view, directory)
    elif user_function.read(directory) is not None:
        search_results.print_model(winner.winner, directory)
    else:
        search_results.print_winner(winner.winner, search_winner.command(winner))
    search_results.print_files(directory)
