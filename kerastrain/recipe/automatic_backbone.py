"""Chooses the backbone of `model.backbone=auto` by the size of the images.

Takes a `Config`; returns it with the name of a backbone. Must not import TensorFlow.
"""

import logging
import statistics
from pathlib import Path

from kerastrain import config as configs
from kerastrain import data
from kerastrain.config import AUTO_BACKBONE, Config
from kerastrain.data.image_files import original_sizes
from kerastrain.distribute import cluster
from kerastrain.recipe import plan

PHOTOS = "kerastrain:efficientnet_lite0"
TINY_IMAGES = "kerastrain:fractal_small"

LARGEST_TINY_SIDE = 40
"""The largest shorter side, in pixels, of images that count as tiny: digits, Fashion-MNIST and CIFAR have up to 32.

Enlarged from 32 to the 224 pixels of the network for photos, they would have 49 times as many pixels to compute.
"""

logger = logging.getLogger("kerastrain")


def resolved(config: Config) -> Config:
    """Returns the config with the name of a backbone in place of "auto", and logs the choice in the chief process.

    Args:
        config: Config. It is returned as it is if its `model.backbone` is not "auto".

    Returns:
        Config.

    Raises:
        InputError: the data cannot be listed, or the run of `model.from_run` cannot be read.
        FileNotFoundError: there are no data at their path.
    """
    config, sentence = choose(config)
    worker = cluster.from_environment()
    if sentence is not None and (worker is None or worker.is_chief):
        logger.info("%s", sentence)
    return config


def choose(config: Config, listing: data.Listing | None = None) -> tuple[Config, str | None]:
    """Returns the config with the name of a backbone in place of "auto", and the reason.

    Images whose shorter side is at most `LARGEST_TINY_SIDE` pixels get `TINY_IMAGES`, all others `PHOTOS`. What counts is
    `data.image_size` if it is set, and else the median of at most 32 images. A run that starts from another one has its
    backbone.

    Args:
        config: Config.
        listing: data.Listing of its data, as from `plan.listing`; None lists them if necessary.

    Returns:
        (Config, str or None): the config, and a sentence; None if there was nothing to choose.

    Raises:
        InputError: as for `resolved`.
        FileNotFoundError: as for `resolved`.
    """
    if config.model.backbone != AUTO_BACKBONE:
        return config, None
    if config.model.from_run is not None:
        start = configs.load(Path(config.model.from_run) / "config.yaml")
        return _with_backbone(config, start.model.backbone), None
    if config.data.image_size is not None:
        side, reason = min(config.data.image_size), "the shorter side of data.image_size is {:,.0f} pixels"
    else:
        listing = plan.listing(config) if listing is None else listing
        sides = original_sizes.shorter_sides(listing.examples.inputs)
        side = statistics.median(sides) if sides else None
        number = "the only image" if len(sides) == 1 else f"{len(sides)} images of the data"
        reason = f"the median of the shorter sides of {number} is {{:,.0f}} pixels"
    if side is None:
        name, reason = PHOTOS, "no image of a sample could be opened"
    elif side <= LARGEST_TINY_SIDE:
        name, reason = TINY_IMAGES, f"{reason.format(side)}, and up to {LARGEST_TINY_SIDE} count as tiny"
    else:
        name, reason = PHOTOS, f"{reason.format(side)}, more than the {LARGEST_TINY_SIDE} of tiny images"
    return _with_backbone(config, name), f"model.backbone={AUTO_BACKBONE}: {name}, because {reason}"


def _with_backbone(config: Config, name: str) -> Config:
    return config.model_copy(update={"model": config.model.model_copy(update={"backbone": name})})
