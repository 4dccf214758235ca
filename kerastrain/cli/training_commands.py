"""The verbs around training: train, tune, and what can be asked before."""

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from kerastrain import config as configs
from kerastrain.cli.program import Arguments, app, console, dated, plain, read_config, start_tensorflow
from kerastrain.cli.tables import print_exports, print_measures
from kerastrain.errors import InputError
from kerastrain.system import signals


@app.command()
def train(
    arguments: Arguments = None,
    run: Annotated[Path | None, typer.Option(help="Folder to make; runs/DATE_TIME if left out.")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="Go on with the run in this folder; with a config and no such folder, make it."
        ),
    ] = None,
) -> None:
    """Train, evaluate and export what a config describes; without one, the embedded demo.

    SIGTERM, SIGUSR1 and Ctrl-C finish the step, save, and exit with code 75; --resume goes on from there, as it does
    after a kill. A second Ctrl-C leaves at once.
    """
    if run and resume:
        raise InputError(f"--run makes a folder and --resume goes on in one. Received: {run} and {resume}. Give one.")
    directory = resume or run or dated("runs")
    goes_on = resume is not None and (resume.exists() or not arguments)
    own = directory / "config.yaml"
    config = read_config(arguments, otherwise=own if goes_on and own.is_file() else None)
    start_tensorflow(config)
    from kerastrain import recipe
    from kerastrain.distribute import collectives

    try:
        with signals.graceful():
            finished = recipe.resume(directory, config) if goes_on else recipe.run(config, directory)
    except signals.Stopped as stopped:
        console.print(plain(stopped))
        if (directory / "config.yaml").is_file():
            console.print(f"go on by: kerastrain train --resume {plain(shlex.quote(str(directory)))}")
        raise
    except collectives.WorkerLost as lost:
        console.print(plain(lost))
        raise
    if not finished.measures:
        return  # another worker is the chief
    print_measures(finished.measures)
    print_exports(finished.exports, finished.directory)
    console.print(f"\nrun     {plain(finished.directory)}  ({finished.seconds:.0f} s)")
    console.print(f"report  {plain(finished.directory / 'report.html')}")


@app.command()
def check(
    arguments: Arguments = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Where to draw the learning rate over all phases.")
    ] = None,
) -> None:
    """Validate a config and print what it would run, without starting TensorFlow."""
    from kerastrain import data, schedules
    from kerastrain.recipe import plan

    config = read_config(arguments)
    examples = plan.parts(config)
    console.print(configs.dump(config).rstrip(), markup=False)
    console.print("\nexamples: " + ", ".join(f"{len(part)} {name}" for name, part in examples.items()))
    if warning := data.small_data_warning(examples):
        console.print(plain(warning))
    table = Table("phase", "epochs", "steps", "warm-up steps", "peak learning rate")
    table.add_column("schedule", overflow="fold")
    phases = plan.phases(config, len(examples["train"]))
    for phase in phases:
        steps = f"{phase.epochs} x {phase.steps_per_epoch} = {phase.steps}"
        schedule = ", ".join([phase.schedule, *(f"{name} {value}" for name, value in phase.arguments.items())])
        rate = f"{phase.learning_rate:.3g}"
        table.add_row(phase.name, str(phase.epochs), steps, str(phase.warmup_steps), rate, schedule)
    console.print(table)
    if plot is not None:
        rates = {phase.name: phase.learning_rates for phase in phases}
        console.print(f"drawn: {plain(schedules.plot(rates, plot, steps_per_epoch=phases[0].steps_per_epoch))}")


@app.command()
def schema() -> None:
    """Print the JSON schema of a config file, for editors."""
    print(json.dumps(configs.schema(), indent=2))


@app.command()
def tune(
    search: Annotated[Path, typer.Argument(metavar="SEARCH.yaml", help="Algorithm, trials and space.")],
    arguments: Arguments = None,
    out: Annotated[Path | None, typer.Option(help="Folder to make; searches/DATE_TIME if left out.")] = None,
) -> None:
    """Search config keys for the best validation score, and write the winner as a config file."""
    settings = configs.validate(configs.read_yaml(search), configs.SearchConfig, source=str(search))
    config = read_config(arguments)
    start_tensorflow(config)
    from kerastrain.recipe import tuning as searches

    directory = out or dated("searches")
    trials = searches.run(config, settings, directory)
    table = Table(settings.objective, *(plain(key) for key in settings.space))
    for trial in trials:
        score = plain(trial.fault or "failed") if trial.score is None else f"{trial.score:.4f}"
        table.add_row(
            score,
            *(plain(f"{value:.4g}" if isinstance(value, float) else str(value)) for value in trial.values.values()),
        )
    console.print(table)
    console.print(f"winner: {plain(directory / 'best.yaml')}")
