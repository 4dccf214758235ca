"""What a run could be trained with, tried before it is trained: the learning rate, the batch size, the memory."""

import tempfile
from pathlib import Path

from kerastrain import data, finders, memory, runtime
from kerastrain.config import Config
from kerastrain.errors import InputError, unknown
from kerastrain.recipe import plan
from kerastrain.recipe.building import build, load_backbone, load_data
from kerastrain.recipe.fitting import compiled, fit_phase
from kerastrain.recipe.stages import Stage, staged, training_batches


@data.surface_read_errors()
def find_learning_rate(config: Config, phase_name: str | None = None) -> tuple[plan.Phase, finders.RangeTest]:
    """The range test of one phase of `config`, at its start: the phases before it are trained, and kept nowhere.

    Args:
        config: Config.
        phase_name: str, such as "fine_tune"; None for the first phase.

    Returns:
        (plan.Phase, finders.RangeTest).

    Raises:
        InputError: the config has no such phase, or data or backbone cannot be used.
    """
    stage, phase = _stage(config, phase_name, default=0, train_earlier=True)
    batches = training_batches(stage, config, phase, start_step=0)
    return phase, finders.learning_rate(stage.model, batches)


@data.surface_read_errors()
def find_batch_size(config: Config, phase_name: str | None = None) -> tuple[plan.Phase, finders.BatchSizes]:
    """The batch sizes that fit into memory in one phase of `config`, by default the last, which trains the most."""
    stage, phase = _stage(config, phase_name, default=-1, train_earlier=False)
    return phase, finders.batch_size(stage.model, stage.train)


@data.surface_read_errors()
def find_memory(config: Config, phase_name: str | None = None) -> tuple[plan.Phase, memory.Report, int]:
    """Where the memory of a step of one phase goes, by default the last, and the bytes that a real step adds."""
    stage, phase = _stage(config, phase_name, default=-1, train_earlier=False)
    size = config.fit.global_batch_size
    device_size = -(-size // stage.model.distribute_strategy.num_replicas_in_sync)
    account = memory.report(stage.model, batch_size=device_size)
    return phase, account, finders.step_memory(stage.model, stage.train, batch_size=size)


def _stage(config: Config, phase_name: str | None, *, default: int, train_earlier: bool) -> tuple[Stage, plan.Phase]:
    """What a phase trains, compiled for it."""
    runtime.seed(config.runtime.seed, deterministic=config.runtime.deterministic)
    backbone = load_backbone(config) if config.data.kind == "images" else None
    split = load_data(config, backbone and backbone.image_size)
    model = build(config, backbone, split)
    phases = plan.phases(config, len(split.train))
    names = [phase.name for phase in phases]
    if phase_name is not None and phase_name not in names:
        raise InputError(unknown("phase", phase_name, names))
    index = default % len(names) if phase_name is None else names.index(phase_name)
    with tempfile.TemporaryDirectory() as folder:
        for number, phase in enumerate(phases[: index + 1]):
            if train_earlier or number == index:
                runtime.seed(config.runtime.seed)
                stage = staged(model, config, split, phase)
                compiled(stage.model, config, phase)
            if train_earlier and number < index:
                fit_phase(stage, config, phase, Path(folder))
    return stage, phase
