"""Finds settings before a run: the learning rate, the batch size, and where the memory of a step goes.

Takes a `Config`, builds its model and data, and returns records of the finders. Keeps no model and no files.
"""

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from kerastrain import data, finders, memory, runtime
from kerastrain.config import Config
from kerastrain.errors import InputError, unknown
from kerastrain.recipe import head_features, language_requirements, language_run, plan, tracked_runs
from kerastrain.recipe.building import prepare_unmeasured
from kerastrain.recipe.compiling import compiled
from kerastrain.recipe.fitting import fit_phase
from kerastrain.recipe.stages import Stage, staged, training_batches

logger = logging.getLogger("kerastrain")


@data.surface_read_errors()
def find_learning_rate(config: Config, phase_name: str | None = None) -> tuple[plan.Phase, finders.RangeTest]:
    """Runs the learning rate range test at the start of a phase. Earlier phases are trained first.

    Args:
        config: Config.
        phase_name: str, such as "fine_tune"; None for the first phase.

    Returns:
        (plan.Phase, finders.RangeTest): the phase and its range test.

    Raises:
        InputError: the config has no such phase, or the data or the backbone cannot be used.
    """
    stage, phase = _stage(config, phase_name, default_index=0, train_earlier=True)
    logger.info("testing learning rates in phase %s", phase.name)
    return phase, finders.learning_rate(stage.model, training_batches(stage, config, phase, start_step=0))


@data.surface_read_errors()
def find_batch_size(config: Config, phase_name: str | None = None) -> tuple[plan.Phase, finders.BatchSizes]:
    """Measures which batch sizes fit into memory in a phase, and which one is the fastest.

    Args:
        config: Config.
        phase_name: str, such as "fine_tune"; None for the last phase, which trains the most weights.

    Returns:
        (plan.Phase, finders.BatchSizes): the phase and the measurements.

    Raises:
        InputError: the config has no such phase or is of a language model, or the data or the backbone cannot be used.
    """
    language_requirements.refuse(config, "find batch-size")
    stage, phase = _stage(config, phase_name, default_index=-1, train_earlier=False)
    logger.info("trying batch sizes in phase %s", phase.name)
    return phase, finders.batch_size(stage.model, stage.train)


@data.surface_read_errors()
def find_memory(config: Config, phase_name: str | None = None) -> tuple[plan.Phase, memory.Report, int]:
    """Counts where the memory of a training step goes, and measures a real step.

    Args:
        config: Config.
        phase_name: str, such as "fine_tune"; None for the last phase, which trains the most weights.

    Returns:
        (plan.Phase, memory.Report, int): the phase, the counted bytes by layer for the batch of one device, and the bytes
        that a real step with the global batch adds to the peak.

    Raises:
        InputError: the config has no such phase or is of a language model, or the data or the backbone cannot be used.
    """
    language_requirements.refuse(config, "find memory")
    # Inputs of a known size are counted, such as texts, and not token ids, whose number differs.
    stage, phase = _stage(config, phase_name, default_index=-1, train_earlier=False, tokens_once=False)
    logger.info("measuring a step of phase %s", phase.name)
    size = config.fit.global_batch_size
    device_size = -(-size // stage.model.distribute_strategy.num_replicas_in_sync)
    report = memory.report(stage.model, batch_size=device_size)
    return phase, report, finders.step_memory(stage.model, stage.train, batch_size=size)


def _stage(
    config: Config, phase_name: str | None, *, default_index: int, train_earlier: bool, tokens_once: bool = True
) -> tuple[Stage, plan.Phase]:
    """Returns the compiled stage of a phase, and the phase."""
    if config.is_language:
        with tempfile.TemporaryDirectory() as folder:
            stage, phase = language_run.prepare(config, Path(folder))
        _check_phase(phase_name, [phase.name])
        return stage, phase
    prepared = prepare_unmeasured(config, tf.distribute.get_strategy())
    config, model, split = prepared.config, prepared.build(), prepared.split
    phases = plan.phases(config, len(split.train))
    names = [phase.name for phase in phases]
    _check_phase(phase_name, names)
    wanted = default_index % len(names) if phase_name is None else names.index(phase_name)
    with tempfile.TemporaryDirectory() as folder:
        for index, phase in enumerate(phases[: wanted + 1]):
            if train_earlier or index == wanted:
                runtime.seed(config.runtime.seed)
                places = head_features.Places(spill=Path(folder) / "features")
                stage = staged(model, config, split, phase, tokens_once=tokens_once, places=places)
                compiled(stage.model, config, phase, positive_weights=split.train.positive_weights)
            if train_earlier and index < wanted:
                fit_phase(stage, tracked_runs.untracked(config), phase, Path(folder))
    return stage, phase


def _check_phase(name: str | None, names: Sequence[str]) -> None:
    if name is not None and name not in names:
        raise InputError(unknown("phase", name, names))
