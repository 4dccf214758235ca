"""The folder of a run: creates it, reopens it to resume training, and loads the finished run.

Takes and returns paths and records. A run contains `config.yaml` (resolved), `environment.json`, `log.txt`, `history.csv`,
`tensorboard/`, `checkpoints/`, `model.keras`, `labels.txt`, `metrics.json`, `predictions/`, `verdict.json`,
`training_data.json`, `exports/`, `report.html` and `model_card.md`; also `training_samples.png` of images, `quarantine.csv` if
image files were skipped, `acceleration.json` if precision or XLA was measured, `profile.json` if the run was profiled, and
`example_digests.npz`, the digests of the examples of each part. A cross-validation has a run for each fold in it (see
`recipe.folds`). Must not overwrite an existing folder, and must not train.
"""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras

from kerastrain import config as configs
from kerastrain import models, report, runtime
from kerastrain.config.expectations import shown
from kerastrain.errors import InputError
from kerastrain.evaluation import operating_point
from kerastrain.hub import trust
from kerastrain.hub.layer import HubLayer
from kerastrain.system import files, locks
from kerastrain.system.folders import refuse_existing
from kerastrain.system.terminal import PrintableFormatter
from kerastrain.transfer import freezing

EXAMPLES_FILE = "example_digests.npz"
"""The file with an array of `data.overlap.digests` for each part of the data."""

RESUME_MAY_CHANGE = (
    "data.service",
    "evaluation.positive",
    "evaluation.sets",
    "evaluation.temperature",
    "evaluation.threshold",
    "export.formats",
    "export.operating_point",
    "export.probabilities",
    "export.representative_samples",
    "export.samples",
    "export.score_loss_fraction",
    "fit.checkpoint_every",
    "fit.checkpoints_kept",
    "fit.on_nonfinite",
    "fit.roll_back_factor",
    "fit.roll_backs",
    "runtime.all_reduce",
    "runtime.devices",
    "runtime.profile",
    "runtime.start_timeout_seconds",
    "runtime.strategy",
    "tracking.name",
    "tracking.project",
    "tracking.to",
    "tracking.upload_mb",
)

logger = logging.getLogger("kerastrain")


@dataclass(frozen=True)
class Run:
    """A finished run.

    Args:
        directory: Path of the run's folder.
        config: Config of the run, resolved.
        model: keras.Model after training.
    """

    directory: Path
    config: configs.Config
    model: keras.Model

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(height, width) in pixels of the model's images; None for texts."""
        shape = self.model.inputs[0].shape
        return tuple(shape[1:3]) if len(shape) == 4 else None

    @property
    def operating_point(self) -> operating_point.OperatingPoint | None:
        """How the outputs become probabilities and labels, from `operating_point.json`; None if none was chosen.

        Raises:
            InputError: the file is damaged.
        """
        return operating_point.read(self.directory / operating_point.FILE, models.labels(self.model))


@contextlib.contextmanager
def create(
    directory: Path, config: configs.Config, *, data_sha256: str | None = None, backbone_sha256: str | None = None
) -> Iterator[Path]:
    """Creates a run directory, locks it, and copies the logger "kerastrain" to its `log.txt` within the block.

    Args:
        directory: Path that must not exist.
        config: Config, saved with the value of every key.
        data_sha256: str, the `data.fingerprint` of the run's data; None for unknown data.
        backbone_sha256: str, a checksum of the files of the backbone; None if there are none that could change.

    Yields:
        Path, the directory, which contains `config.yaml` and `environment.json`.

    Raises:
        FileExistsError: a file or folder exists at `directory`.
    """
    with files.atomic(refuse_existing(directory)) as folder:
        folder.mkdir()
        files.write_text(folder / "config.yaml", configs.dump(config))
        digests = {"data_sha256": data_sha256, "backbone_sha256": backbone_sha256}
        files.write_json(folder / "environment.json", {**runtime.record(), **digests})
    with locks.locked(directory, "training in"), logged(directory):
        yield directory


