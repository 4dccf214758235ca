"""What makes the train step of a model faster on this machine: XLA or not, half the bits or not, by the clock.

Takes compiled models and a batch; gives seconds and a choice, and leaves the models as they were. Must not know of configs.
"""

import os
import re
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from kerastrain.finders.restoring import restored

MOST_OPERATIONS = 4000
"""Of a step that is compiled by XLA for a CPU just to see. 3,000 took 9 s on two cores, a whole MobileNetV2 minutes, and
nothing can stop a compilation once it runs."""
_GAIN = 0.9
_STEPS, _SECONDS = 10, 5.0
_FAILURES = (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError, tf.errors.InternalError)


@dataclass(frozen=True)
class StepTiming:
    """The train step of one model, timed.

    Attributes:
        name: str, what is tried.
        first_seconds: float, of the first step, compilation included; None where nothing was timed.
        step_seconds: float, the median of those after it; None as above.
        reason: str, why nothing was timed, or "".
    """

    name: str
    first_seconds: float | None = None
    step_seconds: float | None = None
    reason: str = ""


def step_seconds(model: keras.Model, batch: Sequence, *, jit_compile: bool, name: str) -> StepTiming:
    """Times the train step of a model on one batch, ten times or for five seconds; the model comes back bit by bit.

    Args:
        model: keras.Model, built and compiled.
        batch: (inputs, targets) or (inputs, targets, weights), as `fit` takes them.
        jit_compile: bool, whether XLA compiles the step.
        name: str, what is tried, for the record.

    Returns:
        StepTiming; without seconds where XLA cannot compile the step, or would take minutes for it on a CPU.
    """
    if jit_compile and (reason := _reason_against_xla(model, batch)):
        return StepTiming(name, reason=reason)
    kept, times = model.jit_compile, []
    try:
        with restored(model):
            model.jit_compile = jit_compile
            while len(times) <= _STEPS and sum(times[1:]) < _SECONDS:
                start = time.perf_counter()
                model.train_on_batch(*batch)
                times.append(time.perf_counter() - start)
    except _FAILURES as error:
        if not jit_compile:
            raise
        return StepTiming(name, reason=f"XLA cannot compile it: {' '.join(str(error).split())[:120]}")
    finally:
        model.jit_compile = kept
    return StepTiming(name, round(times[0], 4), round(statistics.median(times[1:]), 6))


def fastest(timed: Sequence[StepTiming]) -> StepTiming:
    """The first of `timed`, or the fastest of the others if it takes at most nine tenths of its time.

    Example:
        >>> faster([StepTiming("float32", 1.0, 0.10), StepTiming("mixed_bfloat16", 1.0, 0.04)]).name
        'mixed_bfloat16'
        >>> faster([StepTiming("no XLA", 1.0, 0.10), StepTiming("XLA", 9.0, 0.099), StepTiming("else", reason="no")]).name
        'no XLA'
    """
    first, *others = timed
    found = min((one for one in others if one.step_seconds), key=lambda one: one.step_seconds, default=first)
    return found if found.step_seconds <= _GAIN * first.step_seconds else first


def precisions(flags: str | None = None) -> Mapping[str, str]:
    """The dtype policies that this machine computes in hardware, beside float32.

    A GPU from compute capability 8.0 on and a TPU have bfloat16, a GPU from 7.0 on float16; a CPU bfloat16 where it has AMX or
    AVX-512 BF16.

    Args:
        flags: str, the features of a CPU; None reads /proc/cpuinfo.

    Returns:
        dict from a policy to what it runs on; empty where there is none.
    """
    if tf.config.list_logical_devices("TPU"):
        return {"mixed_bfloat16": "TPU"}
    for device in tf.config.list_physical_devices("GPU"):
        major, _ = tf.config.experimental.get_device_details(device).get("compute_capability", (0, 0))
        policies = {"mixed_bfloat16": 8, "mixed_float16": 7}
        return {policy: "GPU" for policy, least in policies.items() if major >= least}
    if flags is None:
        cpuinfo = Path("/proc/cpuinfo")
        flags = cpuinfo.read_text(errors="replace") if cpuinfo.is_file() else ""
    found = re.search(r"\b(amx_bf16|avx512_bf16)\b", flags)
    return {"mixed_bfloat16": found.group(1)} if found else {}


def reason_against_measuring() -> str:
    """Why one process must not choose by its own clock, or "": where several devices or processes take one step."""
    if tf.distribute.get_strategy().num_replicas_in_sync > 1 or "TF_CONFIG" in os.environ:
        return "several devices or processes share the step, and each would choose by its own clock"
    return ""


def _reason_against_xla(model: keras.Model, batch: Sequence) -> str:
    if unfit := [layer.name for layer in model._flatten_layers() if not getattr(layer, "supports_jit", True)]:
        return f"the layer {unfit[0]!r} cannot be compiled by XLA"
    if tf.as_dtype(model.inputs[0].dtype) == tf.string:
        return "XLA has no strings"
    if tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("TPU"):
        return ""
    operations = _operations(model, batch)
    if operations > MOST_OPERATIONS:
        return f"its {operations:,} operations would take XLA minutes to compile for a CPU"
    return ""


def _operations(model: keras.Model, batch: Sequence) -> int:
    """How many operations the train step has, those of the functions that it calls included."""
    with restored(model):
        graph = tf.function(lambda *given: model.train_step(given)).get_concrete_function(*batch).graph
    definition = graph.as_graph_def()
    return len(definition.node) + sum(len(function.node_def) for function in definition.library.function)
