"""The command that searches settings: `kerastrain tune`."""

from pathlib import Path
from typing import Annotated

import typer

from kerastrain.cli.program import app
from kerastrain.cli.settings import SearchSettingsCommand

Arguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SEARCH.yaml] [RECIPE.yaml] [KEY=VALUE]...",
        help="Files of the search and of the recipe that every trial changes, and settings of both, such as trials=30, "
        "'space.model.dropout=[0,0.2,0.5]' and data.path=flowers/. Without a space, learning rates, weight decay and "
        "dropout are searched.",
    ),
]
Resume = Annotated[
    Path | None,
    typer.Option(
        metavar="SEARCH",
        help="Folder of the search to resume. With other arguments, it is created if it does not exist.",
    ),
]
Workers = Annotated[
    int, typer.Option(help="Trials at a time. The cores or GPUs of this machine are divided among them.")
]
Retrain = Annotated[
    bool,
    typer.Option(
        "--retrain",
        help="In the end, train the winner on the training and the validation part, and measure the test part, once.",
    ),
]
Build = Annotated[
    str | None,
    typer.Option(
        metavar="FILE.py:FUNCTION",
        help="Function hp -> compiled keras.Model that makes the models. The hyperparameters that it registers are searched, "
        "as hp.NAME.",
    ),
]


@app.command(cls=SearchSettingsCommand)
def tune(
    arguments: Arguments = None,
    out: Annotated[Path | None, typer.Option(help="Folder to create. Default: searches/DATE_TIME.")] = None,
    resume: Resume = None,
    workers: Workers = 1,
    retrain: Retrain = False,
    build: Build = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and describe the search, and print it as YAML; train nothing.")
    ] = False,
) -> None:
    """Search config keys for the best validation score.

    Each trial trains in a process and a folder of its own. The folder of the search has the settings of the best trial
    (best.yaml), a page (search.html) and a table (trials.csv).

    On SIGTERM, SIGUSR1 or Ctrl-C, the running trials save their state, and the exit code is 75. --resume continues, also
    after a kill; finished trials are not repeated. The exit code is 1 if every trial failed.

    On several machines, start the same command with --out on each, with keras-tuner's variables KERASTUNER_TUNER_ID (chief,
    tuner0, tuner1, …), KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT. The chief trains nothing.
    """
    from kerastrain.cli import search_steps  # which imports what a search needs, and --help does not

    options = {"workers": workers, "retrain": retrain, "dry_run": dry_run}
    search_steps.tune(arguments or [], out, resume, build, **options)
