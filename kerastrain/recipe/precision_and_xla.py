"""Measures which precision is fastest, and whether XLA is, on the real train step before the run begins.

Takes a `Config` and the data; returns a config without "measure". Must not write files.
"""

import dataclasses
import logging

import keras
import tensorflow as tf

from kerastrain import data, finders, runtime
from kerastrain.config import Config
from kerastrain.errors import InputError
from kerastrain.recipe import plan
from kerastrain.recipe.building import prepare_unmeasured
from kerastrain.recipe.compiling import compiled
from kerastrain.recipe.stages import staged, training_batches

logger = logging.getLogger("kerastrain")


def with_measured_precision(config: Config, split: data.Split) -> tuple[Config, list[dict]]:
    """Replaces every "measure" in `config.runtime` by the fastest choice on this machine.

    Each choice is timed for a few steps of the last phase on its first batch: first the precisions that the hardware
    supports, then XLA with the fastest of them. A choice replaces float32 or "no XLA" only if it saves a tenth of the
    time. Layer names and seeds are reset afterwards.

    Args:
        config: Config.
        split: data.Split that the run trains on.

    Returns:
        (Config, list of dict): the config without "measure", and a `finders.StepTiming` as a dict for each choice that
        was tried. The list is empty if there was no "measure".

    Raises:
        InputError: there is something to measure, but the strategy has several devices.
    """
    requested, timings = config.runtime, []
    if "measure" not in (requested.precision, requested.jit_compile):
        return config, []
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        raise InputError(
            "a step is measured on one device. Received: several, and `measure` in runtime.precision or runtime.jit_compile. "
            "Set them to other values, or set runtime.strategy=none."
        )
    chosen = {
        name: value
        for name, value in (("precision", "float32"), ("jit_compile", False))
        if getattr(requested, name) == "measure"
    }
    phase = plan.phases(config, len(split.train))[-1]
    reason = finders.reason_against_measuring()
    if phase.name == "head":
        reason = "only the head trains, on features that are computed once"
    if reason:
        timings = [finders.StepTiming("measure", reason=reason)]
        chosen |= {"jit_compile": "auto"} if "jit_compile" in chosen else {}
    else:
        if requested.precision == "measure":
            policies = ("float32", *finders.precisions())
            timings = [
                _timed_step(_with_runtime(config, precision=policy, jit_compile=False), split, phase, policy)
                for policy in policies
            ]
            chosen["precision"] = finders.fastest(timings).name
        if requested.jit_compile == "measure":
            xla_choices = {"without XLA": False, "with XLA": True}
            fixed = _with_runtime(config, **{**chosen, "jit_compile": False})
            xla_timings = [
                _timed_step(fixed, split, phase, name, jit_compile=value) for name, value in xla_choices.items()
            ]
            chosen["jit_compile"] = xla_choices[finders.fastest(xla_timings).name]
            timings += xla_timings
        keras.backend.clear_session(free_memory=False)
        runtime.seed(config.runtime.seed, deterministic=config.runtime.deterministic)
    for timing in timings:
        logger.info("%s: %s", timing.name, timing.reason or f"{timing.step_seconds * 1000:.2f} ms a step")
    logger.info("chosen: %s", ", ".join(f"runtime.{name}={str(value).lower()}" for name, value in chosen.items()))
    return _with_runtime(config, **chosen), [dataclasses.asdict(timing) for timing in timings]


def _with_runtime(config: Config, **values) -> Config:
    return config.model_copy(update={"runtime": config.runtime.model_copy(update=values)})


def _timed_step(
    config: Config, split: data.Split, phase: plan.Phase, name: str, *, jit_compile: bool = False
) -> finders.StepTiming:
    """Times a step of `phase` with a model that is built for it and thrown away."""
    logger.info("timing a step of phase %s: %s", phase.name, name)
    prepared = prepare_unmeasured(config, tf.distribute.get_strategy(), load=lambda *_: split)
    stage = staged(prepared.build(), config, split, phase)
    compiled(stage.model, config, phase, positive_weights=split.train.positive_weights)
    batch = next(iter(training_batches(stage, config, phase, start_step=0)))
    return finders.step_seconds(stage.model, batch, jit_compile=jit_compile, name=name)
