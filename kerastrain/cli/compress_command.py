"""The command that compresses a finished run: `kerastrain compress`."""

import shlex
from typing import Annotated

import typer

from kerastrain import config as configs
from kerastrain import recipe, report
from kerastrain.cli.program import RunFolder, app, console, plain, start_tensorflow
from kerastrain.cli.tables import print_compression
from kerastrain.errors import InputError
from kerastrain.system import signals


@app.command()
def compress(
    run: RunFolder,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings, such as budget.accuracy_points=1.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the unfinished compression of the run, with its settings.")
    ] = False,
) -> None:
    """Compress a run's model into TFLite files.

    With a budget (budget.accuracy_points=1 or budget.kilobytes=300), the candidates that can win are tried and the best one
    within the budget wins; exit code 1 means that none fits. Without a budget, the given steps run, such as prune.fraction=0.8
    quantize=quantize_aware. The files are written to the run's folder `compressed`; the run's own model does not change.

    On SIGTERM, SIGUSR1 or Ctrl-C, a checkpoint is saved and the exit code is 75. --resume, or the same command again,
    continues, also after a kill. A second Ctrl-C exits at once.
    """
    source = "the command line"
    settings = (
        None
        if resume
        else configs.validate(configs.override({}, overrides or []), configs.CompressConfig, source=source)
    )
    own = configs.load(report.run_folder(run) / "config.yaml")
    configs.folds.require_one_model(own, run)
    recipe.language_requirements.refuse(own, "compress")
    start_tensorflow()
    from kerastrain import run_directory
    from kerastrain.compression_search import unfinished
    from kerastrain.recipe import compressing

    if resume:
        own = unfinished.recorded_settings(run)
        if own is None:
            raise InputError(
                f"{str(run)!r} has no unfinished compression. Received: --resume. Start one with `kerastrain compress {run}`."
            )
        settings = configs.validate(configs.override(own, overrides or []), configs.CompressConfig, source=source)
    try:
        with signals.graceful():
            compression = compressing.compress(run_directory.load(run), settings)
    except signals.Stopped as stopped:
        console.print(plain(stopped))
        if (run / unfinished.NAME).is_dir():
            console.print(f"resume with: kerastrain compress --resume {plain(shlex.quote(str(run)))}")
        raise
    print_compression(compression, run / "compressed")
    if compression.choice is not None and compression.choice.winner is None:
        raise typer.Exit(1)
