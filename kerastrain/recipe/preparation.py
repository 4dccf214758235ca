"""Prepares a run: strategy, seed, backbone, data, and the measured choice of precision and XLA.

Takes a `Config`, returns a frozen `Prepared`. Must not train, and must not write files.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from kerastrain import data
from kerastrain.config import Config
from kerastrain.recipe.building import Prepared, load_backbone, load_data, make_strategy, prepare_unmeasured
from kerastrain.recipe.precision_and_xla import with_measured_precision


def prepare(
    config: Config,
    *,
    strategy: tf.distribute.Strategy | None = None,
    load: Callable[[Config, tuple[int, int] | None], data.Split] = load_data,
) -> Prepared:
    """Makes the strategy, sets the seed, loads the backbone and the data, and measures what `runtime` leaves open.

    The model is built afterwards by `Prepared.build`, because a resumed run loads it from a file instead.

    Args:
        config: Config.
        strategy: tf.distribute.Strategy that was made before; None makes that of `config`.
        load: callable that returns the data.Split for a config and an image size, such as a cached `load_data`.

    Returns:
        Prepared, whose config has no "measure".

    Raises:
        InputError: the devices, the data or the backbone cannot be used, or "measure" is set for several devices.
        FileNotFoundError: the path of the data does not exist.
    """
    prepared = prepare_unmeasured(config, make_strategy(config) if strategy is None else strategy, load)
    with prepared.strategy.scope():
        config, timings = with_measured_precision(config, prepared.split)
        if not timings:
            return prepared
        # The backbone has to be loaded again in the precision that was chosen.
        backbone = prepared.backbone and load_backbone(config)
    return dataclasses.replace(prepared, config=config, backbone=backbone, timings=timings)
