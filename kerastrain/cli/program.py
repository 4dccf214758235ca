"""The program with its entry point, and what the commands share: arguments, the console, reading of the config."""

import datetime
import logging
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from kerastrain import config as configs
from kerastrain.cli import settings
from kerastrain.errors import InputError
from kerastrain.system.terminal import PrintableFormatter, printable

app = typer.Typer(
    name="kerastrain",
    help="Train, explain, compress and export image and text models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
console = Console(highlight=False, soft_wrap=True)

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")]
Arguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RECIPE.yaml] [SECTION.KEY=VALUE]...",
        help="Config file and overrides. Without a file, the defaults are used.",
    ),
]


def main() -> None:
    """Runs the command line. Invalid input leads to a message on stderr and exit code 2."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # PIL warns of broken metadata in intact images, without the name of the file.
    warnings.filterwarnings("ignore", module="PIL")
    logger = logging.getLogger("kerastrain")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(PrintableFormatter("%(message)s"))
    logger.handlers = [handler]  # not one more for each call of `main` in a process
    try:
        app()
    except (InputError, OSError) as error:
        print(f"kerastrain: {printable(error)}", file=sys.stderr)
        sys.exit(2)


def plain(text: object) -> str:
    """Escapes text for rich: no markup, and no control characters for the terminal."""
    return escape(printable(text))


def start_tensorflow(config: configs.Config | None = None) -> None:
    """Imports TensorFlow and hides its start messages, which it writes to stderr before it reads TF_CPP_MIN_LOG_LEVEL.

    Args:
        config: Config whose strategy is made before any other TensorFlow function; None for one device.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            import tensorflow as tf

            if config is not None:
                from kerastrain import recipe

                recipe.make_strategy(config)
            tf.config.list_logical_devices()
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def read_config(arguments: list[str] | None, *, default_path: Path | None = None) -> configs.Config:
    """Loads the config from the file and the overrides among `arguments`; without a file, from `default_path`."""
    path, overrides = settings.divide(arguments or [])
    return configs.load(path or default_path, overrides)


def dated(parent: str) -> Path:
    """Returns a path in `parent` named after the current date and time."""
    return Path(parent, f"{datetime.datetime.now():%Y-%m-%d_%H-%M-%S}")
