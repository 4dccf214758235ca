"""The pairs of answers of a run with fit.objective=dpo, and what the pretrained model thinks of them.

Takes the data of a language model and the folder of a run; returns `Preferences` and measures. Must not train.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from kerastrain import distribute, run_directory
from kerastrain.config import Config
from kerastrain.errors import InputError
from kerastrain.language import adapters, batches, preferences
from kerastrain.language.preferences import Preferences
from kerastrain.recipe.language_data import LanguageData
from kerastrain.system import files

logger = logging.getLogger("kerastrain")

_REFERENCE_FILE = "reference.npz"  # beside the checkpoints, as a resumed run must compare with the same numbers


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
        InputError: the file of a stopped run is missing, and its model has no adapters any more.
    """
    path = run_directory.resume_folder(directory) / _REFERENCE_FILE
    if not pairs:
        return {}
    if path.is_file():
        with np.load(path) as stored:
            found = dict(stored)
    elif not adapters.pairs(model):
        raise InputError(
            f"`{path}` must hold what the pretrained model thinks of the answers. Received: no such file, and the adapter is "
            "merged. Train a new run."
        )
    else:
        if distribute.is_chief():
            count = 2 * sum(map(len, pairs.values()))
            logger.info("computing the log-probabilities of %s answers without the adapter", f"{count:,}")
        # All parts at once, as TensorFlow traces the model anew for each call.
        parts = pairs.values()
        whole = Preferences(
            *(batches.concatenated(getattr(part, side) for part in parts) for side in ("chosen", "rejected"))
        )
        whole = preferences.with_reference(model, whole, batch_size=config.evaluation.batch_size)
        ends = np.cumsum([len(part) for part in parts])
        found = dict(zip(pairs, np.split(whole.reference, ends[:-1]), strict=True))
        if distribute.is_chief():
            path.parent.mkdir(parents=True, exist_ok=True)
            with files.atomic(path) as temporary, open(temporary, "wb") as file:
                np.savez(file, **found)
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
