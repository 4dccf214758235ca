"""Trains a language model and measures its validation part: what a comparison of settings needs of a run, and no more.

Takes a `Config` and the folder of a run; writes its history, model and measures. No answers are written, nothing is exported, and
the test part is not touched.
"""

import logging
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from kerastrain import models
from kerastrain.callbacks.epoch_report import OnEpoch
from kerastrain.config import Config
from kerastrain.language import batches
from kerastrain.recipe import backbone_files, best_phase, language_data, language_pairs, language_run
from kerastrain.runtime import seed
from kerastrain.system import files, signals

logger = logging.getLogger("kerastrain")

_PART = "validation"


def train_and_measure(
    strategy: tf.distribute.Strategy,
    config: Config,
    directory: Path,
    open_directory: Callable,
    *,
    on_epoch: OnEpoch,
    on_begin: Callable[[Config, int], None],
    on_trained: Callable[[best_phase.BestEpoch], None],
) -> tuple[keras.Model, dict[str, dict]]:
    """Trains the language model of a config from its newest checkpoint on, and measures the validation part.

    Args:
        strategy: tf.distribute.Strategy of one worker.
        config: Config with data.kind chat or language.
        directory: Path of the run.
        open_directory: `run_directory.create` or `run_directory.reopen`.
        on_epoch: callable as for `language_run.fit`.
        on_begin: callable that gets the config with all values and the number of training sequences, before the training; it is
            not called for a model that is trained already.
        on_trained: callable that gets the BestEpoch, after the training and before the model is saved.

    Returns:
        (keras.Model, dict from "validation" to its measures, as in `metrics.json`; empty without such a part).

    Raises:
        InputError: the data or the model cannot be used.
        Paused: `on_epoch` said so.
        Stopped: a signal arrived; the state is saved.
    """
    seed(config.runtime.seed, deterministic=config.runtime.deterministic)
    origin = language_data.source(config, fetched=True)
    config = language_data.with_rate(config, origin.network)
    loaded = language_data.load(config, origin)
    parts = {name: batches.Sequences(*arrays) for name, arrays in loaded.arrays.items()}
    pairs = language_pairs.pairs_of(loaded)
    saved = directory / "model.keras"
    is_trained = saved.exists()
    with strategy.scope():
        model = models.load(saved) if is_trained else language_run.build(config, origin)
    digests = {"data_sha256": loaded.fingerprint}
    if not is_trained:
        digests["backbone_sha256"] = backbone_files.sha256(config)
    with open_directory(directory, config, **digests):
        pairs = language_pairs.with_reference(model, pairs, config, directory)
        if not is_trained:
            language_run.write_source(origin, directory, config.model.from_run)
            on_begin(config, len(parts["train"]))
            on_trained(language_run.fit(model, config, origin, pairs or parts, directory, on_epoch=on_epoch))
            with files.atomic(saved) as temporary:
                keras.Model(model.inputs, model.outputs, name=model.name).save(temporary)
        if strategy.num_replicas_in_sync > 1:
            model = models.load(saved)  # measured on one device, where it will be used
        signals.raise_if_pending()
        wanted = {_PART: parts[_PART]} if _PART in parts else {}
        measures = language_run.measured(model, wanted, batch_size=config.evaluation.batch_size)
        measures = language_pairs.add_measures(measures, model, pairs, config)
        files.write_json(directory / "metrics.json", measures)
    return model, measures
