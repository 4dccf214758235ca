"""The program that the verbs belong to: its entry point, and what the verbs share."""

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
from kerastrain.errors import InputError
from kerastrain.system.terminal import PrintableFormatter, printable

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


def main() -> None:
    """The entry point: a fault of the input is one sentence on stderr and exit code 2."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # Of broken notes in files whose pictures are whole; no file is named.
    warnings.filterwarnings("ignore", module="PIL")
    logger = logging.getLogger("kerastrain")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(PrintableFormatter("%(message)s"))
    logger.addHandler(handler)
    try:
        app()
    except (InputError, OSError) as error:
        print(f"kerastrain: {printable(error)}", file=sys.stderr)
        sys.exit(2)


def plain(text: object) -> str:
    """`text` as rich prints it letter by letter: no markup, and nothing that could steer the terminal."""
    return escape(printable(text))


def start_tensorflow(config: configs.Config | None = None) -> None:
    """Imports TensorFlow without its greeting, which it writes to stderr before it reads TF_CPP_MIN_LOG_LEVEL.

    Args:
        config: Config whose strategy is made, which must come first; None where one device does all.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as greeting:
        os.dup2(greeting.fileno(), 2)
        try:
            import tensorflow as tf

            if config is not None:
                from kerastrain import recipe

                recipe.make_strategy(config)
            tf.config.list_logical_devices()
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def read_config(arguments: list[str] | None, *, otherwise: Path | None = None) -> configs.Config:
    """The config that a file's name and overrides among `arguments` describe; without a name, `otherwise`."""
    files = [text for text in arguments or [] if "=" not in text]
    if len(files) > 1:
        raise InputError(
            f"one config file at most. Received: {', '.join(files)}. An override is written section.key=value."
        )
    return configs.load(files[0] if files else otherwise, [text for text in arguments or [] if "=" in text])


def dated(parent: str) -> Path:
    """A folder name in `parent` after the present second."""
    return Path(parent, f"{datetime.datetime.now():%Y-%m-%d_%H-%M-%S}")