@contextlib.contextmanager
def reopen(
    directory: Path, config: configs.Config, *, data_sha256: str | None = None, backbone_sha256: str | None = None
) -> Iterator[Path]:
    """Reopens the directory of a stopped run. Training resumes from the newest checkpoint in it.

    Locks the directory, removes the files that a killed process left half-written, and appends to `log.txt`.

    Args:
        directory: Path of the run.
        config: Config from `resumable`.
        data_sha256: str, the `data.fingerprint` of the data now, which must equal that of the run.
        backbone_sha256: str, the checksum of the files of the backbone now, which must equal that of the run; None if it
            is not needed any more.

    Yields:
        Path, the directory.

    Raises:
        InputError: the run was started with other data or another backbone, or another process trains in the directory.
    """
    before = files.read_json(directory / "environment.json")
    if before["data_sha256"] != data_sha256:
        raise InputError(
            f"a run can only be resumed with the data that it was started with. Received: at {config.data.path!r}, files were "
            f"added, removed or changed since {str(directory)!r} was started. Restore them, or train a new run."
        )
    # Runs of earlier versions have no checksum of their backbone.
    if backbone_sha256 is not None and before.get("backbone_sha256") not in (None, backbone_sha256):
        where = config.model.from_run or config.model.backbone
        raise InputError(
            f"a run can only be resumed with the backbone that it was started with. Received: the files of {where!r} have "
            f"changed since {str(directory)!r} was started. Restore them, or train a new run."
        )
    with locks.locked(directory, "training in"), logged(directory):
        files.remove_leftovers(directory)
        files.write_text(directory / "config.yaml", configs.dump(config))
        logger.info("resuming the run")
        now = runtime.record()
        for name in [name for name in now if name not in ("command", "git") and now[name] != before.get(name)]:
            logger.warning(
                "%s was %s and is now %s: the last digits of the result may differ", name, before.get(name), now[name]
            )
        yield directory


def resumable(directory: str | Path, config: configs.Config | None = None) -> configs.Config:
    """Returns the config to resume a stopped run with.

    Args:
        directory: str or Path of the run.
        config: Config to resume with, or None for the run's own. Only the keys in `RESUME_MAY_CHANGE` may differ from the
            run's own config. "auto" and "measure" in `runtime.precision` and `runtime.jit_compile` take what the run has
            chosen, and "auto" in `model.backbone` and `fit.steps_per_execution` that of the run.

    Returns:
        Config.

    Raises:
        FileNotFoundError: `directory` does not exist or has no `config.yaml`.
        InputError: the run is finished, or `config` differs in a key that must not change.
    """
    directory = _run_path(directory)
    own = configs.load(directory / "config.yaml")
    if (directory / "finished.json").is_file():
        if configs.folds.trains_all(own):
            raise InputError(
                f"the cross-validation in {str(directory)!r} is finished and cannot be resumed. To train the final model: "
                f"{configs.folds.final_command(own, directory)}"
            )
        raise InputError(
            f"the run in {str(directory)!r} is finished and cannot be resumed. Its model is "
            f"{str(directory / 'model.keras')!r}. To train it further, start a new run: `kerastrain train --from {directory}`."
        )
    if not configs.folds.trains_all(own):  # A run of an earlier version has an "auto" that was Keras's rule.
        own = configs.automatic.unmeasured(own)
    if config is None:
        return own
    # The run's own choices stay, because another choice would change the result.
    measured = {name: getattr(own.runtime, name) for name in configs.automatic.open_keys(config)}
    chosen = {"backbone": own.model.backbone} if config.model.backbone == configs.AUTO_BACKBONE else {}
    config = config.model_copy(
        update={
            "runtime": config.runtime.model_copy(update=measured),
            "fit": config.fit.model_copy(update=_executions(config, own)),
            "model": config.model.model_copy(update=chosen),
        }
    )
    differences = [
        f"{key}={shown(value)} (in the run {shown(own_value)})"
        for (key, value), (_, own_value) in zip(_values(config), _values(own), strict=True)
        if value != own_value and key not in RESUME_MAY_CHANGE
    ]
    if differences:
        raise InputError(
            f"a run can only be resumed with the config that it was started with. Received: {', '.join(differences)}. Remove "
            "these keys, or train a new run."
        )
    return config


