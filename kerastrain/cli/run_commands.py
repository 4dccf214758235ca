"""The commands for a finished run, besides predict: evaluate, explain, export, report and trust."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from kerastrain import config as configs
from kerastrain import recipe
from kerastrain import report as reports
from kerastrain.cli.explanations import print_explanation
from kerastrain.cli.new_inputs import Faults, NewInputs, Progress, found_inputs, run_config
from kerastrain.cli.operating_points import print_compared, print_operating_point
from kerastrain.cli.program import RunFolder, app, start_tensorflow
from kerastrain.cli.settings import SettingsCommand
from kerastrain.cli.tables import print_exports, print_measures, print_verdict
from kerastrain.errors import InputError, counted
from kerastrain.system.terminal import printable

_OPERATING_POINT = ("evaluation.threshold=", "evaluation.temperature=", "evaluation.positive=")


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
    threshold: Annotated[
        str | None,
        typer.Option(
            metavar="OBJECTIVE",
            help="Choose thresholds on the validation part: f1, 'precision>=0.95', 'recall>=0.9' or equal_error for two classes "
            "or many labels, 'accuracy>=0.98' to reject uncertain predictions. Same as evaluation.threshold=OBJECTIVE.",
        ),
    ] = None,
    temperature: Annotated[
        bool,
        typer.Option(
            "--temperature",
            help="Calibrate the probabilities by a temperature, fitted on the validation part. Same as "
            "evaluation.temperature=true.",
        ),
    ] = False,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Replace the measures of other data of that name, or the run's operating point."
        ),
    ] = False,
) -> None:
    """Evaluate a run on its own data or on other data.

    Without a path, the parts in `evaluation.sets` are evaluated, by default validation and test. With --threshold or
    --temperature, an operating point is chosen on the validation part, and the test part is measured with it; `predict` then
    uses it.

    Files that cannot be read are named and skipped, and the exit code is 1.
    """
    from kerastrain.recipe import inputs

    own = run_config(run)
    paths, overrides = inputs.divide(arguments or [])
    overrides += [] if threshold is None else [f"evaluation.threshold={threshold}"]
    overrides += ["evaluation.temperature=true"] if temperature else []
    config = inputs.override(own, overrides)
    chooses = any(text.startswith(_OPERATING_POINT) for text in overrides)
    if chooses:
        recipe.operating_points.require_choice(
            reports.run_folder(run), config, on_other_data=bool(paths or data), replace=replace
        )
    if chooses and recipe.operating_points.has_predictions(reports.run_folder(run)):
        _choose_operating_point(reports.run_folder(run), config)
        return
    for path in paths:
        if not Path(path).exists() and Path(path.partition("=")[2] or path).exists():
            raise InputError(f"a name for a data set is given with --data. Write --data {path}.")
    pairs = [_named_place(text) for text in data or []] + [(_name(path), path) for path in paths]
    start_tensorflow()
    from kerastrain import run_directory
    from kerastrain.recipe import diagnosing, evaluating

    loaded, faults = run_directory.load(run), Faults()
    places = evaluating.check_names(loaded, pairs, replace=replace)
    predictions = {}
    measures = evaluating.evaluate(
        loaded, places, config=config, on_fault=faults, on_predictions=predictions.__setitem__
    )
    others = [finding for measured in measures.values() for finding in measured.get("findings", ())]
    print_verdict({"findings": others} if places else diagnosing.read(loaded.directory))
    print_measures(measures)
    if compared := {name: each["operating_point"] for name, each in measures.items() if "operating_point" in each}:
        print(f"\nAt the operating point of the run: {printable(loaded.operating_point)}")
        print_compared(compared)
    # Only now: the measures are printed even if the folder is read-only.
    evaluating.record(loaded, measures, predictions)
    if chooses:
        _choose_operating_point(loaded.directory, config)
    faults.exit(len(measures))


def _choose_operating_point(directory: Path, config: configs.Config) -> None:
    print_operating_point(recipe.operating_points.choose(directory, config))
    reports.write(directory)


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
        typer.Option(
            help="Method. For images auto (default, chosen for the model), gradcam, gradcam++, layercam, scorecam, saliency, "
            "integrated_gradients, occlusion or rollout; for texts auto (default), integrated_gradients or occlusion.",
            show_default=False,
        ),
    ] = None,
    label: Annotated[str | None, typer.Option(help="Class to explain. Default: the predicted class.")] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            help="For images: layer whose feature maps are used, also of one inside a Hub module. Default: the last ones."
        ),
    ] = None,
    score: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="For images: score the heatmaps of the first N, 0 for none. Default: 4, and for slow methods only in part.",
            show_default=False,
        ),
    ] = None,
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

    Writes a PNG file for each image into the run's folder `explanations`, or into --out, with a contact sheet and index.json.
    Heatmaps are scored by what happens to the probability when pixels are removed and returned in their order, and by a
    comparison with the heatmaps of randomised weights.

    The words of a text get values: by integrated_gradients, where the network shows embeddings of its tokens, parts of the
    log-odds of the class, or of a regression's number; by occlusion what these lose without the word. They are printed, and
    written as texts.html and texts.jsonl, with a score: the answer without the strongest words, and to them alone.

    An input that cannot be read is named and skipped, and the exit code is 1.
    """
    from kerastrain.recipe import inputs

    faults = Faults()
    own = run_config(run)
    recipe.language_requirements.refuse(own, "explain")
    inputs.require_explainable(own, run)
    if own.data.kind == "text" and (layer is not None or score is not None):
        raise InputError("--layer and --score are for images. Received: a run of texts. Leave them out.")
    config, found = found_inputs(own, arguments, faults, texts=texts or [], seconds=seconds or [])
    start_tensorflow(prints="results")
    from kerastrain import run_directory

    loaded = dataclasses.replace(run_directory.load(run), config=config)
    options = {"method": method, "label": label, "out": out, "replace": replace, "layer": layer, "score": score}
    options = {name: value for name, value in options.items() if value is not None}
    explained = (_explain_texts if own.data.kind == "text" else _explain_images)(loaded, found, faults, **options)
    faults.exit(explained)


