"""Chooses the precision of a run, and whether XLA compiles its steps: by measuring the real train step before the run begins,
where the config demands it or where it pays within the run, and otherwise without spending time.

Takes a `Config` and the data; returns a config without "auto" and "measure" in these keys. Must not write files of a run.
"""

import dataclasses
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from kerastrain import backbones, data, distribute, finders, runtime
from kerastrain.config import Config, automatic
from kerastrain.errors import InputError
from kerastrain.finders import StepTiming, trial_costs
from kerastrain.hub.layer import HubLayer
from kerastrain.recipe import backbone_files, plan, starting_run
from kerastrain.recipe.building import prepare_unmeasured
from kerastrain.recipe.compiling import compiled
from kerastrain.recipe.stages import staged, training_batches
from kerastrain.system import stopwatch

logger = logging.getLogger("kerastrain")

_PASS_EXAMPLES = 4  # images in the forward pass that predicts the time of a step
_SECTIONS = ("model", "fine_tune", "memory")  # of the config, on which the time of a step depends


@dataclass(frozen=True)
class _Question:
    """What is to be chosen, and for which training.

    Args:
        config: Config.
        split: data.Split that the run trains on.
        backbone: backbones.Backbone in float32; None for texts, and where it is not loaded.
        phase: plan.Phase, the last one of the run, whose step counts.
        keys: sequence of str, the keys of `automatic.USUAL` that are open.
    """

    config: Config
    split: data.Split
    backbone: backbones.Backbone | None
    phase: plan.Phase
    keys: Sequence[str]

    @property
    def usual(self) -> dict:
        """The values that the keys have where nothing is measured."""
        return {name: automatic.USUAL[name] for name in self.keys}

    def subject(self) -> dict:
        """Everything that the measured times depend on, for `finders.recall`."""
        config = self.config
        fixed = {name: getattr(config.runtime, name) for name in automatic.USUAL if name not in self.keys}
        return {
            "machine": finders.machine(),
            "backbone": self.backbone and finders.described(self.backbone.layer),
            "backbone_sha256": backbone_files.sha256(config),
            "image_size": self.backbone and self.backbone.image_size,
            "phase": self.phase.name,
            "task": config.data.task,
            "outputs": len(self.split.labels),
            "batch_size": config.fit.global_batch_size,
            "optimizer": config.optimizer.name,
            "fixed": fixed,
            **{name: getattr(config, name).model_dump(mode="json") for name in _SECTIONS},
        }

    def trial(self, name: str, *, precision: str, jit_compile: bool | None = None) -> StepTiming:
        """Times a step with a model that is built for it and thrown away; `jit_compile` None is that of the config."""
        logger.info("timing a step of phase %s: %s", self.phase.name, name)
        open_xla = {"jit_compile": "keras"} if "jit_compile" in self.keys else {}
        config = automatic.with_runtime(self.config, precision=precision, **open_xla)
        prepared = prepare_unmeasured(config, tf.distribute.get_strategy(), load=lambda *_: self.split)
        stage = staged(prepared.build(), config, self.split, self.phase)
        compiled(stage.model, config, self.phase, positive_weights=self.split.train.positive_weights)
        batch = next(iter(training_batches(stage, config, self.phase, start_step=0)))
        uses_xla = stage.model.jit_compile if jit_compile is None else jit_compile
        return finders.step_seconds(stage.model, batch, jit_compile=uses_xla, name=name)


