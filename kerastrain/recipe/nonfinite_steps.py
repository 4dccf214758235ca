"""Handles a training step that met NaN or infinity: locates it, and then stops or rolls back.

Takes the error and the stage; returns the callback of the next attempt, or raises. Writes `nonfinite.json`.
"""

import logging
from pathlib import Path

from kerastrain import callbacks, checkpoints, run_directory
from kerastrain.callbacks.nonfinite_search import Finding, NonFiniteError
from kerastrain.config import Config
from kerastrain.recipe import plan
from kerastrain.recipe.stages import Stage, step_names, training_batches
from kerastrain.system import files

SHOWN_FILES = 3

logger = logging.getLogger("kerastrain")


def handle_nonfinite_step(
    error: NonFiniteError,
    watch: callbacks.TerminateOnNonFinite,
    stage: Stage,
    config: Config,
    phase: plan.Phase,
    directory: Path,
) -> callbacks.TerminateOnNonFinite:
    """Returns the callback for the retry from the last checkpoint.

    On the first error, the retry repeats the training up to the bad step and examines that step layer by layer. On the
    second error, the finding is reported and appended to `nonfinite.json`. With `fit.on_nonfinite=roll_back`, the run then
    resumes from the last checkpoint at a lower learning rate.

    Args:
        error: NonFiniteError from `fit`.
        watch: callbacks.TerminateOnNonFinite that raised it.
        stage: Stage that was trained.
        config: Config.
        phase: plan.Phase.
        directory: Path of the run, which has a checkpoint.

    Returns:
        callbacks.TerminateOnNonFinite.

    Raises:
        NonFiniteError: the run stops, because `fit.on_nonfinite` is "stop" or all roll-backs are used up.
    """
    if error.finding is None and watch.suspect_step is None:
        logger.warning("%s Searching for the cause from the last checkpoint.", error)
        return callbacks.TerminateOnNonFinite(
            suspect_step=error.step,
            batch_at=lambda step: next(iter(training_batches(stage, config, phase, start_step=step))),
        )
    if error.finding is None and error.weight is not None:
        # Every layer of the step was finite, so the update made the weight non-finite.
        error.finding = Finding("update", error.weight)
    report = _report(error, stage, config, phase, directory)
    roll_backs = checkpoints.latest(run_directory.resume_folder(directory)).outline["roll_backs"]
    if config.fit.on_nonfinite == "stop" or roll_backs == config.fit.roll_backs:
        history = f" after {roll_backs} roll-backs" if roll_backs else ""
        message = f"{report}{history}. {_advice(error, config, directory)}"
        raise NonFiniteError(error.step, message, error.finding) from error
    stored = checkpoints.roll_back(
        run_directory.resume_folder(directory),
        rate_factor=config.fit.roll_back_factor,
        keep=config.fit.checkpoints_kept,
    )
    logger.warning(
        "%s; rolled back to %s, with the learning rate multiplied by %g (roll-back %d of %d)",
        report,
        checkpoints.Position(**stored.outline["position"]),
        config.fit.roll_back_factor,
        roll_backs + 1,
        config.fit.roll_backs,
    )
    return callbacks.TerminateOnNonFinite()


def _report(error: NonFiniteError, stage: Stage, config: Config, phase: plan.Phase, directory: Path) -> str:
    """Appends the finding with all files of the batch to `nonfinite.json`, and returns it in a line without full stop."""
    names = step_names(stage, config, error.step)
    at_fault = [names[place] for place in error.finding.examples] if error.finding else []
    epoch, path = error.step // phase.steps_per_epoch + 1, directory / "nonfinite.json"
    record = {
        "phase": phase.name,
        "epoch": epoch,
        "step": error.step,
        "place": error.finding and error.finding.place,
        "layer": error.finding and error.finding.layer,
        "at_fault": at_fault,
        "batch": names,
    }
    files.write_json(path, [*(files.read_json(path) if path.exists() else []), record])
    shown = at_fault or names
    more = f" and {len(shown) - SHOWN_FILES} more" if len(shown) > SHOWN_FILES else ""
    where = error.finding or "it did not appear again when the step was run layer by layer"
    return (
        f"NaN or infinity at step {error.step:,} (epoch {epoch}, phase {phase.name}): {where}. "
        f"{'Caused by' if at_fault else 'The batch'}: {', '.join(shown[:SHOWN_FILES])}{more} (see {path})"
    )


def _advice(error: NonFiniteError, config: Config, directory: Path) -> str:
    if error.finding and error.finding.place in ("inputs", "targets"):
        return "Repair or remove these examples."
    advice = "Lower `optimizer.learning_rate`, or clip the gradients with `optimizer.global_clip_norm`"
    if config.fit.on_nonfinite == "stop":
        advice += f"; or resume at a lower rate: `kerastrain train fit.on_nonfinite=roll_back --resume {directory}`"
    return f"{advice}."
