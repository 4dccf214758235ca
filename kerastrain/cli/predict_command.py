"""The command that predicts new inputs with a finished run."""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import typer

from kerastrain import recipe
from kerastrain.cli import predictions as output
from kerastrain.cli.new_inputs import Faults, NewInputs, Progress, found_inputs, run_config
from kerastrain.cli.program import RunFolder, app, start_tensorflow
from kerastrain.errors import InputError
from kerastrain.system import signals
from kerastrain.system.terminal import printable

_PRINTED_LABELS = 3


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
    top: Annotated[
        int | None,
        typer.Option(min=1, help="Number of labels to print for each input. Default: 3.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File to write, .csv or .jsonl, with the prediction and every score of each input, and the error of each that "
            "cannot be read; - prints JSON lines. With --embeddings .npz, .npy or .jsonl.",
        ),
    ] = None,
    embeddings: Annotated[
        bool,
        typer.Option("--embeddings", help="Write the features of the backbone for each input, which its head gets."),
    ] = False,
    without_operating_point: Annotated[
        bool,
        typer.Option("--without-operating-point", help="Ignore the temperature and the thresholds of the run."),
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an existing file.")] = False,
) -> None:
    """Predict labels with probabilities, or numbers.

    The inputs are image files, folders of images, patterns such as 'photos/**/*.jpg' and tables of images, or for a text model
    texts, text files with a text in each line, and tables. A regression model predicts numbers.

    An input that cannot be read is named and skipped, and the exit code is 1. A file of --out is complete or not written.
    """
    output.check_out(out, embeddings=embeddings, replace=replace)
    if as_json and out is not None:
        raise InputError("--json prints, and --out writes a file. Received: both. Give one of them.")
    if top is not None and out is not None:
        raise InputError(
            "--top is for labels that are printed, and --out writes all of them. Received: both. Leave out --top."
        )
    faults, own = Faults(), run_config(run)
    recipe.language_requirements.refuse(own, "predict")
    config, found = found_inputs(own, arguments, faults, texts=texts or [], seconds=seconds or [])
    start_tensorflow(prints="results" if as_json or out == output.STDOUT else "text")
    from kerastrain import models, run_directory
    from kerastrain.recipe import predicting

    loaded = dataclasses.replace(run_directory.load(run), config=config)
    labels, task = models.labels(loaded.model), models.task(loaded.model)
    point = None if without_operating_point else loaded.operating_point
    if point is not None:
        print(printable(f"operating point of the run: {point}"), file=sys.stderr)
    progress = Progress(len(found), "predicted")
    predictions = predicting.predict(
        loaded,
        found,
        top=(top or _PRINTED_LABELS) if out is None else None,
        on_fault=faults,
        keep_faults=out is not None,
        embeddings=embeddings,
        operating_point=point,
    )
    predictions = progress.counted(predictions)
    try:
        with signals.graceful():
            if out is None and as_json:
                count = output.print_json(predictions, task)
            elif out is None:
                count = output.print_predictions(predictions, task, with_labels=point is not None and point.decides)
            elif out.suffix.lower() in output.ARRAYS:
                size = predicting.features_size(loaded.model)
                count = output.write_embeddings(predictions, out, len(found), size)
            else:
                count = output.write_predictions(predictions, out, labels, task)
    except signals.Stopped as stopped:
        unwritten = "" if out in (None, output.STDOUT) else f"; '{out}' was not written"
        print(f"kerastrain: {stopped} after {progress}{printable(unwritten)}", file=sys.stderr)
        raise typer.Exit(128 + stopped.number) from None
    if out not in (None, output.STDOUT) and count:
        print(printable(f"{count:,} {'embeddings' if embeddings else 'predictions'} written to {out}"))
    faults.exit(count)