def _executions(config: configs.Config, own: configs.Config) -> dict:
    """The run's own steps per execution, which change no result, where a config leaves them open."""
    return {"steps_per_execution": own.fit.steps_per_execution} if config.fit.steps_per_execution == "auto" else {}


def finish(directory: Path, seconds: float) -> None:
    """Marks a run as finished and removes the checkpoints to resume from.

    Args:
        directory: Path of the run, all of whose files are written.
        seconds: float >= 0, wall-clock time of the process that finished it, in seconds.
    """
    files.write_json(directory / "finished.json", {"seconds": round(seconds, 3)})
    if resume_folder(directory).exists():
        files.remove(resume_folder(directory))


def resume_folder(directory: Path) -> Path:
    """Returns the folder of the checkpoints that a stopped run resumes from.

    Args:
        directory: Path of the run.

    Returns:
        Path; it may not exist.
    """
    return directory / "checkpoints" / "resume"


def load(directory: str | Path, *, allow_modules: bool = False) -> Run:
    """Loads a finished run.

    Args:
        directory: str or Path of the run.
        allow_modules: bool, whether to trust the Hub modules inside the model, which are programs, even if the user never
            trained with them. Trusted modules are remembered (see `kerastrain.hub.trust`).

    Returns:
        Run.

    Raises:
        FileNotFoundError: `directory` does not exist or has no `config.yaml`.
        InputError: the run has no `model.keras`, because it was stopped before the end of training or trains every fold.
    """
    directory = _run_path(directory)
    config = configs.load(directory / "config.yaml")
    configs.folds.require_one_model(config, directory)
    if not (directory / "model.keras").is_file():
        raise InputError(
            f"the run in {str(directory)!r} was stopped before its training finished. Resume it with `kerastrain train "
            f"--resume {directory}`."
        )
    logger.info("loading the model of %s", directory)
    model = models.load(directory / "model.keras", allow_modules=allow_modules)
    run = Run(directory, _as_trained(config, model), model)
    if allow_modules:
        remember_modules(run.model)
    return run


def _as_trained(config: configs.Config, model: keras.Model) -> configs.Config:
    """The config with the pixel range that was found from the data and is stored in the model."""
    if config.data.kind != "images":
        return config
    decoding = vars(models.decoding(model))
    return config.model_copy(update={"data": config.data.model_copy(update=decoding)})


def remember_modules(model: keras.Model) -> None:
    """Remembers the Hub modules in a model as trusted, so that files that contain them can be opened again.

    Args:
        model: keras.Model.
    """
    for layer in freezing.every_layer(model):
        if isinstance(layer, HubLayer):
            trust.remember(layer.fingerprint)


def _run_path(directory: str | Path) -> Path:
    """Returns the path of an existing run directory."""
    return report.run_folder(directory)


def _values(config: configs.Config) -> list[tuple[str, object]]:
    """Returns every key of a config with its value, such as ("fit.epochs", 5)."""
    return [
        (f"{section}.{key}", value)
        for section, values in config.model_dump(mode="json").items()
        for key, value in values.items()
    ]


@contextlib.contextmanager
def logged(directory: Path) -> Iterator[None]:
    """Context manager in which the logger "kerastrain" is copied to a file.

    Args:
        directory: Path of an existing folder, for `log.txt`.

    Yields:
        None.
    """
    handler = logging.FileHandler(directory / "log.txt", encoding="utf-8")
    handler.setFormatter(PrintableFormatter("%(asctime)s %(message)s", datefmt="%Y-%m-%d %H:%M:%S"))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
