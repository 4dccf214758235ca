"""The commands that inspect data before and after training: `kerastrain data …`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from kerastrain import config as configs
from kerastrain import recipe, report
from kerastrain.cli.program import Arguments, RunFolder, app, console, plain, read_config, start_tensorflow
from kerastrain.cli.settings import SettingsCommand

data_app = typer.Typer(
    help="Inspect the data before training, and after it.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(data_app, name="data")

_MAX_LISTED_FILES = 20
_MAX_SHOWN_FINDINGS, _MAX_NAME_LENGTH = 3, 80
_MAX_TEXT_LENGTH = 500  # characters; twelve texts of this length fit on a screen or two


@data_app.command(cls=SettingsCommand)
def scan(
    arguments: Arguments = None,
    out: Annotated[Path | None, typer.Option(help="CSV file to write, with a row for every skipped file.")] = None,
) -> None:
    """List the image files, texts or conversations that a run would skip, and why.

    Prints how the data are understood, then reads and decodes every image file of the config, compares all texts, or makes
    tokens of all conversations.
    """
    from kerastrain import data
    from kerastrain.recipe import plan

    config = read_config(arguments)
    if config.is_language:
        _scan_language(config, out)
        return
    listing = plan.listing(config)
    for line in plan.description(config, listing, plan.parts(config, listing)):
        console.print(plain(line))
    scanned = data.scan(listing)
    for note in scanned.notes:
        console.print(plain(f"note: {note}"))
    noun = "texts" if config.data.kind == "text" else "image files"
    _print_skipped(config, len(scanned.kept), listing.skipped + scanned.quarantined, noun, out)


@data_app.command(cls=SettingsCommand)
def preview(
    arguments: Arguments = None,
    out: Annotated[Path, typer.Option(help="PNG file to write. Texts are printed instead.")] = Path("preview.png"),
) -> None:
    """Show the first training batch before and after augmentation, or tokens and which of them a language model learns."""
    config = read_config(arguments)
    if config.is_language:
        from kerastrain.recipe import language_data

        for line in language_data.preview(config):
            console.print(plain(line))
        return
    start_tensorflow()
    preview = recipe.preview(config)
    if not preview.are_texts:
        console.print(plain(preview.write(out)))
        return
    for label_before, before, label_after, after in preview.lines():
        console.print(f"{plain(label_before)}: {plain(before[:_MAX_TEXT_LENGTH])}")
        console.print(f"  → {plain(label_after)}: {plain(after[:_MAX_TEXT_LENGTH])}")


@data_app.command()
def check(
    run: RunFolder,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the findings of an earlier check.")] = False,
) -> None:
    """Find what is probably wrong with the data of a finished run: labels, copies, pictures and texts.

    Reads the data of the run again. Labels are doubted where a model that was not trained on them contradicts (confident
    learning); copies are found in other sizes, qualities and positions, also across parts; pictures and texts are judged
    against the whole set.

    Writes data_check/proposals.csv in the run, which can be edited. The setting data.exclude=RUN/data_check/proposals.csv
    of the next run leaves out the rows with the action exclude.
    """
    folder = report.run_folder(run)
    recipe.language_requirements.refuse(configs.load(folder / "config.yaml"), "data check")
    start_tensorflow()
    from kerastrain.recipe import data_check_files, data_checking

    data_check_files.require_free(folder, replace=replace)
    found = data_checking.check_data(folder)
    _print_findings(found)
    table = data_check_files.write_data_check(found, replace=replace)
    actions = [finding.action for finding in found.findings]
    console.print(
        plain(f"proposals: {actions.count('exclude'):,} to leave out, {actions.count('look'):,} to look at: {table}")
    )
    if "exclude" in actions:
        console.print(plain(f"to act on them, after a look at the table: kerastrain train … data.exclude={table}"))


def _print_findings(found) -> None:
    from kerastrain.diagnosis.copies import RULE
    from kerastrain.diagnosis.data_findings import KINDS
    from kerastrain.recipe import data_check_files

    console.print(plain(f"labels: doubted by {found.labels_by}; {found.labels.sentence}"))
    if found.features_by is not None:
        console.print(plain(f"features: {found.features_by}"))
    kinds = data_check_files.by_kind(found.findings)
    if not kinds:
        console.print(
            f"nothing found in {len(found.parts):,} examples: no {', '.join(found.checked).replace('_', ' ')}"
        )
        return
    table = Table("found", *found.split.parts, "leave out", "each example …")
    for kind, findings in kinds.items():
        counts = [sum(found.parts[finding.index] == part for finding in findings) for part in found.split.parts]
        excluded = sum(finding.action == "exclude" for finding in findings)
        table.add_row(kind.replace("_", " "), *(f"{count:,}" for count in (*counts, excluded)), KINDS[kind])
    console.print(table)
    for kind, findings in kinds.items():
        for finding in findings[:_MAX_SHOWN_FINDINGS]:
            name = data_check_files.name(found, finding.index)[:_MAX_NAME_LENGTH]
            console.print(plain(f"{kind.replace('_', ' ')}: {found.parts[finding.index]}: {name}: {finding.reason}"))
        if len(findings) > _MAX_SHOWN_FINDINGS:
            console.print(f"  and {len(findings) - _MAX_SHOWN_FINDINGS:,} more")
    if any(finding.copy_of is not None for finding in found.findings):
        console.print(plain(RULE))
    missing = [kind.replace("_", " ") for kind in found.checked if kind not in kinds]
    if missing:
        console.print(f"no {', '.join(missing)}")


def _scan_language(config, out: Path | None) -> None:
    from kerastrain.recipe import language_data

    loaded = language_data.load(config, language_data.source(config), is_scan=True)
    for line in loaded.lines:
        console.print(plain(line))
    noun = "conversations" if config.data.kind == "chat" else "texts"
    usable = sum(len(set(texts.rows)) for texts in loaded.texts.values())
    _print_skipped(config, usable, loaded.skipped, noun, out)


def _print_skipped(config, usable: int, skipped, noun: str, out: Path | None) -> None:
    """Prints how many examples can be used, and the others with their reasons."""
    from kerastrain import data

    count = usable + len(skipped)
    console.print(f"{usable:,} of {count:,} {noun} can be used")
    noun = noun.split()[-1]
    if skipped:
        _print_quarantine(skipped, noun)
    unreadable = sum(file.kind not in data.quarantine.REPEATS for file in skipped)
    if unreadable > config.data.unreadable_fraction * count:
        console.print(
            f"a run would stop: {unreadable / count:.2%} of the {noun} are unreadable, and "
            f"data.unreadable_fraction allows {config.data.unreadable_fraction:.2%}"
        )
    if out is not None:
        console.print(f"written to {plain(data.quarantine.write(skipped, out))}")


def _print_quarantine(quarantined, noun: str) -> None:
    from kerastrain.data.image_files import quarantine

    table = Table("skipped as", noun, f"each {noun[:-1]} …")
    for kind, count in quarantine.counts(quarantined).items():
        table.add_row(kind, f"{count:,}", quarantine.KINDS[kind])
    console.print(table)
    for file in quarantined[:_MAX_LISTED_FILES]:
        console.print(f"{file.kind}: {plain(file.path)}: {plain(file.reason)}")
    if len(quarantined) > _MAX_LISTED_FILES:
        console.print(f"and {len(quarantined) - _MAX_LISTED_FILES:,} more; --out FILE.csv lists all of them")
