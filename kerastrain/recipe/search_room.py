"""The space on disk that a search takes, estimated before it starts.

Takes the configs of a search; returns a record, or raises an error. Must not import TensorFlow, and must not build models: their
sizes are those of their files, or known for the networks of Keras.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

from kerastrain.config import Config, SearchConfig
from kerastrain.hub.handles import split_pin
from kerastrain.recipe import networks, run_room, trial_config
from kerastrain.system import folders
from kerastrain.tuning.space import Space

_TRIAL_BYTES = 400_000  # what a trial leaves besides its model: history, logs, TensorBoard, measures, predictions
_SEARCH_BYTES = 1_000_000  # journal, tables, page
_WEIGHT_BYTES = 4
_FEATURE_BYTES = 2048 * 4  # of an example, by the widest of the usual backbones
_SLOTS = {
    "sgd": 1,
    "adafactor": 1,
    "lion": 1,
    "muon": 1,
    "adagrad": 1,
    "rmsprop": 1,
    "ftrl": 2,
    "schedule_free_adamw": 2,
}
_USUAL_SLOTS = 2  # of adam and its kin
_OF_TEXTS = {
    "ngrams": (60_000, 16),
    "embedding": (30_000, 32),
    "transformer": (30_000, 64),
}  # largest vocabulary, embedding


@dataclasses.dataclass(frozen=True)
class Room:
    """The space on disk that a search takes.

    Args:
        running_bytes: int >= 0, for the checkpoints of the trials that train at a time.
        paused_bytes: int >= 0, for those of the trials that wait, under halving and hyperband.
        model_bytes: int >= 0, for the models, and exported files, of the best trials.
        feature_bytes: int >= 0, for the features of frozen backbones, which the trials share.
        other_bytes: int >= 0, for what stays of every trial, and the files of the search.
        trials: int >= 1, the number of trainings that `other_bytes` counts.
        workers: int >= 1, the number of trials at a time.
    """

    running_bytes: int
    paused_bytes: int
    model_bytes: int
    feature_bytes: int
    other_bytes: int
    trials: int
    workers: int

    @property
    def bytes(self) -> int:
        """The sum, in bytes."""
        return self.running_bytes + self.paused_bytes + self.model_bytes + self.feature_bytes + self.other_bytes

    @property
    def sentence(self) -> str:
        """The estimate in one line."""
        running = "the trial that trains" if self.workers == 1 else f"the {self.workers} trials that train at a time"
        parts = [
            (self.running_bytes, f"checkpoints of {running}"),
            (self.paused_bytes, "those of paused trials"),
            (self.model_bytes, "models of the best trials"),
            (self.feature_bytes, "features of frozen backbones"),
            (self.other_bytes, f"histories, logs and predictions of {self.trials:,} trainings"),
        ]
        listed = ", ".join(f"{_megabytes(size)} {what}" for size, what in parts if size)
        return f"about {_megabytes(self.bytes)} at most: {listed}"


def estimate(
    config: Config, search: SearchConfig, *, workers: int = 1, trials: int | None = None, examples: int = 0
) -> Room:
    """Estimates the space on disk that a search takes at most at a time.

    Args:
        config: Config that every trial changes.
        search: SearchConfig.
        workers: int >= 1, the number of trials at a time.
        trials: int >= 1, the number of points, if it is known, such as of a grid or of hyperband; None for that of `search`.
        examples: int >= 0, the number of examples to train and validate on.

    Returns:
        Room. Decoded images, which all runs share in the user's cache folder, do not count.

    Example:
        >>> from kerastrain import config
        >>> search = config.validate({"space": {"model.dropout": [0, 0.2]}, "trials": 5}, config.SearchConfig)
        >>> estimate(config.load(overrides=["model.backbone=keras:MobileNetV2"]), search).sentence
        'about 205 MB at most: 147 MB checkpoints of the trial that trains, 55 MB models of the best trials, 3 MB \
histories, logs and predictions of 5 trainings'
    """
    weights = max(_model_bytes(own) for own in _variants(config, search.space))
    is_whole = config.fit.trains_whole or "fit.epochs" in search.space
    slots = max(_slots(own) for own in _variants(config, search.space)) * weights if is_whole else 0
    state = weights + slots
    points = trials or search.trials or _grid_points(search) or workers
    trainings = points + (search.seeds - 1) * min(search.finalists, points)
    # A checkpoint is written before the oldest is removed; the best epoch and the weights before fine-tuning are beside them.
    running = (config.fit.checkpoints_kept + 2) * state + weights
    is_paused = search.algorithm == "hyperband" or (search.pruning is not None and search.pruning.name == "halving")
    waiting = max(points - workers, 0) if is_paused else 0
    paused = config.fit.checkpoints_kept * state + state + weights
    files_kept = state + run_room.exported_bytes(trial_config.export_formats(trial_config.objectives(search)), weights)
    # The model of a trial is written before that of the trial that it replaces is removed.
    kept = min(search.keep_models + workers, trainings)
    return Room(
        round(min(workers, trainings) * running),
        round(waiting * paused),
        round(kept * files_kept),
        _feature_bytes(config, search) * examples,
        trainings * _TRIAL_BYTES + _SEARCH_BYTES,
        trainings,
        workers,
    )


def require(
    directory: str | Path,
    config: Config,
    search: SearchConfig,
    *,
    workers: int = 1,
    trials: int | None = None,
    examples: int = 0,
) -> Room:
    """Checks that the disk has room for a search.

    Args:
        directory: str or Path of the folder of the search, which may not exist yet.
        config: as for `estimate`.
        search: as for `estimate`.
        workers: as for `estimate`.
        trials: as for `estimate`.
        examples: as for `estimate`.

    Returns:
        Room.

    Raises:
        InputError: less is free than the estimate.
    """
    room = estimate(config, search, workers=workers, trials=trials, examples=examples)
    folders.require_room(
        directory,
        room.bytes,
        writer="the search",
        advice="Free some space, set --out to a folder on another disk, or lower workers, keep_models or fit.checkpoints_kept.",
    )
    return room


def _variants(config: Config, space: Mapping[str, object]) -> Iterable[Config]:
    """The configs with each backbone and each optimizer that is searched, as far as a choice of it alone is a config."""
    own = [config]
    for key in ("model.backbone", "optimizer.name", "model.embedding_dim", "model.vocabulary_size"):
        section, name = key.split(".")
        for value in _choices(space.get(key)):
            part = getattr(config, section).model_copy(update={name: value})
            own.append(config.model_copy(update={section: part}))
    return own


def _choices(entry: object) -> list:
    if isinstance(entry, list):
        return entry
    if entry is None:
        return []
    return list(entry.choices or [entry.max])


def _grid_points(search: SearchConfig) -> int | None:
    return Space(search.parameters, search.constraints).size()


def _slots(config: Config) -> int:
    averages = 1 if config.optimizer.ema_momentum is not None else 0
    return _SLOTS.get(config.optimizer.name, _USUAL_SLOTS) + averages


def _feature_bytes(config: Config, search: SearchConfig) -> int:
    """The size of the features of an example by all backbones that are searched; 0 without a phase that trains only the head."""
    if config.is_language or config.from_scratch or not (config.fit.head_epochs or "fit.head_epochs" in search.space):
        return 0
    views = sum(_choices(search.space.get("fit.head_views"))) or config.fit.head_views
    # One view has no random numbers, so that the seeds share it.
    seeds = search.seeds if views > 1 else 1
    return _FEATURE_BYTES * views * seeds * max(1, len(_choices(search.space.get("model.backbone"))))


def _model_bytes(config: Config) -> int:
    """The size of a model by its files, or by what is known of its network."""
    handle, _ = split_pin(config.model.backbone)
    name = handle.removeprefix("keras:")
    if config.model.from_run is not None:
        return (Path(config.model.from_run) / "model.keras").stat().st_size
    if handle == name:
        return run_room.backbone_bytes(config.model.backbone)
    if name in networks.MILLIONS_OF_PARAMETERS:
        return round(_WEIGHT_BYTES * 1e6 * networks.MILLIONS_OF_PARAMETERS[name] * (config.model.alpha or 1))
    vocabulary, embedding_dim = _OF_TEXTS[name]
    return _WEIGHT_BYTES * (config.model.vocabulary_size or vocabulary) * (config.model.embedding_dim or embedding_dim)


def _megabytes(size: int) -> str:
    return f"{max(size / 1e6, 1):,.0f} MB"
