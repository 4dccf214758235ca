"""The program with its entry point, and what the commands share: arguments, the console, reading of the config."""

from __future__ import annotations

import datetime
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape

from kerastrain import config as configs
from kerastrain.cli import settings
from kerastrain.errors import InputError
from kerastrain.system import garbage, library_output
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
FromRun = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="RUN",
        help="Finished run whose model is trained further. Its config holds where no key is given, and its head is kept for "
        "the labels that the data share with it; a language model continues with its LoRA matrices merged.",
    ),
]
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
    logger = logging.getLogger("kerastrain")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    handler = _Printing(sys.stdout)
    handler.setFormatter(PrintableFormatter("%(message)s"))
    logger.handlers = [handler]  # not one more for each call of `main` in a process
    with library_output.may_hide():
        try:
            with warnings.catch_warnings():
                # PIL warns of broken metadata in intact images, without the name of the file.
                warnings.filterwarnings("ignore", module="PIL")
                warnings.showwarning = _print_warning
                app()
        except (InputError, OSError) as error:
            print(f"kerastrain: {printable(error)}", file=sys.stderr)
            sys.exit(2)
        finally:
            logger.handlers = []


class _Printing(logging.StreamHandler):
    """Prints messages until the reader of the output is gone, as after `| head`; what prints results ends the command then."""

    def handleError(self, record: logging.LogRecord) -> None:
        if isinstance(sys.exc_info()[1], BrokenPipeError):
            logging.getLogger("kerastrain").removeHandler(self)
        else:
            super().handleError(record)


def _print_warning(message, category, filename, lineno, file=None, line=None) -> None:
    """Prints a warning in a sentence, without the line of code that it comes from."""
    print(f"kerastrain: warning: {printable(message)}", file=sys.stderr)


def plain(text: object) -> str:
    """Escapes text for rich: no markup, and no control characters for the terminal."""
    return escape(printable(text))


def print_messages_as_comments() -> None:
    """From now on, the messages of the logger are comments of the YAML among which they are printed."""
    for handler in logging.getLogger("kerastrain").handlers:
        handler.setFormatter(PrintableFormatter("# %(message)s"))


def start_tensorflow(
    config: configs.Config | None = None,
    *,
    prints: Literal["text", "results", "yaml"] = "text",
    initializes_devices: bool = True,
) -> None:
    """Imports TensorFlow; from now on, what libraries write beside Python is hidden unless the command fails.

    Args:
        config: Config whose strategy is made before any other TensorFlow function; None for one device.
        prints: what the command prints. The messages of the logger go to standard output among "text", as comments among
            "yaml", and to stderr beside "results", which a program may read.
        initializes_devices: bool, whether TensorFlow takes the devices; False leaves them to the processes of a search.
    """
    library_output.hide()
    logger = logging.getLogger("kerastrain")
    for handler in logger.handlers:
        if prints == "results":
            handler.setStream(sys.stderr)
    if prints == "yaml":
        print_messages_as_comments()
    logger.info("starting TensorFlow")
    with garbage.lasting():
        import keras  # noqa: F401, which every command needs that needs TensorFlow
        import tensorflow as tf

    logging.getLogger("absl").setLevel(logging.ERROR)
    if config is not None:
        from kerastrain import recipe

        recipe.make_strategy(config)
    if initializes_devices:
        tf.config.list_logical_devices()


def read_config(
    arguments: list[str] | None,
    *,
    default_path: Path | None = None,
    from_run: Path | None = None,
    takes_all_folds: bool = False,
) -> configs.Config:
    """Loads the config from the file and the overrides among `arguments`; without a file, from `default_path`.

    With `from_run`, the folder of a finished run, they are differences from the config of that run. `data.fold=all` is refused
    unless `takes_all_folds`.
    """
    path, overrides = settings.divide(arguments or [])
    if from_run is not None:
        from kerastrain import recipe

        config = recipe.config_from(from_run, path, overrides)
    else:
        config = configs.load(path or default_path, overrides)
    if not takes_all_folds:
        configs.folds.refuse_all(config)
    return config


def dated(parent: str) -> Path:
    """Returns a path in `parent` named after the current date and time."""
    return Path(parent, f"{datetime.datetime.now():%Y-%m-%d_%H-%M-%S}")
