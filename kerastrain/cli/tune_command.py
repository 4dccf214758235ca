"""The command that searches settings: `kerastrain tune`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from kerastrain.cli import search_arguments
from kerastrain.cli.program import app, console, dated, plain, start_tensorflow
from kerastrain.cli.settings import SearchSettingsCommand
from kerastrain.recipe import requirements
from kerastrain.system import optional_imports

SearchArguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SEARCH.yaml] [RECIPE.yaml] [KEY=VALUE]...",
        help="Files of the search and of the recipe that every trial changes, and settings of both, such as trials=30, "
        "'space.model.dropout=[0,0.2,0.5]' and data.path=flowers/. Without a space, learning rates, weight decay and "
        "dropout are searched.",
    ),
]


@app.command(cls=SearchSettingsCommand)
def tune(
    arguments: SearchArguments = None,
    out: Annotated[Path | None, typer.Option(help="Folder to create. Default: searches/DATE_TIME.")] = None,
) -> None:
    """Search config keys for the best validation score.

    Trains a model for each trial and writes the best config to best.yaml in the output folder.
    """
    settings, config, _ = search_arguments.read(arguments or [])
    if settings.algorithm == "tpe":
        optional_imports.require("tpe")
    directory = out or dated("searches")
    requirements.require_folder(directory, resumes=False)
    start_tensorflow(config)
    from kerastrain.recipe import tuning

    trials = tuning.run(config, settings, directory)
    table = Table(settings.objective, *(plain(key) for key in settings.space))
    for trial in trials:
        score = plain(trial.fault or "failed") if trial.score is None else f"{trial.score:.4f}"
        values = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in trial.values.values()]
        table.add_row(score, *map(plain, values))
    console.print(table)
    console.print(f"best config: {plain(directory / 'best.yaml')}")
