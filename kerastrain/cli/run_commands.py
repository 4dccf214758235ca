"""The commands for a finished run: evaluate, predict, explain, compress, export, report and trust."""

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
        typer.Option(
            metavar="NAME=PATH",
            help="Other data to evaluate: a path as in `data.path`, and a name for it. Can be repeated.",
        ),
    ] = None,
) -> None:
    """Evaluate a run on its own data or on other data.

    Without --data, the parts in `evaluation.sets` are evaluated, by default validation and test.
    """
    places = dict(_named_place(text) for text in data or [])
    start_tensorflow()
    from kerastrain import run_directory
    from kerastrain.recipe import finished_runs

    print_measures(finished_runs.evaluate(run_directory.load(run), places))


@app.command()
def predict(
    run: RunFolder,
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Image files, or texts for a text model.")],
    top: Annotated[int, typer.Option(min=1, help="Number of labels to print for each input.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Predict labels with probabilities, or numbers.

    The inputs are image files, or texts for a text model. A regression model predicts numbers.
    """
    start_tensorflow()
    from kerastrain import models, run_directory
    from kerastrain.recipe import finished_runs

    loaded = run_directory.load(run)
    predictions = finished_runs.predict(loaded, inputs, top=top)
    is_regression = models.task(loaded.model) == "regression"
    key, template = ("numbers", "{} {:.4g}") if is_regression else ("labels", "{} {:.1%}")
    if as_json:
        print(json.dumps([{"input": name, key: dict(pairs)} for name, pairs in predictions], indent=2))
        return
    table = Table("input", key)
    for name, pairs in predictions:
        table.add_row(plain(name), plain(", ".join(template.format(*pair) for pair in pairs)))
    console.print(table)


@app.command()
def explain(
    run: RunFolder,
    images: Images,
    method: Annotated[str, typer.Option(help="Method: gradcam or saliency.")] = "gradcam",
    label: Annotated[str | None, typer.Option(help="Class to explain. Default: the predicted class.")] = None,
) -> None:
    """Draw heatmaps of what a prediction depends on.

    Writes a PNG file for each image into the run's folder `explanations`.
    """
    start_tensorflow()
    from kerastrain import run_directory
    from kerastrain.recipe import finished_runs

    for path in finished_runs.explain_images(run_directory.load(run), images, method=method, label=label):
        print(printable(path))


@app.command()
def compress(
    run: RunFolder,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings, such as budget.accuracy_points=1.")
    ] = None,
) -> None:
    """Compress a run's model into TFLite files.

    With a budget (budget.accuracy_points=1 or budget.kilobytes=300), all candidates are tried and the best one within the
    budget wins; exit code 1 means that none fits. Without a budget, the given steps run, such as prune.fraction=0.8
    quantize=quantize_aware. The files are written to the run's folder `compressed`; the run's own model does not change.
    """
    settings = configs.validate(
        configs.override({}, overrides or []), configs.CompressConfig, source="the command line"
    )
    start_tensorflow()
    from kerastrain import run_directory
    from kerastrain.recipe import compressing

    compression = compressing.compress(run_directory.load(run), settings)
    print_compression(compression, run / "compressed")
    if compression.choice is not None and compression.choice.winner is None:
        raise typer.Exit(1)


@app.command()
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

    The formats are SavedModel, TFLite, ONNX and .keras. Each file is compared with the model. A file that differs too much
    is removed, and the exit code is 2.
    """
    chosen_formats = {"formats": formats} if formats else {}
    changes = {"export": {**configs.override({}, overrides or []), **chosen_formats}}
    configs.validate(changes, source="the command line")
    start_tensorflow()
    from kerastrain import run_directory
    from kerastrain.recipe import finished_runs

    print_exports(finished_runs.export_formats(run_directory.load(run), changes["export"], replace=replace), run)


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
    start_tensorflow()
    from kerastrain import run_directory

    run_directory.load(run, allow_modules=True)
    print(printable(f"the Hub module in {run} is trusted from now on"))


def _named_place(text: str) -> tuple[str, str]:
    name, equals, place = text.partition("=")
    if not (name and equals and place):
        raise InputError(f"--data must have the form NAME=PATH, such as test=more_flowers/. Received: {text!r}.")
    return name, place
