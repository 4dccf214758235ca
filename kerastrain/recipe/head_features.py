"""The features of a frozen backbone on which the head trains: how many views of each image, and where they are kept.

Takes the model, the config and the data of a run; returns examples of features. Must not train.
"""

import dataclasses
import hashlib
import json
import logging
import math
import sys
from pathlib import Path

import keras
import tensorflow as tf

from kerastrain import data, distribute, models
from kerastrain.backbones import constant_pass
from kerastrain.config import Config
from kerastrain.distribute import collectives
from kerastrain.errors import InputError
from kerastrain.recipe import plan
from kerastrain.system import files, folders, resources, stopwatch
from kerastrain.train_step import folded_norms

logger = logging.getLogger("kerastrain")

_MEMORY_FRACTION = 0.5  # of the free memory; the batches, the head and other programs need some, too


@dataclasses.dataclass(frozen=True)
class Places:
    """Folders in which features may be kept.

    Args:
        shared: Path of a folder in which several trainings on the same data share the features of a backbone that they
            have in common; None to compute them for this training.
        spill: Path of a folder for features of images that do not fit into memory; None if there is none.
    """

    shared: Path | None = None
    spill: Path | None = None


def view_count(config: Config, phase: plan.Phase) -> int:
    """Returns the number of views of each training image on which the head trains.

    Args:
        config: Config.
        phase: plan.Phase of the head.

    Returns:
        int >= 1: `fit.head_views`, or the number of epochs if that is smaller.
    """
    return min(config.fit.head_views, phase.trained_epochs)


@stopwatch.timed("features")
def computed(
    features: keras.Model, config: Config, split: data.Split, phase: plan.Phase, places: Places
) -> tuple[list[data.Examples], keras.Model]:
    """Computes the features of the train and validation parts, or reads those that another training has computed.

    Args:
        features: keras.Model from the inputs to the features, as from `models.split_at_backbone`.
        config: Config.
        split: data.Split.
        phase: plan.Phase of the head.
        places: Places.

    Returns:
        tuple of a list of data.Examples of features: of `view_count` views of each training image, and of the examples of the
        validation part, if there is one, as they are; and of the keras.Model that computed them, see `inference_model`.

    Raises:
        InputError: the features fit neither into memory nor on the disk.
    """
    views = view_count(config, phase)
    parts = [(split.train, views)] + ([] if split.validation is None else [(split.validation, 1)])
    if distribute.is_chief():
        logger.info("computing the backbone's features of %s", _described(split, views))
    sizes = [4 * count * len(part) * math.prod(features.output_shape[1:]) for part, count in parts]
    is_large = config.data.kind == "images" and sum(sizes) > resources.available_bytes() * _MEMORY_FRACTION
    shares = places.shared is not None and features.distribute_strategy.num_replicas_in_sync == 1
    folder = places.shared if shares else _spill(sum(sizes), config, places, features) if is_large else None
    extract = inference_model(features)  # traced once for both parts
    if folder is None:
        return [_features(features, extract, part, config, count) for part, count in parts], extract
    # Before any is computed, because a model's description changes when it predicts for the first time.
    digest = _digest(features, config, split, views)
    paths = [folder / f"{digest}_{number}.npy" for number in range(len(parts))]
    if folder == places.spill:
        folders.require_room(
            folder,
            sum(size for size, path in zip(sizes, paths, strict=True) if not path.is_file()),
            writer="the training of the head",
            advice="Free some space or memory, set --run to a folder on another disk, or lower fit.head_views.",
        )
    try:
        return [
            _features(features, extract, part, config, count, path, streamed=is_large)
            for (part, count), path in zip(parts, paths, strict=True)
        ], extract
    except files.WriteError as error:
        if folder == places.spill:
            raise
        logger.warning("the features are not shared with other trainings, but computed again: %s", error)
        return computed(features, config, split, phase, dataclasses.replace(places, shared=None))


def inference_model(features: keras.Model) -> keras.Model:
    """Makes the pass of a backbone that does not train meanwhile as fast as is known; see docs/acceleration.md.

    Args:
        features: keras.Model.

    Returns:
        keras.Model for inference with the weights of this moment.
    """
    return constant_pass.inference_model(folded_norms.inference_model(features))


def remove_spilled(folder: Path) -> None:
    """Removes the features that did not fit into memory.

    Args:
        folder: Path, `Places.spill`, which need not exist.
    """
    if folder.is_dir():
        files.remove(folder)


def _described(split: data.Split, views: int) -> str:
    if views == 1:
        return f"{len(split.train) + len(split.validation or ()):,} examples"
    rest = "" if split.validation is None else f" and of {len(split.validation):,} validation images"
    return f"{views} views of {len(split.train):,} images{rest}"


def _spill(size: int, config: Config, places: Places, features: keras.Model) -> Path | None:
    """Returns the folder of features that do not fit into memory; None to keep those of one view there nevertheless."""
    why = f"the features of the backbone take {size / 1e6:,.0f} MB, more than half of the free memory"
    if places.spill is not None and collectives.worker_count(features.distribute_strategy) == 1:
        logger.info("%s: until the head is trained, they are in a file", why)
        return places.spill
    if config.fit.head_views > 1:
        raise InputError(f"{why}. Received: fit.head_views={config.fit.head_views}. Lower it, or free some memory.")
    return None


def _features(
    features: keras.Model,
    extract: keras.Model,
    part: data.Examples,
    config: Config,
    views: int,
    path: Path | None = None,
    *,
    streamed: bool = False,
) -> data.Examples:
    """Returns the features of a part of the data, computed by `extract` or read from `path`."""
    batch_size = config.evaluation.batch_size
    if views > 1 or streamed:
        augment = data.augment(**config.data.augment.named) if views > 1 else None
        options = {"views": views, "augment": augment, "seed": config.runtime.seed, "path": path}
        return data.feature_views.precompute_views(extract, part, batch_size, **options)
    lengths = models.text_lengths(features, part.inputs)
    if path is None:
        return data.features.precompute(extract, part, batch_size, lengths=lengths)
    return data.features.precompute_once(path, extract, part, batch_size, lengths=lengths)


def _digest(features: keras.Model, config: Config, split: data.Split, views: int) -> str:
    """Names the features of a split: by the model with its weights, the data, how they are read, and the versions."""
    digest = hashlib.sha256(features.to_json().encode())
    for weight in features.weights:
        digest.update(keras.ops.convert_to_numpy(weight).tobytes())
    versions = [sys.modules["kerastrain"].__version__, tf.__version__, keras.__version__]
    settings = [config.data.model_dump(mode="json"), config.evaluation.batch_size, data.fingerprint(split), versions]
    if views > 1:  # One view has no random numbers, and is the same under all seeds.
        settings += [views, config.runtime.seed]
    digest.update(json.dumps(settings).encode())
    return digest.hexdigest()[:32]
