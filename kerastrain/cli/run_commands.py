"""The commands for a finished run: evaluate, predict, explain, export, report and trust."""

import dataclasses
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from kerastrain import config as configs
from kerastrain.cli.explanations import print_explanation
from kerastrain.cli.predictions import print_json, print_predictions, write_predictions
from kerastrain.cli.program import RunFolder, app, start_tensorflow
from kerastrain.cli.settings import SettingsCommand
from kerastrain.cli.tables import print_exports, print_measures
from kerastrain.errors import InputError, counted
from kerastrain.recipe import language_requirements, requirements
from kerastrain.system.terminal import printable

_SECONDS_BETWEEN_COUNTS = 10.0

NewInputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT... [data.KEY=VALUE]...",
        help="Image files, folders and tables; for a text model texts, text files and tables. - reads the lines of standard "
        "input. Keys such as data.columns.input=title say how tables are read.",
    ),
]


@app.command()
def evaluate(
    run: RunFolder,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH]... [data.KEY=VALUE]...",
            help="Other data to evaluate, under the name of the file or folder; and how data are read, such as "
            "data.columns.targets=class.",
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PATH",
            help="Other data to evaluate: a path as in `data.path`, and a name for it. Can be repeated.",
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the measures of other data of that name.")
    ] = False,
) -> None:
    """Evaluate a run on its own data or on other data.

    Without a path, the parts in `evaluation.sets` are evaluated, by default validation and test.

    Files that cannot be read are named and skipped, and the exit code is 1.
    """
    from kerastrain.recipe import inputs

    own = _config(run)
    paths, overrides = inputs.divide(arguments or [])
    config = inputs.override(own, overrides)
    pairs = [_named_place(text) for text in data or []] + [(_name(path), path) for path in paths]
    start_tensorflow()
    from kerastrain import run_directory
    from kerastrain.recipe import evaluating

    loaded, faults = run_directory.load(run), _Faults()
    places = evaluating.check_names(loaded, pairs, replace=replace)
    predictions = {}
    measures = evaluating.evaluate(
        loaded, places, config=config, on_fault=faults, on_predictions=predictions.__setitem__
    )
    print_measures(measures)
    # Only now: the measures are printed even if the folder is read-only.
    evaluating.record(loaded, measures, predictions)
    faults.exit(len(measures))


@app.command()
def predict(
    run: RunFolder,
    arguments: NewInputs = None,
    texts: Annotated[
        list[str] | None, typer.Option("--text", help="Text that is never read as a path. Can be repeated.")
    ] = None,
    seconds: Annotated[
        list[str] | None,
        typer.Option("--pair", help="Second text for each --text, for a run of pairs of texts."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Number of labels to print for each input.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Table to write, with the prediction and every score of each input."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an existing table.")] = False,
) -> None:
    """Predict labels with probabilities, or numbers.

    The inputs are image files, folders of images and tables of them, or for a text model texts, text files with a text in
    each line, and tables. A regression model predicts numbers.

    An input that cannot be read is named and skipped, and the exit code is 1.
    """
    if out is not None and out.suffix.lower() != ".csv":
        raise InputError(f"--out must name a .csv file. Received: {str(out)!r}.")
    if out is not None and out.exists() and not replace:
        raise FileExistsError(f"'{out}' exists already and is not overwritten. Choose another name, or use --replace.")
    faults, own = _Faults(), _config(run)
    language_requirements.refuse(own, "predict")
    config, found = _found(own, arguments, faults, texts=texts or [], seconds=seconds or [])
    start_tensorflow(prints="results" if as_json else "text")
    from kerastrain import models, run_directory
    from kerastrain.recipe import predicting

    loaded = dataclasses.replace(run_directory.load(run), config=config)
    labels, task = models.labels(loaded.model), models.task(loaded.model)
    predictions = predicting.predict(loaded, found, top=top if out is None else None, on_fault=faults)
    predictions = _counted(predictions, len(found), "predicted")
    if out is not None:
        count = write_predictions(predictions, out, labels, task)
        print(printable(f"{count:,} predictions written to {out}"))
    else:
        count = (print_json if as_json else print_predictions)(predictions, task)
    faults.exit(count)


@app.command()
def explain(
    run: RunFolder,
    arguments: NewInputs = None,
    texts: Annotated[
        list[str] | None, typer.Option("--text", help="Text that is never read as a path. Can be repeated.")
    ] = None,
    seconds: Annotated[
        list[str] | None,
        typer.Option("--pair", help="Second text for each --text, for a run of pairs of texts."),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help="Method: gradcam (default) or saliency for images, occlusion for texts.", show_default=False),
    ] = None,
    label: Annotated[str | None, typer.Option(help="Class to explain. Default: the predicted class.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder for the pictures, or for the page of texts. Default: `explanations` in the run.",
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace existing pictures, or the page of --out.")
    ] = False,
) -> None:
    """Show what a prediction depends on: heatmaps of images, values of the words of texts.

    Writes a PNG file for each image into the run's folder `explanations`, or into --out.

    Of a text, each word is left out once, and its value is what the log-odds of the class lose without it (of a regression
    model, what the number loses). The values are printed, and written as texts.html and texts.jsonl.

    An input that cannot be read is named and skipped, and the exit code is 1.
    """
    from kerastrain.recipe import inputs

    faults = _Faults()
    own = _config(run)
    language_requirements.refuse(own, "explain")
    inputs.require_explainable(own, run)
    config, found = _found(own, arguments, faults, texts=texts or [], seconds=seconds or [])
    start_tensorflow(prints="results")
    from kerastrain import run_directory

    loaded = dataclasses.replace(run_directory.load(run), config=config)
    options = {"method": method, "label": label, "out": out, "replace": replace}
    options = {name: value for name, value in options.items() if value is not None}
    explained = (_explain_texts if own.data.kind == "text" else _explain_images)(loaded, found, faults, **options)
    faults.exit(explained)


