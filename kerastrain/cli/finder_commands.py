"""The commands that find settings before training: `kerastrain find …`."""

import re
import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from kerastrain import recipe
from kerastrain.cli.program import Arguments, app, console, plain, read_config, start_tensorflow
from kerastrain.cli.settings import SettingsCommand
from kerastrain.errors import InputError

find_app = typer.Typer(
    help="Find the backbone, the learning rate, the batch size and the memory use.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(find_app, name="find")

PhaseName = Annotated[
    str | None,
    typer.Option(
        "--phase", metavar="NAME", help="Training phase, such as head or fine_tune; `kerastrain check` lists them."
    ),
]


class _BackboneCommand(SettingsCommand):
    """A command whose option --backbones takes all words up to the next option, setting or config file."""

    def parse_args(self, ctx, args: list[str]) -> list[str]:
        """Repeats the option before each of its values, as the parser wants it."""
        words, takes = [], False
        for word in args:
            if word.startswith("-") or re.match(r"[a-z_]+(\.[a-z_0-9]+)+=|.*\.ya?ml$", word):
                takes = word == "--backbones"
            elif takes and words[-1] != "--backbones":
                words.append("--backbones")
            words.append(word)
        return super().parse_args(ctx, words)


@find_app.command("backbone", cls=_BackboneCommand)
def backbone(
    arguments: Arguments = None,
    backbones: Annotated[
        list[str] | None,
        typer.Option(metavar="HANDLE...", help="Backbones besides those on this machine, as in `model.backbone`."),
    ] = None,
    most_examples: Annotated[
        int, typer.Option("--examples", metavar="N", min=10, help="Most examples of each part that are used.")
    ] = 2000,
) -> None:
    """Rank the backbones on this machine by a linear probe of their frozen features.

    Ranks those that ship with kerastrain, those in the caches of TF Hub, Hugging Face and Keras, and those of --backbones,
    before any is fine-tuned.
    """
    config = read_config(arguments)
    recipe.language_requirements.refuse(config, "find backbone")
    from kerastrain.recipe import local_backbones

    handles = [*(backbones or []), *local_backbones.found(config.data.kind)]
    if not handles:
        raise InputError(
            "there is no pretrained backbone for texts on this machine. Name some with --backbones, such as "
            "--backbones hf:OWNER/NAME, or a folder."
        )
    start_tensorflow()
    ranking = recipe.find_backbone(config, handles, most_examples=most_examples)
    numbers = (ranking.measure, "95 % interval", "behind the best", "ms per example", "parameters", "image size")
    table = Table(Column("backbone", overflow="fold"), *(Column(name, justify="right") for name in numbers))
    for item in ranking.ranked:
        probe, (low, high) = item.probe, item.behind_best
        behind = "" if item is ranking.ranked[0] else f"{low:.3f} to {high:.3f}"
        size = "" if probe.image_size is None else " x ".join(map(str, probe.image_size))
        cost = (f"{1000 * probe.example_seconds:,.1f}", f"{probe.parameters:,}", size)
        table.add_row(plain(probe.handle), f"{item.value:.3f}", f"{item.low:.3f} to {item.high:.3f}", behind, *cost)
    if ranking.ranked:
        console.print(table)
    for probe in ranking.unusable:
        console.print(f"{plain(probe.handle)} cannot be used: {plain(probe.reason)}")
    train, held_out = ranking.counts
    console.print(
        f"linear probes of {train:,} training examples on {held_out:,} validation examples; always the most frequent answer "
        f"has {ranking.measure} {ranking.baseline:.3f}; fine-tuning may change the order"
    )
    if ranking.recommended is None:
        raise InputError("none of these backbones can be used; the reason of each is above.")
    handle = ranking.recommended.probe.handle
    others = [text for text in arguments or [] if not text.startswith("model.backbone=")]
    why = (
        "the best"
        if ranking.recommended is ranking.ranked[0]
        else "the fastest that these examples cannot tell from the best"
    )
    console.print(f"{plain(handle)} is {why}:")
    print(f"kerastrain train {shlex.join([*others, f'model.backbone={handle}'])}")


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
    from kerastrain import finders

    tested, test = recipe.find_learning_rate(config, phase)
    table = Table("phase", "steepest fall", "suggestion", "override")
    if test.suggestion is None:
        table.add_row(tested.name, "", "none: the loss did not fall at any rate", "")
    elif tested.name == "fine_tune" and not config.is_language:  # which has no other phase
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
    recipe.language_requirements.refuse(config, "find batch-size")
    start_tensorflow()
    from kerastrain import finders

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
    recipe.language_requirements.refuse(config, "find memory")
    start_tensorflow()
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
