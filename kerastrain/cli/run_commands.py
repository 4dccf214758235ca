"""The verbs on a finished run: measure, ask, explain, compress, export and report it, and trust one from elsewhere."""

import json
from typing import Annotated

import typer
from rich.table import Table

from kerastrain import config as configs
from kerastrain.cli.program import Images, RunFolder, app, console, plain, start_tensorflow
from kerastrain.cli.tables import print_compression, print_exports, print_measures
from kerastrain.errors import InputError
from kerastrain.system.terminal import printable


@app.command()
def evaluate(
    run: RunFolder,
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PATH", help="What `data.path` takes, such as a folder or manifest, under a name."),
    ] = None,
) -> None:
    """Measure a run on its own validation and test parts, or on other data."""
    places = dict(_named_place(text) for text in data or [])
    start_tensorflow()
    from kerastrain import run_directory
    from kerastrain.recipe import finished_runs

    print_measures(finished_runs.evaluate(run_directory.load(run), places))


@app.command()
def predict(
    run: RunFolder,
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Image files; for a model of texts, texts.")],
    top: Annotated[int, typer.Option(min=1, help="Labels to print for each image.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Print the labels of image files, or of texts, with probabilities; of a model of numbers, those."""
    start_tensorflow()
    from kerastrain import models, run_directory
    from kerastrain.recipe import finished_runs

    loaded = run_directory.load(run)
    answers = finished_runs.predict(loaded, inputs, top=top)
    said, form = ("numbers", "{} {:.4g}") if models.task(loaded.model) == "regression" else ("labels", "{} {:.1%}")
    if as_json:
        print(json.dumps([{"input": given, said: dict(pairs)} for given, pairs in answers], indent=2))
        return
    table = Table("input", said)
    for given, pairs in answers:
        table.add_row(plain(given), plain(", ".join(form.format(*pair) for pair in pairs)))
    console.print(table)


@app.command()
def explain(
    run: RunFolder,
    images: Images,
    method: Annotated[str, typer.Option(help="gradcam or saliency.")] = "gradcam",
    label: Annotated[str | None, typer.Option(help="Class to explain; the predicted one if left out.")] = None,
) -> None:
    """Draw where the model looked, over each image."""
    start_tensorflow()
    from kerastrain import run_directory
    from kerastrain.recipe import finished_runs

    for path in finished_runs.explain_images(run_directory.load(run), images, method=method, label=label):
        print(printable(path))


@app.command()
def compress(
    run: RunFolder,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="budget.accuracy_points=1")
    ] = None,
) -> None:
    """Make a run's model smaller: the best within a budget (budget.accuracy_points=1 or budget.kilobytes=300), or one
    way, such as prune.fraction=0.8 quantize=quantize_aware; the run's own model stays.
    """
    settings = configs.validate(
        configs.override({}, overrides or []), configs.CompressConfig, source="the command line"
    )
    start_tensorflow()
    from kerastrain import run_directory
    from kerastrain.recipe import finished_runs

    done = finished_runs.compress(run_directory.load(run), settings)
    print_compression(done, run / "compressed")
    if done.choice is not None and done.choice.winner is None:
        raise typer.Exit(1)


@app.command()
def export(
    run: RunFolder,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Keys of `export`: score_loss_fraction=0.01")
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format", help="One of the names of `export.formats`; may be repeated. The run's own if left out."
        ),
    ] = None,
    replace: Annotated[bool, typer.Option(help="Replace a file that exists.")] = False,
) -> None:
    """Write a run's model as SavedModel, TFLite, ONNX or .keras, and check each file against the model.

    A file that does not answer as the model does is removed, and the exit code is 2.
    """
    given = {"formats": formats} if formats else {}
    changes = {"export": {**configs.override({}, overrides or []), **given}}
    configs.validate(changes, source="the command line")
    start_tensorflow()
    from kerastrain import run_directory
    from kerastrain.recipe import finished_runs

    print_exports(finished_runs.export_formats(run_directory.load(run), changes["export"], replace=replace), run)


@app.command()
def report(run: RunFolder) -> None:
    """Write a run's report.html anew."""
    from kerastrain import report as reports

    print(printable(reports.write(run)))


@app.command()
def trust(run: RunFolder) -> None:
    """Let the Hub module inside a run that somebody else trained open here; its graph is a program."""
    start_tensorflow()
    from kerastrain import run_directory

    run_directory.load(run, allow_modules=True)
    print(printable(f"the module of {run} opens from now on"))


def _named_place(text: str) -> tuple[str, str]:
    name, equals, place = text.partition("=")
    if not (name and equals and place):
        raise InputError(f"--data takes NAME=PATH, such as test=more_flowers/. Received: {text!r}.")
    return name, place
