"""The command line: verbs and paths; every number comes from a config or an override `section.key=value`.

Takes arguments, prints for people, and returns 0, or 2 with one sentence when what it was given cannot be used. Must
not hold logic: each verb is a few calls to public functions. TensorFlow starts only in the verbs that need it.
"""

import datetime
import json
import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kerastrain import config as configs
from kerastrain.errors import InputError

app = typer.Typer(
    name="kerastrain",
    help="From a folder of images to a small, explainable, verified model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
console = Console(highlight=False, soft_wrap=True)

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")]
Images = Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.")]
Arguments = Annotated[
    list[str] | None,
    typer.Argument(metavar="[RECIPE.yaml] [SECTION.KEY=VALUE]...", help="A config file, and values that win over it."),
]


@app.command()
def train(
    arguments: Arguments = None,
    run: Annotated[Path | None, typer.Option(help="Folder to make; runs/DATE_TIME if left out.")] = None,
) -> None:
    """Train, evaluate and export what a config describes; without one, the embedded demo."""
    config = _config(arguments)
    _start_tensorflow()
    from kerastrain import recipe

    finished = recipe.run(config, run or _dated("runs"))
    _print_measures(finished.measures)
    _print_exports(finished.exports, finished.directory)
    console.print(f"\nrun     {escape(str(finished.directory))}  ({finished.seconds:.0f} s)")
    console.print(f"report  {escape(str(finished.directory / 'report.html'))}")


@app.command()
def check(arguments: Arguments = None) -> None:
    """Validate a config and print what it would run, without starting TensorFlow."""
    from kerastrain import plan

    config = _config(arguments)
    parts = plan.part_sizes(config)
    console.print(configs.dump(config).rstrip(), markup=False)
    console.print("\nexamples: " + ", ".join(f"{count} {name}" for name, count in parts.items()))
    table = Table("phase", "epochs", "steps", "warm-up steps", "peak learning rate", "schedule")
    for phase in plan.phases(config, parts["train"]):
        steps = f"{phase.epochs} x {phase.steps_per_epoch} = {phase.steps}"
        rate, schedule = f"{phase.learning_rate:.3g}", config.schedule.name
        table.add_row(phase.name, str(phase.epochs), steps, str(phase.warmup_steps), rate, schedule)
    console.print(table)


@app.command()
def schema() -> None:
    """Print the JSON schema of a config file, for editors."""
    print(json.dumps(configs.schema(), indent=2))


@app.command()
def evaluate(
    run: RunFolder,
    data: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FOLDER", help="A folder with one folder per class, under a name.")
    ] = None,
) -> None:
    """Measure a run on its own validation and test parts, or on other folders."""
    folders = dict(_named_folder(text) for text in data or [])
    _start_tensorflow()
    from kerastrain import finished, runs

    _print_measures(finished.evaluate(runs.load(run), folders))