@stopwatch.timed("precision")
def with_measured_precision(
    config: Config, split: data.Split, backbone: backbones.Backbone | None = None
) -> tuple[Config, list[dict]]:
    """Replaces every "auto" and "measure" in `runtime.precision` and `runtime.jit_compile`.

    "measure" times each choice for a few steps of the last phase on its first batch: first the precisions that the hardware
    supports, then XLA with the fastest of them. A choice replaces float32 or "no XLA" only if it saves a tenth of the time.
    "auto" takes what was measured before for the same step on this machine. If there is nothing, it predicts the time of a
    step by a forward pass, measures float32 if the trials would take at most a twentieth of the run, and the others if that is
    still so by the measured time. Layer names and seeds are reset after trials.

    Args:
        config: Config.
        split: data.Split that the run trains on.
        backbone: backbones.Backbone of the run in float32; None for texts. Without it, "auto" never measures.

    Returns:
        (Config, list of dict): the config with every choice, and a `finders.StepTiming` as a dict for each that was tried. The
        list is empty if no time was spent.

    Raises:
        InputError: there is something to measure in any case, but the strategy has several devices.
    """
    config = starting_run.with_precision(config)
    keys = automatic.open_keys(config)
    if not keys:
        return config, []
    phase = plan.phases(config, len(split.train))[-1]
    question = _Question(config, split, backbone, phase, keys)
    demanded = [name for name in keys if getattr(config.runtime, name) == "measure"]
    if demanded and tf.distribute.get_strategy().num_replicas_in_sync > 1:
        raise InputError(
            "a step is measured on one device. Received: several, and `measure` in runtime.precision or runtime.jit_compile. "
            "Set them to other values, or set runtime.strategy=none."
        )
    chosen, timings = _measured(question, demanded) if demanded else _automatic(question)
    if timings or chosen.get("precision", "float32") != "float32":
        # The backbone is loaded again, under the same names.
        keras.backend.clear_session(free_memory=False)
        runtime.seed(config.runtime.seed, deterministic=config.runtime.deterministic)
    return automatic.with_runtime(config, **chosen), [dataclasses.asdict(timing) for timing in timings]


def _measured(question: _Question, demanded: Sequence[str]) -> tuple[dict, list[StepTiming]]:
    """Measures the keys that the config demands; the others get their usual values."""
    chosen = question.usual
    if reason := finders.reason_against_measuring() or _reason_of_phase(question.phase):
        timings = [StepTiming("measure", reason=reason)]
    else:
        policies = ("float32", *finders.precisions()) if "precision" in demanded else ()
        timings = [question.trial(policy, precision=policy, jit_compile=False) for policy in policies]
        if timings:
            chosen["precision"] = finders.fastest(timings).name
        if "jit_compile" in demanded:
            xla_timings = _xla_timings(question, chosen.get("precision", question.config.runtime.precision))
            chosen["jit_compile"] = finders.fastest(xla_timings).name == "with XLA"
            timings += xla_timings
        if not _left_to_try(question, demanded):
            finders.remember(question.subject(), _record(timings, chosen))
    for timing in timings:
        logger.info("%s: %s", timing.name, timing.reason or f"{timing.step_seconds * 1000:.2f} ms a step")
    logger.info("chosen: %s", ", ".join(f"runtime.{name}={str(value).lower()}" for name, value in chosen.items()))
    return chosen, timings


def _xla_timings(question: _Question, precision: str) -> list[StepTiming]:
    choices = {"without XLA": False, "with XLA": True}
    return [question.trial(name, precision=precision, jit_compile=value) for name, value in choices.items()]


def _automatic(question: _Question) -> tuple[dict, list[StepTiming]]:
    """Chooses what is remembered, or measures if that pays, or takes the usual values; logs a line with the reason."""
    policies, tries_xla = _policies(question), _tries_xla(question)
    reason = finders.reason_against_measuring() or _reason_of_phase(question.phase) or _reason_of_task(question)
    if not policies and not tries_xla:
        reason = reason or _reason_of_model(question)
    if reason:
        return _chosen(question, question.usual, reason), []
    subject = question.subject()
    known = finders.recall(subject)
    if known and set(known["chosen"]) == set(question.keys):
        return _chosen(question, known["chosen"], f"measured by an earlier run on this machine: {_shown(known)}"), []
    if not known and question.backbone is None:
        return _chosen(question, question.usual, "texts are measured with runtime.precision=measure only"), []
    length = {"steps": question.phase.trained_epochs * question.phase.steps_per_epoch}
    trials = len(policies) + tries_xla
    if reason := _reason_by_prediction(question, known, trials=1 + trials, **length):
        return _chosen(question, question.usual, reason), []
    began = time.monotonic()
    precision = question.usual.get("precision", question.config.runtime.precision)
    timings, chosen = [question.trial(precision, precision=precision)], {}
    seconds, trace_seconds = timings[0].step_seconds, time.monotonic() - began
    if seconds is None:
        return _chosen(question, question.usual, timings[0].reason), timings
    reason = finders.reason_against_trials(**length, step_seconds=seconds, trials=trials, trace_seconds=trace_seconds)
    if not reason:
        chosen = _compared(question, timings, policies, tries_xla)
        reason = f"measured: {_shown(_record(timings, chosen))}"
    finders.remember(subject, _record(timings, chosen))
    return _chosen(question, chosen or question.usual, reason), timings


