"""Prepares a run: strategy, seed, backbone, data, and the measured choice of precision and XLA.

Takes a `Config`, returns a frozen `Prepared`. Must not train, and must not write files.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from kerastrain import data
from kerastrain.config import Config, automatic
from kerastrain.recipe.building import (
    Prepared,
    load_data,
    load_network,
    make_strategy,
    prepare_unmeasured,
)
from kerastrain.recipe.precision_and_xla import with_measured_precision
from kerastrain.system import stopwatch


@stopwatch.timed("building the model")
def prepare(
    config: Config,
    *,
    strategy: tf.distribute.Strategy | None = None,
    load: Callable[[Config, tuple[int, int] | None], data.Split] = load_data,
    start_path: Path | None = None,
) -> Prepared:
    """Makes the strategy, sets the seed, loads the backbone and the data, and measures what `runtime` leaves open.

    The model is built afterwards by `Prepared.build`, because a resumed run loads it from a file instead.

    Args:
        config: Config.
        strategy: tf.distribute.Strategy that was made before; None makes that of `config`.
        load: callable that returns the data.Split for a config and an image size, such as a cached `load_data`.
        start_path: Path of a copy of the model to start from; None for that of `model.from_run`, if it is set.

    Returns:
        Prepared, whose config has no "auto" and no "measure" where a run chooses for itself.

    Raises:
        InputError: the devices, the data or the backbone cannot be used, or "measure" is set for several devices.
        FileNotFoundError: the path of the data does not exist.
    """
    strategy = make_strategy(config) if strategy is None else strategy
    prepared = prepare_unmeasured(config, strategy, load, start_path=start_path)
    with prepared.strategy.scope():
        config, timings = with_measured_precision(prepared.config, prepared.split, prepared.backbone)
        if not timings and config.runtime.precision == automatic.used_precision(prepared.config):
            return dataclasses.replace(prepared, config=config)
        # The backbone has to be loaded again in the precision that was chosen.
        backbone, start = load_network(config, start_path)
    return dataclasses.replace(prepared, config=config, backbone=backbone, timings=timings, start=start)
