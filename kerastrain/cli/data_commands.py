"""The verbs on data before any training: `kerastrain data …`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from kerastrain.cli.program import Arguments, app, console, plain, read_config, start_tensorflow

data_app = typer.Typer(help="Look at the data before anything is trained.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app, name="data")

_LISTED = 20
_LETTERS = 500  # of a long text, that twelve of them fit on a screen or two


@data_app.command()
def scan(
    arguments: Arguments = None,
    out: Annotated[Path | None, typer.Option(help="CSV file to write with every file that would be left out.")] = None,
) -> None:
    """Read every image file that a config names, and tell which a run would leave out, and why."""
    from kerastrain import data
    from kerastrain.recipe import plan

    config = read_config(arguments)
    listing = plan.listing(config)
    found = data.scan(listing)
    console.print(f"{len(found.kept):,} of {len(listing):,} image files can be used")
    if found.quarantined:
        _print_quarantine(found.quarantined)
    unreadable = sum(one.kind not in data.quarantine.REPEATS for one in found.quarantined)
    if unreadable > config.data.unreadable_fraction * len(listing):
        share = f"{unreadable / len(listing):.2%} are unreadable, and data.unreadable_fraction lets"
        console.print(f"a run would stop: {share} {config.data.unreadable_fraction:.2%} pass")
    if out is not None:
        console.print(f"written to {plain(data.quarantine.write(out, found.quarantined))}")


@data_app.command()
def preview(
    arguments: Arguments = None,
    out: Annotated[Path, typer.Option(help="PNG file to write; texts are printed.")] = Path("preview.png"),
) -> None:
    """Show the first batch of training before and after augmentation, with its labels."""
    config = read_config(arguments)
    start_tensorflow()
    from kerastrain import recipe

    shown = recipe.preview(config)
    if not shown.are_texts:
        console.print(plain(shown.write(out)))
        return
    for label_before, before, label_after, after in shown.lines():
        console.print(f"{plain(label_before)}: {plain(before[:_LETTERS])}")
        console.print(f"  → {plain(label_after)}: {plain(after[:_LETTERS])}")


def _print_quarantine(quarantined) -> None:
    from kerastrain.data.image_files import quarantine

    table = Table("skipped as", "files", "because each …")
    for kind, count in quarantine.counts(quarantined).items():
        table.add_row(kind, f"{count:,}", quarantine.KINDS[kind])
    console.print(table)
    for one in quarantined[:_LISTED]:
        console.print(f"{one.kind}: {plain(one.path)}: {plain(one.reason)}")
    if len(quarantined) > _LISTED:
        console.print(f"and {len(quarantined) - _LISTED:,} more; --out FILE.csv lists them all")
