"""The commands around training: train, check and schema."""

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from kerastrain import config as configs
from kerastrain import recipe, tracking
from kerastrain.cli.fold_tables import print_folds, print_plan, print_single
from kerastrain.cli.operating_points import print_operating_point
from kerastrain.cli.program import Arguments, FromRun, app, console, dated, plain, read_config, start_tensorflow
from kerastrain.cli.settings import SettingsCommand
from kerastrain.cli.tables import print_exports, print_measures, print_times, print_verdict
from kerastrain.distribute import cluster
from kerastrain.errors import InputError
from kerastrain.system import signals, stopwatch


@app.command(cls=SettingsCommand)
def train(
    arguments: Arguments = None,
    run: Annotated[Path | None, typer.Option(help="Folder to create. Default: runs/DATE_TIME.")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="Folder of the run to resume. With a config, it is created if it does not exist."
        ),
    ] = None,
    from_run: FromRun = None,
) -> None:
    """Train, evaluate and export a model.

    Without a config, a demo on the bundled digits is trained. With data.folds=5 data.fold=all, a model is trained for each
    fold of a cross-validation, in the folders fold_0, fold_1, … of the run.

    On SIGTERM, SIGUSR1 or Ctrl-C, the current step ends, a checkpoint is saved, and the exit code is 75. Training resumes
    from the newest checkpoint with --resume, also after a kill. A second Ctrl-C exits at once.
    """
    if run and resume:
        raise InputError(
            f"--run creates a folder and --resume continues in one. Received: {run} and {resume}. Give one of them."
        )
    directory = resume or run or dated("runs")
    resumes = resume is not None and (resume.exists() or not (arguments or from_run))
    own_config = directory / "config.yaml"
    default_path = own_config if resumes and own_config.is_file() else None
    config = read_config(arguments, default_path=default_path, from_run=from_run, takes_all_folds=True)
    if cluster.from_environment() is None:  # or else another worker may have made the folder
        recipe.requirements.require_folder(directory, resumes=resumes)
    if not resumes:  # A resumed run has its own backbone.
        from kerastrain.recipe import automatic_backbone

        config = automatic_backbone.resolved(config)
    if config.data.folds is not None and not configs.folds.trains_all(config):
        print_single(config.data.folds, config.data.fold)
    recipe.requirements.require(config)
    if config.runtime.profile:
        stopwatch.count_start()
    start_tensorflow(config)
    from kerastrain.distribute import collectives

    try:
        with signals.graceful():
            if configs.folds.trains_all(config):
                result = recipe.resume_folds(directory, config) if resumes else recipe.run_folds(config, directory)
            else:
                result = recipe.resume(directory, config) if resumes else recipe.run(config, directory)
    except signals.Stopped as stopped:
        console.print(plain(stopped))
        if (directory / "config.yaml").is_file():
            console.print(f"resume with: kerastrain train --resume {plain(shlex.quote(str(directory)))}")
        raise
    except collectives.WorkerLost as lost:
        console.print(plain(lost))
        raise
    if configs.folds.trains_all(config):
        if result.summary:
            print_folds(result.summary, result.measures, directory)
        return
    if not result.measures:
        return  # another worker is the chief
    from kerastrain.recipe import diagnosing, profiling

    print_verdict(diagnosing.read(result.directory))
    print_measures(result.measures)
    if (record := recipe.operating_points.read(result.directory)) is not None:
        print_operating_point(record)
    print_exports(result.exports, result.directory)
    if config.runtime.profile and (times := profiling.read(result.directory)) is not None:
        console.print()
        print_times(times)
    console.print(f"\nrun     {plain(result.directory)}  ({result.seconds:.0f} s)")
    console.print(f"report  {plain(result.directory / 'report.html')}")
    for title, link in tracking.links(result.directory).items():
        console.print(f"{title}: {plain(link)}")


@app.command(cls=SettingsCommand)
def check(
    arguments: Arguments = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="File for a plot of the learning rate over all phases.")
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Folder that `train` will create. Default: runs/DATE_TIME.")] = None,
    from_run: FromRun = None,
) -> None:
    """Validate a config and print its plan.

    Prints the value of every key, how the data are understood (layout, parts, classes with counts and examples, what is
    skipped), and the training phases. TensorFlow is not started.
    """
    from kerastrain import data
    from kerastrain.recipe import automatic_backbone, fold_plan, language_data, language_memory, plan, starting_run

    config = read_config(arguments, from_run=from_run, takes_all_folds=True)
    starting_run.check(config)
    directory = run or dated("runs")
    recipe.requirements.require_folder(directory, resumes=False)
    if config.is_language:
        recipe.requirements.require(config)
        origin = language_data.source(config)
        config = language_data.with_rate(config, origin.network)
        loaded = language_data.load(config, origin)
        console.print(configs.dump(config).rstrip(), markup=False)
        console.print()
        length = loaded.arrays["train"][0].shape[1]
        for line in (*loaded.lines, *language_memory.lines(config, origin.network, length)):
            console.print(plain(line))
        _print_phases(config, len(loaded.arrays["train"][0]), plot)
        return
    listing = plan.listing(config)
    config, sentence = automatic_backbone.choose(config, listing)
    recipe.requirements.require(config)
    recipe.run_room.require(directory, config)
    sizes = fold_plan.sizes(config, listing) if configs.folds.trains_all(config) else None
    console.print(configs.dump(config).rstrip(), markup=False)
    console.print()
    if sizes is not None:
        config = configs.folds.of_fold(config, 0)
    examples = plan.parts(config, listing)
    for line in filter(None, [sentence, *plan.description(config, listing, examples)]):
        console.print(plain(line))
    if warning := data.small_data_warning(examples, is_fold=config.data.folds is not None):
        console.print(plain(warning))
    if sizes is not None:
        print_plan(sizes)
    elif config.data.folds is not None:
        print_single(config.data.folds, config.data.fold)
    _print_phases(config, len(examples["train"]), plot)


def _print_phases(config, example_count: int, plot: Path | None) -> None:
    from kerastrain import schedules
    from kerastrain.recipe import plan

    table = Table("phase", "epochs", "steps", "warm-up steps", "peak learning rate")
    table.add_column("schedule", overflow="fold")
    phases = plan.phases(config, example_count)
    for phase in phases:
        steps = f"{phase.epochs} x {phase.steps_per_epoch} = {phase.steps}"
        schedule = ", ".join([phase.schedule, *(f"{name} {value}" for name, value in phase.arguments.items())])
        rate = f"{phase.learning_rate:.3g}"
        epochs = str(phase.epochs) if phase.stop_epoch is None else f"{phase.stop_epoch} of {phase.epochs}"
        table.add_row(phase.name, epochs, steps, str(phase.warmup_steps), rate, schedule)
    console.print(table)
    if plot is not None:
        rates = {phase.name: phase.learning_rates for phase in phases}
        console.print(
            f"plot written to {plain(schedules.plot(rates, plot, steps_per_epoch=phases[0].steps_per_epoch))}"
        )


@app.command()
def schema() -> None:
    """Print the JSON schema of config files for editors."""
    print(json.dumps(configs.schema(), indent=2))
