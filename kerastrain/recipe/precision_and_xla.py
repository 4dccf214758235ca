"""What a config leaves to the clock: precision and XLA, tried on the real train step before the run begins."""

import dataclasses
import logging

import keras
import tensorflow as tf

from kerastrain import data, finders, runtime
from kerastrain.config import Config
from kerastrain.errors import InputError
from kerastrain.recipe import plan
from kerastrain.recipe.building import build, load_backbone
from kerastrain.recipe.fitting import compiled
from kerastrain.recipe.stages import staged, training_batches

logger = logging.getLogger("kerastrain")


def with_measured_precision(config: Config, split: data.Split) -> tuple[Config, list[dict]]:
    """`config` with what is faster on this machine wherever `runtime` says "measure", and what was timed.

    Each choice is a few steps of the last phase on its first batch. First the precisions that the machine has in hardware,
    then XLA under the faster; a change must save a tenth of the time. Names and seeds are afterwards as before.

    Args:
        config: Config.
        split: data.Split that it trains on.

    Returns:
        (Config, list of dict): without "measure"; and a `finders.StepTiming` as a dict for each way that was tried.

    Raises:
        InputError: there is something to measure under a strategy of several devices.
    """
    wanted, tried = config.runtime, []
    if "measure" not in (wanted.precision, wanted.jit_compile):
        return config, []
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        raise InputError(
            "a step is measured on one device. Received: several, and `measure` in runtime.precision or runtime.jit_compile. "
            "Name what you want there, or take runtime.strategy=none."
        )
    chosen = {
        name: value
        for name, value in (("precision", "float32"), ("jit_compile", False))
        if getattr(wanted, name) == "measure"
    }
    phase = plan.phases(config, len(split.train))[-1]
    reason = finders.reason_against_measuring()
    if phase.name == "head":
        reason = "the head alone trains, on features that are computed once"
    if reason:
        tried = [finders.StepTiming("measure", reason=reason)]
        chosen |= {"jit_compile": "auto"} if "jit_compile" in chosen else {}
    else:
        if wanted.precision == "measure":
            policies = ("float32", *finders.precisions())
            timed = [
                _timed(_with(config, precision=policy, jit_compile=False), split, phase, policy) for policy in policies
            ]
            chosen["precision"] = finders.fastest(timed).name
            tried += timed
        if wanted.jit_compile == "measure":
            ways = {"without XLA": False, "with XLA": True}
            ready = _with(config, **{**chosen, "jit_compile": False})
            timed = [_timed(ready, split, phase, name, jit_compile=way) for name, way in ways.items()]
            chosen["jit_compile"] = ways[finders.fastest(timed).name]
            tried += timed
        keras.backend.clear_session(free_memory=False)
        runtime.seed(config.runtime.seed, deterministic=config.runtime.deterministic)
    for one in tried:
        logger.info("%s: %s", one.name, one.reason or f"{one.step_seconds * 1000:.2f} ms a step")
    logger.info("chosen: %s", ", ".join(f"runtime.{name}={str(value).lower()}" for name, value in chosen.items()))
    return _with(config, **chosen), [dataclasses.asdict(one) for one in tried]


def _with(config: Config, **values) -> Config:
    return config.model_copy(update={"runtime": config.runtime.model_copy(update=values)})


def _timed(
    config: Config, split: data.Split, phase: plan.Phase, name: str, *, jit_compile: bool = False
) -> finders.StepTiming:
    """The step of a phase under one choice, of a model that is made for it and thrown away."""
    runtime.seed(config.runtime.seed, deterministic=config.runtime.deterministic)
    backbone = load_backbone(config) if config.data.kind == "images" else None
    stage = staged(build(config, backbone, split), config, split, phase)
    compiled(stage.model, config, phase)
    batch = next(iter(training_batches(stage, config, phase, start_step=0)))
    return finders.step_seconds(stage.model, batch, jit_compile=jit_compile, name=name)
