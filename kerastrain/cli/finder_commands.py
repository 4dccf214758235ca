"""The commands that find settings before training: `kerastrain find …`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from kerastrain.cli.program import Arguments, app, console, plain, read_config, start_tensorflow
from kerastrain.cli.settings import SettingsCommand

find_app = typer.Typer(
    help="Find the learning rate, the batch size and the memory use.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(find_app, name="find")

PhaseName = Annotated[
    str | None,
    typer.Option(
        "--phase", metavar="NAME", help="Training phase, such as head or fine_tune; `kerastrain check` lists them."
    ),
]


@find_app.command("learning-rate", cls=SettingsCommand)
def learning_rate(
    arguments: Arguments = None,
    phase: PhaseName = None,
    plot: Annotated[Path, typer.Option(metavar="FILE.png", help="File for a plot of the losses.")] = Path(
        "learning_rate.png"
    ),
) -> None:
    """Suggest the peak learning rate by a range test.

    Trains for 200 steps with a rising learning rate. The default phase is the first one; the phases before the chosen one
    are trained first.
    """
    config = read_config(arguments)
    start_tensorflow()
    from kerastrain import finders, recipe

    tested, test = recipe.find_learning_rate(config, phase)
    table = Table("phase", "steepest fall", "suggestion", "override")
    if test.suggestion is None:
        table.add_row(tested.name, "", "none: the loss did not fall at any rate", "")
    elif tested.name == "fine_tune":
        fraction = test.suggestion / config.optimizer.learning_rate
        override = f"optimizer.fine_tune_fraction={fraction:.2g}"
        table.add_row(tested.name, f"{test.steepest:.2g}", f"{test.suggestion:.2g}", override)
    else:
        override = f"optimizer.learning_rate={test.suggestion:.2g}"
        table.add_row(tested.name, f"{test.steepest:.2g}", f"{test.suggestion:.2g}", override)
    console.print(table)
    console.print(f"plot written to {plain(finders.plot_rates(test, plot))}")


@find_app.command("batch-size", cls=SettingsCommand)
def batch_size(
    arguments: Arguments = None,
    phase: PhaseName = None,
    plot: Annotated[Path, typer.Option(metavar="FILE.png", help="File for a plot of speed and memory.")] = Path(
        "batch_size.png"
    ),
) -> None:
    """Find the largest and the fastest batch size.

    Trains a few steps with larger and larger batches until one does not fit into memory. The default phase is the last
    one, which trains the most weights.
    """
    config = read_config(arguments)
    start_tensorflow()
    from kerastrain import finders, recipe

    tested, sizes = recipe.find_batch_size(config, phase)
    table = Table("batch size", "ms per step", "examples per second", "peak memory in MB", title=f"phase {tested.name}")
    for trial in sizes.trials:
        row = (trial.step_seconds * 1000, trial.examples_per_second, trial.peak_bytes / 1e6)
        table.add_row(str(trial.global_batch_size), *(f"{number:,.0f}" for number in row))
    console.print(table)
    console.print(f"stopped: {sizes.stopped}")
    console.print(f"largest: fit.global_batch_size={sizes.largest.global_batch_size}")
    console.print(f"fastest: fit.global_batch_size={sizes.fastest.global_batch_size}")
    console.print(f"plot written to {plain(finders.plot_batch_sizes(sizes, plot))}")


@find_app.command("memory", cls=SettingsCommand)
def memory(
    arguments: Arguments = None,
    phase: PhaseName = None,
    layers: Annotated[
        int, typer.Option(metavar="N", min=0, help="Number of layers to list, largest first; 0 for none.")
    ] = 10,
) -> None:
    """Show where the memory of a training step goes.

    Counts the bytes of weights, optimizer, gradients and activations, and compares them with a real step. The default
    phase is the last one, which trains the most weights.
    """
    config = read_config(arguments)
    start_tensorflow()
    from kerastrain import recipe

    tested, counted, measured = recipe.find_memory(config, phase)
    console.print(
        f"phase {tested.name}: batch of {counted.batch_size}, micro-batches {counted.micro_batches}, ", end=""
    )
    console.print(f"blocks {counted.blocks or 'none'}")
    table = Table("in memory during a step", Column("MB", justify="right"))
    for name in ("parameters", "optimizer", "gradients", "activations"):
        table.add_row(name, _megabytes(getattr(counted, f"{name}_bytes")))
    table.add_row("gradients and activations", _megabytes(counted.step_bytes))
    table.add_row("added by a real step (measured)", _megabytes(measured))
    console.print(table)
    if layers:
        largest = sorted(counted.layers, key=lambda layer: layer.activations_bytes, reverse=True)[:layers]
        table = Table(
            "layer", "kind", Column("parameters in MB", justify="right"), Column("activations in MB", justify="right")
        )
        for layer in largest:
            sizes = (layer.parameters_bytes, layer.activations_bytes)
            table.add_row(plain(layer.name), plain(layer.kind), *map(_megabytes, sizes))
        console.print(table)


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.2f}"