@app.command()
def predict(
    run: RunFolder,
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Image files; for a model of texts, texts.")],
    top: Annotated[int, typer.Option(min=1, help="Labels to print for each image.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Print the labels of image files, or of texts, with probabilities."""
    _start_tensorflow()
    from kerastrain import finished, runs

    answers = finished.predict(runs.load(run), inputs, top=top)
    if as_json:
        print(json.dumps([{"input": given, "labels": dict(pairs)} for given, pairs in answers], indent=2))
        return
    table = Table("input", "labels")
    for given, pairs in answers:
        table.add_row(escape(given), escape(", ".join(f"{label} {share:.1%}" for label, share in pairs)))
    console.print(table)


@app.command()
def explain(
    run: RunFolder,
    images: Images,
    method: Annotated[str, typer.Option(help="gradcam or saliency.")] = "gradcam",
    label: Annotated[str | None, typer.Option(help="Class to explain; the predicted one if left out.")] = None,
) -> None:
    """Draw where the model looked, over each image."""
    _start_tensorflow()
    from kerastrain import finished, runs

    for path in finished.explain_images(runs.load(run), images, method=method, label=label):
        print(path)


@app.command()
def compress(
    run: RunFolder,
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="prune.fraction=0.8")] = None,
) -> None:
    """Prune a run's model to an exact fraction of zeros, then quantize it; the run's own model stays."""
    settings = configs.validate(
        configs.override({}, overrides or []), configs.CompressConfig, source="the command line"
    )
    _start_tensorflow()
    from kerastrain import finished, runs

    table = Table("file", "accuracy", "zeros", "size in kB", "gzip in kB")
    for row in finished.compress(runs.load(run), settings):
        sizes = (f"{row.size_bytes / 1000:,.1f}", f"{row.gzip_bytes / 1000:,.1f}")
        table.add_row(row.file, f"{row.accuracy:.4f}", f"{row.zeros_fraction:.2%}", *sizes)
    console.print(table)
    console.print(f"written to {escape(str(run / 'compressed'))}")


@app.command()
def export(
    run: RunFolder,
    formats: Annotated[
        list[str], typer.Option("--format", help="One of the names of `export.formats`; may be repeated.")
    ],
    replace: Annotated[bool, typer.Option(help="Replace a file that exists.")] = False,
) -> None:
    """Write a run's model as SavedModel or TFLite, and check each file against the model."""
    wanted = configs.validate({"export": {"formats": formats}}, source="--format").export
    _start_tensorflow()
    from kerastrain import finished, runs

    _print_exports(finished.export_formats(runs.load(run), wanted.formats, replace=replace), run)


@app.command()
def report(run: RunFolder) -> None:
    """Write a run's report.html anew."""
    from kerastrain import report as reports

    print(reports.write(run))


@app.command()
def doctor(
    backbone: Annotated[str | None, typer.Option(help="A handle as in `model.backbone`, to describe.")] = None,
) -> None:
    """Print the versions and devices of this machine, and what a backbone takes and gives."""
    _start_tensorflow()
    from kerastrain import backbones, runtime

    facts = runtime.record() if backbone is None else backbones.describe(backbone)
    print(configs.to_yaml(facts).rstrip())


@app.command()
def trust(run: RunFolder) -> None:
    """Let the Hub module inside a run that somebody else trained open here; its graph is a program."""
    _start_tensorflow()
    from kerastrain import runs

    runs.load(run, allow_modules=True)
    print(f"the module of {run} opens from now on")


@app.command()
def tune(
    search: Annotated[Path, typer.Argument(metavar="SEARCH.yaml", help="Algorithm, trials and space.")],
    arguments: Arguments = None,
    out: Annotated[Path | None, typer.Option(help="Folder to make; searches/DATE_TIME if left out.")] = None,
) -> None:
    """Search config keys for the best validation score, and write the winner as a config file."""
    settings = configs.validate(configs.read_yaml(search), configs.SearchConfig, source=str(search))
    config = _config(arguments)
    _start_tensorflow()
    from kerastrain import search as searches

    directory = out or _dated("searches")
    trials = searches.run(config, settings, directory)
    table = Table(settings.objective, *(escape(key) for key in settings.space))
    for trial in trials:
        score = escape(trial.fault or "failed") if trial.score is None else f"{trial.score:.4f}"
        table.add_row(
            score,
            *(escape(f"{value:.4g}" if isinstance(value, float) else str(value)) for value in trial.values.values()),
        )
    console.print(table)
    console.print(f"winner: {directory / 'best.yaml'}")


def main() -> None:
    """The entry point: a fault of the input is one sentence on stderr and exit code 2."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logger = logging.getLogger("kerastrain")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    try:
        app()
    except (InputError, OSError) as error:
        print(f"kerastrain: {error}", file=sys.stderr)
        sys.exit(2)


def _start_tensorflow() -> None:
    """Imports TensorFlow without its greeting, which it writes to stderr before it reads TF_CPP_MIN_LOG_LEVEL."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as greeting:
        os.dup2(greeting.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_logical_devices()
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _config(arguments: list[str] | None) -> configs.Config:
    files = [text for text in arguments or [] if "=" not in text]
    if len(files) > 1:
        raise InputError(
            f"one config file at most. Received: {', '.join(files)}. An override is written section.key=value."
        )
    return configs.load(files[0] if files else None, [text for text in arguments or [] if "=" in text])


def _dated(parent: str) -> Path:
    return Path(parent, f"{datetime.datetime.now():%Y-%m-%d_%H-%M-%S}")


def _named_folder(text: str) -> tuple[str, str]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise InputError(f"--data takes NAME=FOLDER, such as test=more_flowers/. Received: {text!r}.")
    return name, folder


def _print_measures(measures: dict) -> None:
    from kerastrain import evaluation

    for name, measured in measures.items():
        console.print(evaluation.table(measured, title=name))


def _print_exports(parities: dict, directory: Path) -> None:
    table = Table(
        title="Files, each re-opened and compared with predict: same top-1 answer, largest difference",
        title_justify="left",
    )
    table.add_column("file", overflow="fold")
    for column in ("kB", "agreement", "difference", "samples"):
        table.add_column(column, justify="right")
    for path, parity in parities.items():
        table.add_row(
            escape(str(path.relative_to(directory))),
            f"{parity.size_bytes / 1000:,.1f}",
            f"{parity.agreement:.2%}",
            f"{parity.largest_difference:.2g}",
            str(parity.sample_count),
        )
    console.print(table)
