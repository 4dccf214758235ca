"""Measured acceleration of a model's train step: with or without XLA, in full or half precision.

Takes compiled models and a batch; returns step times and a choice, and restores the models. Must not know of configs.
"""

import os
import re
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from kerastrain.finders.restoring import restored
from kerastrain.finders.trial_costs import TRIAL_SECONDS, TRIAL_STEPS
from kerastrain.keras_internals.layers import every_layer
from kerastrain.system import resources

MOST_OPERATIONS = 4000
"""Largest step, in operations, that is compiled by XLA for a CPU only to measure it. 3,000 took 9 s on two cores, a whole
MobileNetV2 minutes, and a compilation cannot be interrupted."""
_GAIN = 0.9
_FAILURES = (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError, tf.errors.InternalError)


@dataclass(frozen=True)
class StepTiming:
    """Measured time of one model's train step.

    Attributes:
        name: str, the setting that was measured.
        first_seconds: float > 0, the time of the first step with its compilation; None if nothing was measured.
        step_seconds: float > 0, the median time of the later steps; None if nothing was measured.
        reason: str, why nothing was measured, or "".
        processor_seconds: float > 0, the median time that the later steps took of all processors together, which other programs
            hardly change; None on a GPU or TPU, and if nothing was measured.
    """

    name: str
    first_seconds: float | None = None
    step_seconds: float | None = None
    reason: str = ""
    processor_seconds: float | None = None


def step_seconds(model: keras.Model, batch: Sequence, *, jit_compile: bool, name: str) -> StepTiming:
    """Measures the train step of a model on one batch, for ten steps or five seconds, and restores the model bit for bit.

    Args:
        model: keras.Model, built and compiled.
        batch: (inputs, targets) or (inputs, targets, weights), as `fit` takes them.
        jit_compile: bool, whether XLA compiles the step.
        name: str, the setting to measure, for the record.

    Returns:
        StepTiming; without times where XLA cannot compile the step, or would need minutes for it on a CPU.
    """
    if jit_compile and (reason := reason_against_xla(model, batch)):
        return StepTiming(name, reason=reason)
    compiled_jit_compile, seconds, processor_seconds = model.jit_compile, [], []
    try:
        with restored(model):
            model.jit_compile = jit_compile
            while len(seconds) <= TRIAL_STEPS and sum(seconds[1:]) < TRIAL_SECONDS:
                start, processor_start = time.perf_counter(), time.process_time()
                model.train_on_batch(*batch)
                seconds.append(time.perf_counter() - start)
                processor_seconds.append(time.process_time() - processor_start)
    except _FAILURES as error:
        if not jit_compile:
            raise
        return StepTiming(name, reason=f"XLA cannot compile it: {' '.join(str(error).split())[:120]}")
    finally:
        model.jit_compile = compiled_jit_compile
    on_processors = None if _has_accelerator() else round(statistics.median(processor_seconds[1:]), 6)
    return StepTiming(name, round(seconds[0], 4), round(statistics.median(seconds[1:]), 6), "", on_processors)


def fastest(timings: Sequence[StepTiming]) -> StepTiming:
    """The fastest timing if it takes at most nine tenths of the time of the first, otherwise the first.

    It must also save a tenth of the time of the processors, where that is known: a step that was measured while another
    program had the processors only seems to be slow.

    Args:
        timings: sequence of StepTiming, at least one; the first is the default and must have a `step_seconds`.

    Returns:
        StepTiming, one of `timings`.

    Example:
        >>> fastest([StepTiming("float32", 1.0, 0.10), StepTiming("mixed_bfloat16", 1.0, 0.04)]).name
        'mixed_bfloat16'
        >>> fastest([StepTiming("no XLA", 1.0, 0.10), StepTiming("XLA", 9.0, 0.099), StepTiming("n/a", reason="no")]).name
        'no XLA'
        >>> fastest([StepTiming("on a busy machine", 1.0, 0.10, "", 0.05), StepTiming("later", 1.0, 0.05, "", 0.05)]).name
        'on a busy machine'
    """
    first, *others = timings
    faster = [timing for timing in others if _saves(timing.step_seconds, first.step_seconds)]
    faster = [timing for timing in faster if _saves(timing.processor_seconds, first.processor_seconds, unknown=True)]
    return min(faster, key=lambda timing: timing.step_seconds, default=first)


def _saves(seconds: float | None, of: float | None, *, unknown: bool = False) -> bool:
    """Whether a time is at most nine tenths of another one; `unknown` if one is None."""
    return unknown if seconds is None or of is None else seconds <= _GAIN * of


def precisions(flags: str | None = None) -> Mapping[str, str]:
    """Mixed-precision dtype policies that this machine's hardware supports.

    A GPU supports bfloat16 from compute capability 8.0 and float16 from 7.0; a TPU supports bfloat16; a CPU supports
    bfloat16 if it has AMX or AVX-512 BF16.

    Args:
        flags: str, the features of the CPU, separated by spaces; None for those of this machine.

    Returns:
        dict from the name of a policy to the hardware that supports it; may be empty.
    """
    if tf.config.list_logical_devices("TPU"):
        return {"mixed_bfloat16": "TPU"}
    for device in tf.config.list_physical_devices("GPU"):
        major, _ = tf.config.experimental.get_device_details(device).get("compute_capability", (0, 0))
        policies = {"mixed_bfloat16": 8, "mixed_float16": 7}
        return {policy: "GPU" for policy, required in policies.items() if major >= required}
    flags = resources.processor_flags() if flags is None else flags
    feature = re.search(r"\b(amx_bf16|avx512_bf16)\b", flags)
    return {"mixed_bfloat16": feature.group(1)} if feature else {}


def reason_against_measuring() -> str:
    """Why a process must not choose by its own measurement: several devices or processes share a step. "" if it may."""
    if tf.distribute.get_strategy().num_replicas_in_sync > 1 or "TF_CONFIG" in os.environ:
        return "several devices or processes share the step, and each would choose by its own clock"
    return ""


def reason_against_xla(model: keras.Model, batch: Sequence) -> str:
    """Why XLA is not tried for a train step: it cannot compile it, or would take minutes to compile it for a CPU.

    Args:
        model: keras.Model, built and compiled.
        batch: as for `step_seconds`.

    Returns:
        str; "" if it may be tried.
    """
    if unsupported := [layer.name for layer in every_layer(model) if not getattr(layer, "supports_jit", True)]:
        return f"the layer {unsupported[0]!r} cannot be compiled by XLA"
    if tf.as_dtype(model.inputs[0].dtype) == tf.string:
        return "XLA does not support strings"
    if _has_accelerator():
        return ""
    operations = _operation_count(model, batch)
    if operations > MOST_OPERATIONS:
        return f"its {operations:,} operations would take XLA minutes to compile for a CPU"
    return ""


def _has_accelerator() -> bool:
    return bool(tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("TPU"))


def _operation_count(model: keras.Model, batch: Sequence) -> int:
    """Number of operations in the train step, including those of the functions that it calls."""
    with restored(model):
        step = tf.function(lambda *data: model.train_step(data), autograph=False)  # as Keras traces it
        graph = step.get_concrete_function(*batch).graph
    definition = graph.as_graph_def()
    return len(definition.node) + sum(len(function.node_def) for function in definition.library.function)