def _explain_images(run, found: Sequence, faults: Faults, **options) -> int:
    from kerastrain.recipe import explaining_images

    def note(sentence: str) -> None:
        print(printable(sentence), file=sys.stderr)

    count = 0
    for path in explaining_images.explain_images(run, found, **options, on_fault=faults, on_note=note):
        print(printable(path), flush=True)
        count += 1
    return count


def _explain_texts(run, found: Sequence, faults: Faults, *, replace: bool, out: Path | None = None, **options) -> int:
    from kerastrain.recipe import explaining

    if out is not None:
        explaining.check_folder(out, replace=replace)
    explained = []
    for item in Progress(len(found), "explained").counted(explaining.explain_texts(run, found, **options)):
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
    recipe.operating_points.require_for_export(
        reports.run_folder(run), recipe.requirements.with_exports(run_config(run), changes)
    )
    start_tensorflow()
    from kerastrain import run_directory
    from kerastrain.recipe import exporting

    print_exports(exporting.export_formats(run_directory.load(run), changes, replace=replace), run)


@app.command()
def report(run: RunFolder) -> None:
    """Write a run's report.html and model_card.md again, or a search's search.html."""
    print(printable(reports.write(run)))


@app.command()
def trust(run: RunFolder) -> None:
    """Trust the Hub module inside someone else's run.

    A Hub module is a program. Only trust a run whose author you trust.
    """
    recipe.language_requirements.refuse(run_config(run), "trust")
    start_tensorflow()
    from kerastrain import run_directory

    run_directory.load(run, allow_modules=True)
    print(printable(f"the Hub module in {run} is trusted from now on"))


def _name(place: str) -> str:
    """The name of a data set: that of its file or folder, or the last part of hf:NAME."""
    return Path(place).stem if Path(place).suffix and not Path(place).is_dir() else Path(place).name.rpartition(":")[2]


def _named_place(text: str) -> tuple[str, str]:
    name, equals, place = text.partition("=")
    if not (name and equals and place):
        raise InputError(f"--data must have the form NAME=PATH, such as test=more_flowers/. Received: {text!r}.")
    return name, place
