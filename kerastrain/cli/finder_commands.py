"""The verbs that try what to train with: `kerastrain find …`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from kerastrain.cli.program import Arguments, app, console, plain, read_config, start_tensorflow

find_app = typer.Typer(
    help="Try learning rates, batch sizes and memory before training.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(find_app, name="find")

PhaseName = Annotated[
    str | None, typer.Option("--phase", metavar="NAME", help="A phase as `kerastrain check` names it.")
]


@find_app.command("learning-rate")
def learning_rate(
    arguments: Arguments = None,
    phase: PhaseName = None,
    plot: Annotated[Path, typer.Option(metavar="FILE.png", help="Where to draw the losses.")] = Path(
        "learning_rate.png"
    ),
) -> None:
    """Train for 200 steps with a rising learning rate, and suggest the peak of the schedule; the first phase by default."""
    config = read_config(arguments)
    start_tensorflow()
    from kerastrain import finders, recipe

    tried, test = recipe.find_learning_rate(config, phase)
    table = Table("phase", "steepest fall", "suggestion", "as an override")
    if test.suggestion is None:
        table.add_row(tried.name, "", "none: at no rate the loss fell", "")
    elif tried.name == "fine_tune":
        fraction = test.suggestion / config.optimizer.learning_rate
        override = f"optimizer.fine_tune_fraction={fraction:.2g}"
        table.add_row(tried.name, f"{test.steepest:.2g}", f"{test.suggestion:.2g}", override)
    else:
        override = f"optimizer.learning_rate={test.suggestion:.2g}"
        table.add_row(tried.name, f"{test.steepest:.2g}", f"{test.suggestion:.2g}", override)
    console.print(table)
    console.print(f"drawn: {plain(finders.plot_rates(test, plot))}")


@find_app.command("batch-size")
def batch_size(
    arguments: Arguments = None,
    phase: PhaseName = None,
    plot: Annotated[Path, typer.Option(metavar="FILE.png", help="Where to draw speed and memory.")] = Path(
        "batch_size.png"
    ),
) -> None:
    """Train some steps with ever larger batches until they do not fit, and tell the fastest; the last phase by default."""
    config = read_config(arguments)
    start_tensorflow()
    from kerastrain import finders, recipe

    tried, found = recipe.find_batch_size(config, phase)
    table = Table("batch size", "ms per step", "examples per second", "peak memory in MB", title=f"phase {tried.name}")
    for trial in found.trials:
        row = (trial.step_seconds * 1000, trial.examples_per_second, trial.peak_bytes / 1e6)
        table.add_row(str(trial.global_batch_size), *(f"{number:,.0f}" for number in row))
    console.print(table)
    console.print(f"the end: {found.stopped}")
    console.print(f"largest: fit.global_batch_size={found.largest.global_batch_size}")
    console.print(f"fastest: fit.global_batch_size={found.fastest.global_batch_size}")
    console.print(f"drawn: {plain(finders.plot_batch_sizes(found, plot))}")


@find_app.command("memory")
def memory(
    arguments: Arguments = None,
    phase: PhaseName = None,
    layers: Annotated[int, typer.Option(metavar="N", min=0, help="How many layers to list, the largest first.")] = 10,
) -> None:
    """Tell where the memory of a training step goes, and measure one; the last phase by default."""
    config = read_config(arguments)
    start_tensorflow()
    from kerastrain import recipe

    tried, account, measured = recipe.find_memory(config, phase)
    console.print(f"phase {tried.name}: batch of {account.batch_size}, micro-batches {account.micro_batches}, ", end="")
    console.print(f"blocks {account.blocks or 'none'}")
    table = Table("what a step holds", Column("MB", justify="right"))
    for name in ("parameters", "optimizer", "gradients", "activations"):
        table.add_row(name, _megabytes(getattr(account, f"{name}_bytes")))
    table.add_row("gradients and activations", _megabytes(account.step_bytes))
    table.add_row("added by a real step (measured)", _megabytes(measured))
    console.print(table)
    if layers:
        largest = sorted(account.layers, key=lambda layer: layer.activations_bytes, reverse=True)[:layers]
        table = Table(
            "layer", "kind", Column("parameters in MB", justify="right"), Column("activations in MB", justify="right")
        )
        for layer in largest:
            sizes = (layer.parameters_bytes, layer.activations_bytes)
            table.add_row(plain(layer.name), plain(layer.kind), *map(_megabytes, sizes))
        console.print(table)


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.2f}"