def _reason_by_prediction(question: _Question, known: Mapping | None, *, trials: int, steps: int) -> str:
    times = [known["timings"][0]["step_seconds"]] if known else _predicted_step_seconds(question)
    length = {"steps": steps, "trials": trials, "trace_seconds": trial_costs.USUAL_TRACE_SECONDS}
    # The first pass also prepares the operations; if even its time is too short, there is no second.
    reasons = (finders.reason_against_trials(step_seconds=seconds, **length) for seconds in times)
    return next(filter(None, reasons), "")


def _compared(question: _Question, timings: list[StepTiming], policies: Sequence[str], tries_xla: bool) -> dict:
    """Times the other choices, appends the times to those of the usual values, and returns the fastest choice."""
    timings += [question.trial(policy, precision=policy) for policy in policies]
    best, chosen = finders.fastest(timings), question.usual
    if policies:
        chosen["precision"] = best.name
    if tries_xla:
        timings.append(question.trial("without XLA", precision=best.name, jit_compile=False))
        if finders.fastest([best, timings[-1]]) is not best:
            chosen["jit_compile"] = False
    return chosen


def _policies(question: _Question) -> list[str]:
    """Returns the precisions that are worth trying."""
    return list(finders.precisions()) if "precision" in question.keys and not _is_module(question) else []


def _tries_xla(question: _Question) -> bool:
    """Whether a step without XLA is worth trying: not on a CPU, where Keras's rule is without it and it is slow to compile."""
    has_xla = bool(tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("TPU"))
    return has_xla and "jit_compile" in question.keys and not question.config.memory.is_spared


def _reason_of_model(question: _Question) -> str:
    if _is_module(question):
        return "a module computes in the precision that it was saved in"
    return "this machine has no other in hardware"


def _left_to_try(question: _Question, demanded: Sequence[str]) -> bool:
    """Whether "auto" would try values of the keys that are open and not demanded."""
    tried = {"precision": _policies(question), "jit_compile": _tries_xla(question)}
    return any(tried[name] for name in question.keys if name not in demanded)


def _is_module(question: _Question) -> bool:
    return question.backbone is not None and isinstance(question.backbone.layer, HubLayer)


def _reason_of_task(question: _Question) -> str:
    if question.config.runtime.deterministic:
        return "a choice by a clock would not be deterministic"
    is_regression = "precision" in question.keys and question.config.data.task == "regression"
    return "regression needs more digits than half precision has" if is_regression else ""


def _reason_of_phase(phase: plan.Phase) -> str:
    return "only the head trains, on features that are computed once" if phase.name == "head" else ""


def _predicted_step_seconds(question: _Question) -> Iterator[float]:
    """Predicts the time of a step by two forward passes of the backbone over a few images, without tracing."""
    batch_size = question.config.fit.global_batch_size
    count = min(_PASS_EXAMPLES, batch_size, len(question.split.train))
    pixels = tf.cast(question.split.train.read(np.arange(count)), tf.float32)
    for _ in range(2):
        start, x = time.perf_counter(), pixels
        for layer in (*question.backbone.preprocessing, question.backbone.layer):
            x = layer(x, training=False)
        keras.ops.convert_to_numpy(x)
        seconds = time.perf_counter() - start
        yield finders.predicted_step_seconds(pass_seconds=seconds, pass_examples=count, batch_size=batch_size)


def _chosen(question: _Question, chosen: Mapping, reason: str) -> dict:
    """Logs what was chosen and why; returns it."""
    if distribute.is_chief() and ("precision" in question.keys or chosen != question.usual):
        precision = chosen.get("precision", question.config.runtime.precision)
        xla = ", without XLA" if chosen.get("jit_compile") is False else ""
        logger.info("precision: %s%s; %s", precision, xla, reason)
    return dict(chosen)


def _record(timings: Sequence[StepTiming], chosen: Mapping) -> dict:
    return {"timings": [dataclasses.asdict(timing) for timing in timings], "chosen": dict(chosen)}


def _shown(record: Mapping) -> str:
    measured = [timing for timing in record["timings"] if timing["step_seconds"]]
    return ", ".join(
        f"{timing['name']} {trial_costs.milliseconds(timing['step_seconds'])} a step" for timing in measured
    )
