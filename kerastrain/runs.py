"""The folder of a run: made once, never overwritten, opened again by every command after training.

Takes and gives paths and records. A run holds `config.yaml` (resolved), `environment.json`, `log.txt`, `history.csv`,
`tensorboard/`, `checkpoints/`, `model.keras`, `labels.txt`, `metrics.json`, `exports/` and `report.html`; and
`quarantine.csv`, if image files were left out.
"""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras

from kerastrain import config as configs
from kerastrain import files, models, runtime, trust
from kerastrain.errors import InputError
from kerastrain.hub_layer import HubLayer
from kerastrain.terminal import PrintableFormatter

logger = logging.getLogger("kerastrain")


@dataclass(frozen=True)
class Run:
    """A finished run, opened.

    Args:
        directory: Path of its folder.
        config: Config that made it.
        model: keras.Model as it was after training.
    """

    directory: Path
    config: configs.Config
    model: keras.Model


def refuse_existing(directory: str | Path) -> Path:
    """`directory` as a Path, if nothing stands there yet.

    Raises:
        FileExistsError: a file or folder stands there.
    """
    directory = Path(directory)
    if directory.exists():
        raise FileExistsError(
            f"{str(directory)!r} exists already and nothing is overwritten. Choose another name, or remove it."
        )
    return directory


@contextlib.contextmanager
def create(directory: Path, config: configs.Config, *, data_sha256: str | None = None) -> Iterator[Path]:
    """A new run directory, whose `log.txt` takes what the logger "kerastrain" says while the block runs.

    Args:
        directory: Path that must not exist.
        config: Config, saved with every value spelled out.
        data_sha256: str, `data.fingerprint` of what the run trains on.

    Yields:
        Path, the directory, with `config.yaml` and `environment.json` in it.

    Raises:
        FileExistsError: a file or folder stands there.
    """
    refuse_existing(directory).mkdir(parents=True)
    files.write_text(directory / "config.yaml", configs.dump(config))
    files.write_json(directory / "environment.json", {**runtime.record(), "data_sha256": data_sha256})
    handler = logging.FileHandler(directory / "log.txt", encoding="utf-8")
    handler.setFormatter(PrintableFormatter("%(asctime)s %(message)s", datefmt="%Y-%m-%d %H:%M:%S"))
    logger.addHandler(handler)
    try:
        yield directory
    finally:
        logger.removeHandler(handler)
        handler.close()


def load(directory: str | Path, *, allow_modules: bool = False) -> Run:
    """The finished run in `directory`.

    Args:
        directory: folder of the run.
        allow_modules: bool, whether a Hub module inside its model may run although the user never trained with it;
            it is remembered then (see `trust`).

    Raises:
        FileNotFoundError: there is no such folder, or no `config.yaml` in it.
        InputError: the run has no `model.keras`: it was stopped before the end.
    """
    directory = Path(directory)
    if not (directory / "config.yaml").is_file():
        raise FileNotFoundError(
            f"{str(directory)!r} is no run directory: it has no config.yaml. Give the folder that `train` printed."
        )
    if not (directory / "model.keras").is_file():
        raise InputError(
            f"the run in {str(directory)!r} was stopped before it had a model. Train it again under another name."
        )
    run = Run(
        directory,
        configs.load(directory / "config.yaml"),
        models.load(directory / "model.keras", allow_modules=allow_modules),
    )
    if allow_modules:
        remember_modules(run.model)
    return run


def remember_modules(model: keras.Model) -> None:
    """Remembers the Hub modules in a model as the user's own, so that files that bring them open again."""
    for layer in model.layers:
        if isinstance(layer, HubLayer):
            trust.remember(layer.fingerprint)
