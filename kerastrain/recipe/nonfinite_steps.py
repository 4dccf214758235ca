"""What a run does when a step meets NaN or infinity: it finds out where, and stops or goes back."""

import json
import logging
from pathlib import Path

import numpy as np

from kerastrain import callbacks, checkpoints, data, run_directory
from kerastrain.callbacks.nonfinite_search import Finding, NonFiniteError
from kerastrain.config import Config
from kerastrain.recipe import plan
from kerastrain.recipe.stages import Stage, drawing, training_batches
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
    """What watches the next try, which goes on from the last checkpoint.

    The first time that a step is bad the next try leads to it again and looks into it layer by layer. Then the finding
    is told and written to `nonfinite.json`, and the run goes back at a lower rate, if `fit.on_bad_numbers` says so.

    Raises:
        NonFiniteError: the run stops, because the config says so or because it went back often enough.
    """
    if error.finding is None and watch.suspect_step is None:
        logger.warning("%s It is looked for, from the last checkpoint on.", error)
        return callbacks.TerminateOnNonFinite(
            suspect_step=error.step,
            batch_at=lambda step: next(iter(training_batches(stage, config, phase, start_step=step))),
        )
    if error.finding is None and error.weight is not None:
        # The step was run layer by layer without a fault: so its update is what made the weight so.
        error.finding = Finding("update", error.weight)
    told = _told(error, stage, config, phase, directory)
    roll_backs = checkpoints.latest(run_directory.resume_folder(directory)).outline["roll_backs"]
    if config.fit.on_bad_numbers == "stop" or roll_backs == config.fit.roll_backs:
        went = f" after {roll_backs} roll-backs" if roll_backs else ""
        raise NonFiniteError(error.step, f"{told}{went}. {_advice(error, config, directory)}", error.finding) from error
    stored = checkpoints.roll_back(
        run_directory.resume_folder(directory),
        rate_factor=config.fit.roll_back_factor,
        keep=config.fit.checkpoints_kept,
    )
    logger.warning(
        "%s; back to %s, the learning rate times %g from here on (%d of %d)",
        told,
        checkpoints.Position(**stored.outline["position"]),
        config.fit.roll_back_factor,
        roll_backs + 1,
        config.fit.roll_backs,
    )
    return callbacks.TerminateOnNonFinite()


def _told(error: NonFiniteError, stage: Stage, config: Config, phase: plan.Phase, directory: Path) -> str:
    """The finding in a sentence without its full stop; all files of the batch go to `nonfinite.json`."""
    indices = data.indices(stage.train, config.fit.global_batch_size, error.step, **drawing(config))
    names = [_name(stage.train, index) for index in indices]
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
    files.write_json(path, [*(json.loads(path.read_text(encoding="utf-8")) if path.exists() else []), record])
    shown = at_fault or names
    more = f" and {len(shown) - SHOWN_FILES} more" if len(shown) > SHOWN_FILES else ""
    where = error.finding or "it was not met again when the step was run layer by layer"
    return (
        f"NaN or infinity at step {error.step:,} (epoch {epoch}, phase {phase.name}): {where}. "
        f"{'At fault' if at_fault else 'The batch'}: {', '.join(shown[:SHOWN_FILES])}{more} (see {path})"
    )


def _advice(error: NonFiniteError, config: Config, directory: Path) -> str:
    if error.finding and error.finding.place in ("inputs", "targets"):
        return "Mend or remove these examples."
    advice = "Lower `optimizer.learning_rate`, or clip the gradients with `optimizer.global_clip_norm`"
    if config.fit.on_bad_numbers == "stop":
        advice += f"; or go on at a lower rate by `kerastrain train fit.on_bad_numbers=roll_back --resume {directory}`"
    return f"{advice}."


def _name(examples: data.Examples, index: np.int64) -> str:
    return f"example {index}" if examples.paths is None else examples.paths[index]