def _explain_images(run, found: Sequence, faults: "_Faults", **options) -> int:
    from kerastrain.recipe import predicting

    count = 0
    for path in predicting.explain_images(run, found, **options, on_fault=faults):
        print(printable(path))
        count += 1
    return count


def _explain_texts(
    run, found: Sequence, faults: "_Faults", *, replace: bool, out: Path | None = None, **options
) -> int:
    from kerastrain.recipe import explaining

    if out is not None:
        explaining.check_folder(out, replace=replace)
    explained = []
    for item in _counted(explaining.explain_texts(run, found, **options), len(found), "explained"):
        print_explanation(item)
        explained.append(item)
    print(printable(f"{counted(len(explained), 'texts')} explained in {explaining.write(run, explained, out)}"))
    return len(explained)


@app.command(cls=SettingsCommand)
def export(
    run: RunFolder,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...", help="Keys of the config section `export`, such as score_loss_fraction=0.01."
        ),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format", help="Format, as in `export.formats`. Can be repeated. Default: the formats of the run."
        ),
    ] = None,
    replace: Annotated[bool, typer.Option(help="Replace existing files.")] = False,
) -> None:
    """Export a run's model and verify each file.

    The formats are SavedModel, TFLite, ONNX and .keras; of a language model SavedModel, a folder of Hugging Face and the
    adapter. Each file is compared with the model. A file that differs too much is removed, and the exit code is 2.
    """
    for text in overrides or []:
        if "=" not in text:
            raise InputError(
                f"a setting needs a value, such as samples=100, and a format is an option. Write --format {text}."
            )
    keys = [text.removeprefix("export.") for text in overrides or []]
    changes = {**configs.override({}, keys), **({"formats": formats} if formats else {})}
    requirements.with_exports(_config(run), changes)
    start_tensorflow()
    from kerastrain import run_directory
    from kerastrain.recipe import exporting

    print_exports(exporting.export_formats(run_directory.load(run), changes, replace=replace), run)


@app.command()
def report(run: RunFolder) -> None:
    """Write a run's report.html again."""
    from kerastrain import report as reports

    print(printable(reports.write(run)))


@app.command()
def trust(run: RunFolder) -> None:
    """Trust the Hub module inside someone else's run.

    A Hub module is a program. Only trust a run whose author you trust.
    """
    language_requirements.refuse(_config(run), "trust")
    start_tensorflow()
    from kerastrain import run_directory

    run_directory.load(run, allow_modules=True)
    print(printable(f"the Hub module in {run} is trusted from now on"))


class _Faults:
    """Names each fault on stderr, and counts them."""

    def __init__(self):
        self.count = 0

    def __call__(self, sentence: str) -> None:
        print(f"kerastrain: {printable(sentence)}", file=sys.stderr)
        self.count += 1

    def exit(self, done: int) -> None:
        """Exits with 1 after some faults, and with 2 if nothing was done."""
        if self.count:
            raise typer.Exit(1 if done else 2)


def _config(run: Path) -> configs.Config:
    from kerastrain import report

    return configs.load(report.run_folder(run) / "config.yaml")


def _found(
    own: configs.Config,
    arguments: Sequence[str] | None,
    faults: _Faults,
    *,
    texts: Sequence[str] = (),
    seconds: Sequence[str] = (),
) -> tuple[configs.Config, tuple]:
    """Finds the inputs before TensorFlow starts, and says on stderr how tables, files and folders were read.

    Returns the config with the overrides among the arguments, and the inputs.
    """
    from kerastrain.recipe import inputs

    given, overrides = inputs.divide(arguments or [])
    if not given and not texts and not seconds:
        raise InputError("give at least one input, such as an image file, a text, a table, or - for standard input.")
    config = inputs.override(own, overrides)
    found = inputs.find(config, given, texts=texts, seconds=seconds, stdin=sys.stdin, own=own)
    for note in found.notes:
        print(printable(note), file=sys.stderr)
    for fault in found.faults:
        faults(fault)
    if not found.found:
        raise typer.Exit(2)
    return config, found.found


def _counted(items: Iterable, total: int, verb: str) -> Iterator:
    """Passes items on; every ten seconds, says on stderr how many there were."""
    said = time.monotonic()
    for number, item in enumerate(items, start=1):
        if time.monotonic() - said > _SECONDS_BETWEEN_COUNTS:
            said = time.monotonic()
            print(f"{verb} {number:,} of {total:,}", file=sys.stderr)
        yield item


def _name(place: str) -> str:
    """The name of a data set: that of its file or folder, or the last part of hf:NAME."""
    return Path(place).stem if Path(place).suffix and not Path(place).is_dir() else Path(place).name.rpartition(":")[2]


def _named_place(text: str) -> tuple[str, str]:
    name, equals, place = text.partition("=")
    if not (name and equals and place):
        raise InputError(f"--data must have the form NAME=PATH, such as test=more_flowers/. Received: {text!r}.")
    return name, place
