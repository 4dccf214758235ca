"""The pairs of answers of a run with fit.objective=dpo, and what the pretrained model thinks of them.

Takes the data of a language model and the folder of a run; returns `Preferences` and measures. Must not train.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from kerastrain import distribute
from kerastrain.config import Config
from kerastrain.errors import InputError
from kerastrain.language import adapters, batches, preferences
from kerastrain.language.preferences import Preferences
from kerastrain.recipe.language_data import LanguageData
from kerastrain.system import files

logger = logging.getLogger("kerastrain")

REFERENCE_FILE = "reference.npz"
"""The log-probabilities of all answers under the pretrained model, with which a resumed or measured run compares."""


def pairs_of(loaded: LanguageData) -> dict[str, Preferences]:
    """The pairs of each part of the data.

    Args:
        loaded: LanguageData.

    Returns:
        dict from the names of the parts to Preferences without a reference; empty unless fit.objective is dpo.
    """
    return {
        name: Preferences(batches.Sequences(*loaded.arrays[name]), batches.Sequences(*arrays))
        for name, arrays in loaded.rejected.items()
    }


def with_reference(
    model: keras.Model, pairs: Mapping[str, Preferences], config: Config, directory: Path
) -> dict[str, Preferences]:
    """Computes the log-probabilities of all answers under the pretrained model, or reads those of a stopped run.

    Args:
        model: keras.Model, with its adapters.
        pairs: mapping from the names of the parts to Preferences.
        config: Config.
        directory: Path of the run.

    Returns:
        dict from the names of the parts to Preferences with `reference`.

    Raises:
        InputError: the file of a trained run is missing.
    """
    path = directory / REFERENCE_FILE
    if pairs and not path.is_file() and adapters.pairs(model):
        if distribute.is_chief():
            count = 2 * sum(map(len, pairs.values()))
            logger.info("computing the log-probabilities of %s answers without the adapter", f"{count:,}")
        # All parts at once, because each call traces the model again.
        parts = pairs.values()
        whole = Preferences(
            *(batches.concatenated(getattr(part, side) for part in parts) for side in ("chosen", "rejected"))
        )
        whole = preferences.with_reference(model, whole, batch_size=config.evaluation.batch_size)
        ends = np.cumsum([len(part) for part in parts])
        found = dict(zip(pairs, np.split(whole.reference, ends[:-1]), strict=True))
        if distribute.is_chief():
            with files.atomic(path) as temporary, open(temporary, "wb") as file:
                np.savez(file, **found)
        return _referenced(pairs, found)
    return stored(pairs, directory)


def stored(pairs: Mapping[str, Preferences], directory: Path) -> dict[str, Preferences]:
    """Reads the log-probabilities of a run under the pretrained model.

    Args:
        pairs: mapping from the names of the parts to Preferences, the same as in the run.
        directory: Path of the run.

    Returns:
        dict from the names of the parts to Preferences with `reference`.

    Raises:
        InputError: the run has no such file.
    """
    if not pairs:
        return {}
    path = directory / REFERENCE_FILE
    if not path.is_file():
        raise InputError(
            f"`{path}` must hold what the pretrained model thinks of the answers. Received: no such file. Train a new run."
        )
    with np.load(path) as found:
        return _referenced(pairs, found)


def _referenced(pairs: Mapping[str, Preferences], found: Mapping[str, np.ndarray]) -> dict[str, Preferences]:
    return {name: Preferences(part.chosen, part.rejected, found[name]) for name, part in pairs.items()}


def add_measures(
    measures: Mapping[str, dict], model: keras.Model | None, pairs: Mapping[str, Preferences], config: Config
) -> dict[str, dict]:
    """Adds how clearly a model prefers the chosen answers to the measures of each part.

    Args:
        measures: mapping from the names of parts to measures.
        model: keras.Model; None for the pretrained one.
        pairs: mapping from the names of parts to Preferences with `reference`; empty unless fit.objective is dpo.
        config: Config.

    Returns:
        dict from the names of the parts to measures, with "preference", see `preferences.measure`, where there are pairs.
    """
    options = {"beta": config.fit.dpo_beta, "batch_size": config.evaluation.batch_size}
    return {
        name: {**record, "preference": preferences.measure(model, pairs[name], **options)} if name in pairs else record
        for name, record in measures.items()
    }
