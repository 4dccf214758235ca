"""Measures the language model of a finished run on its own data and on other data, before and after its training.

Takes a `Run` and paths of data; returns measures. Must not change the model.
"""

import datetime
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import keras

from kerastrain.config import Config
from kerastrain.data.image_files import quarantine
from kerastrain.errors import InputError
from kerastrain.language import batches, preferences
from kerastrain.language.preferences import Preferences
from kerastrain.recipe import backbone_files, language_data, language_pairs, language_run
from kerastrain.run_directory import Run
from kerastrain.system import files

logger = logging.getLogger("kerastrain")


def evaluate(
    run: Run, places: Mapping[str, str], *, config: Config, on_fault: Callable[[str], None] | None = None
) -> dict[str, dict]:
    """Measures a language model on other data, or on the parts of its own; what `evaluating.evaluate` does of one.

    Other data are also measured with the model that the training began with, so that what was forgotten shows, if it is
    still where it was.

    Args:
        run: Run of a language model.
        places: mapping from a name to a path as in `data.path`; the run's own parts are measured if it is empty.
        config: Config that says how data are read.
        on_fault: as for `evaluating.evaluate`.

    Returns:
        dict from each name to its measures, with "before" where they are known.

    Raises:
        InputError: data cannot be used, and `on_fault` is None.
        FileNotFoundError: a path does not exist, and `on_fault` is None.
    """
    origin = language_data.of_run(run.directory, config)
    if not places:
        return _own(run, config, origin)
    parts, pairs = {}, {}
    for name, place in places.items():
        try:
            arrays, rejected, skipped = language_data.load_other(config, origin, place, name)
        except (InputError, OSError) as error:
            if on_fault is None:
                raise
            on_fault(f"{name}: {error}")
            continue
        parts[name] = batches.Sequences(*arrays)
        if rejected is not None:
            pairs[name] = Preferences(parts[name], batches.Sequences(*rejected))
        for item in skipped if on_fault else ():
            if item.kind not in quarantine.REPEATS:
                on_fault(f"{name}: skipped {item.path}: {item.reason}")
    if not parts:
        return {}
    measures = language_run.measured(run.model, parts, batch_size=config.evaluation.batch_size)
    if (earlier := _earlier_model(run)) is not None:
        logger.info("measuring the model before the training")
        before = language_run.measured(earlier, parts, batch_size=config.evaluation.batch_size)
        # A run on preferences is compared with the model that it began with.
        size = config.evaluation.batch_size
        pairs = {name: preferences.with_reference(earlier, each, batch_size=size) for name, each in pairs.items()}
        measures = language_pairs.add_measures(measures, run.model, pairs, config)
        before = language_pairs.add_measures(before, None, pairs, config)
        measures = language_run.with_before(measures, before)
    for name, measured in measures.items():
        place = places[name]
        measured["data"] = {
            "path": place if place.startswith("hf:") else str(Path(place).absolute()),
            "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "shared": None,  # with the data of the run; a language model does not record its examples
        }
    return measures


def _own(run: Run, config: Config, origin: language_data.LanguageSource) -> dict[str, dict]:
    loaded = language_data.load(config, origin)
    parts = {name: batches.Sequences(*arrays) for name, arrays in loaded.arrays.items()}
    sets = {name: part for name, part in parts.items() if name in config.evaluation.sets}
    measures = language_run.measured(run.model, sets, batch_size=config.evaluation.batch_size)
    if _environment(run)["data_sha256"] != loaded.fingerprint:
        logger.warning(
            "the data are read otherwise than in the training, so there are no measures of the model before it"
        )
        return measures
    pairs = language_pairs.stored(language_pairs.pairs_of(loaded), run.directory)
    measures = language_pairs.add_measures(measures, run.model, pairs, config)
    before = files.read_json(run.directory / language_run.BEFORE_FILE)["measures"]
    return language_run.with_before(measures, before)


def _earlier_model(run: Run) -> keras.Model | None:
    """The model that the training began with; None if it is not there any more, which is logged."""
    where = run.config.model.from_run or run.config.model.backbone
    try:
        origin = language_data.source(run.config, fetched=True)
        if backbone_files.sha256(run.config) != _environment(run)["backbone_sha256"]:
            raise InputError("its files have changed")
        return language_run.build(run.config, origin)
    except (InputError, OSError) as error:
        logger.warning("the model before the training, %s, is not measured: %s", where, error)
        return None


def _environment(run: Run) -> dict:
    return files.read_json(run.directory / "environment.json")
