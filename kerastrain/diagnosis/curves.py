"""What the curves of a training say about its learning rate and its length.

Takes a `Record`; returns findings. Must not import TensorFlow.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import scipy

from kerastrain.diagnosis.records import Change, Finding, Record
from kerastrain.diagnosis.scores import guess_score, scores
from kerastrain.errors import counted

STILL_FALLING = 0.85
"""A loss that the second half of a training, by cumulated learning rate, took below this fraction is still falling."""

LEAST_DROP = 0.02
"""The least fall that counts, as a fraction of the loss of a guess."""

LEARNED = 0.95
"""A loss that falls further does not count once the training score is this share of the way from a guess to 1."""

LINEAR_SHARE = 0.75
"""A rate is too low if the first half of a training brought less than this share of the fall: it has not slowed down."""

FEWEST_STEPS = 100
"""Steps below which a training is short rather than slow."""

UNSTABLE = 1.5
"""A rate is too high if the mean training loss of an epoch rose above an earlier one, to this many times the loss of a guess."""

OVERSHOT = 2.0
"""A rate is also too high if the first of `FEWEST_EPOCHS` or more epochs was the best, and the validation loss rose by this."""

FEWEST_EPOCHS = 5
"""Epochs below which the first one may well be the best."""

PERPLEXITY = 0.05
"""The change of a validation perplexity that counts for a language model, as a fraction."""

_LOSS_SPREAD = 0.5  # what the change of an example's loss scatters by, as a fraction of the mean loss


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """The losses of the last phase of a training, without penalties of weights.

    Args:
        phase: str.
        start: float, the validation loss before it: the lowest of the phases before, or that of a guess.
        earlier: float, the lowest training loss of the phases before; infinity without one.
        train: float (epochs,), the mean loss over the steps of each epoch.
        validation: float (epochs,); NaN where it is missing.
        rates: float (epochs,), learning rates at the ends of the epochs.
        guess: float, the loss of a guess from the class frequencies, or 1 for "regression".
    """

    phase: str
    start: float
    earlier: float
    train: np.ndarray
    validation: np.ndarray
    rates: np.ndarray
    guess: float

    def after(self, fraction: float, *, of: str = "epochs") -> float:
        """The validation loss after a fraction of the phase, by linear interpolation between epochs.

        Args:
            fraction: float in [0, 1].
            of: "epochs", or "rates" for a fraction of the cumulated learning rate.

        Returns:
            float.
        """
        losses = np.concatenate([[self.start], self.validation])
        before = np.concatenate([self.rates[:1], self.rates[:-1]])
        spent = np.cumsum((before + self.rates) / 2) if of == "rates" else np.arange(1.0, len(losses))
        return float(np.interp(fraction * spent[-1], np.concatenate([[0], spent]), losses))


def guess_loss(record: Record) -> float:
    """The loss of a model that predicts the same for every input.

    Args:
        record: Record.

    Returns:
        float, the log of the number of classes, log 2 for "multi_label", and 1 for "regression", whose loss is relative to the
        variance.
    """
    if record.task == "single_label":
        return math.log(max(len(record.labels), 2))
    return math.log(2) if record.task == "multi_label" else 1.0


def curve(record: Record) -> Curve | None:
    """The curve of the last phase.

    Args:
        record: Record.

    Returns:
        Curve, or None without a history of losses.
    """
    rows = [row for row in record.history if _loss(row, "") is not None]
    if not rows:
        return None
    last = [row for row in rows if row["phase"] == rows[-1]["phase"]]
    earlier = [row for row in rows if row["phase"] != rows[-1]["phase"]]
    guess = guess_loss(record)
    before = [value for row in earlier if (value := _loss(row, "val_")) is not None]
    column = lambda prefix: np.array([np.nan if (v := _loss(row, prefix)) is None else v for row in last])
    rates = np.array([float(row.get("learning_rate", 1.0)) for row in last])
    learned = min((value for row in earlier if (value := _loss(row, "")) is not None), default=math.inf)
    start = min(before) if before else guess
    return Curve(str(last[-1]["phase"]), start, learned, column(""), column("val_"), rates, guess)


def still_falling(record: Record) -> Finding | None:
    """Whether a longer training, or one at a higher rate, would very likely be better.

    Args:
        record: Record.

    Returns:
        Finding of the kind "still_improving" or "rate_too_low", or None.
    """
    losses, held_out = curve(record), record.parts.get("validation")
    if losses is None or held_out is None or not np.isfinite(losses.validation).all():
        return None
    end, half, epochs = float(losses.validation[-1]), losses.after(0.5), len(losses.validation)
    if "train" in record.parts and len(record.parts["train"]):
        learned, guess = float(scores(record, "train").mean()), guess_score(record, "train")
        if learned >= guess + LEARNED * (1 - guess):
            return None
    drop, limit = half - end, max((1 - STILL_FALLING) * half, LEAST_DROP * losses.guess)
    error = _LOSS_SPREAD * end / math.sqrt(held_out.count)
    falls = losses.start - end
    share = (losses.start - losses.after(0.5, of="rates")) / falls if falls > 0 else 1.0
    steps_down = int((np.diff(losses.validation, prepend=losses.start) < 0).sum())
    is_linear = share < LINEAR_SHARE and steps_down >= LINEAR_SHARE * epochs and end <= losses.validation.min()
    is_falling = drop >= limit and end <= losses.validation.min() + error
    if not is_linear and not is_falling:
        return None
    evidence = {"epochs": epochs, "loss_at_half": half, "loss_at_end": end, "loss_of_a_guess": losses.guess}
    confidence = float(scipy.stats.norm.cdf((drop - limit) / error)) if is_falling and error else 1 - 0.5**steps_down
    steps = epochs * (record.steps_per_epoch or 1)
    if is_linear and steps >= FEWEST_STEPS and epochs >= FEWEST_EPOCHS:
        sentence = (
            f"The learning rate is too low: after {steps:,} steps the validation loss ({end:.3g}) still falls as fast as at "
            f"the start; the first half of the cumulated learning rate brought {max(share, 0):.0%} of the fall."
        )
        evidence |= {"steps": steps, "first_half": share}
        return Finding("rate_too_low", sentence, evidence, confidence, "validation")
    sentence = (
        f"The model was still improving when training ended: the second half of {counted(epochs, 'epochs')} took the validation "
        f"loss from {half:.3g} to {end:.3g}."
    )
    return Finding("still_improving", sentence, evidence, confidence, "validation")


def unstable(record: Record) -> Finding | None:
    """Whether the learning rate was so high that training lost what it had learned.

    Args:
        record: Record.

    Returns:
        Finding of the kind "unstable_rate", or None.
    """
    losses = curve(record)
    if losses is None:
        return None
    # The first loss is that of random weights, and dropout alone can keep a falling loss above that of a guess.
    lowest = np.minimum.accumulate([losses.earlier, *losses.train])
    rises = np.flatnonzero(losses.train > lowest[:-1])
    worst = float(losses.train[rises].max()) if len(rises) else 0.0
    evidence = {"phase": losses.phase, "worst_loss": worst, "loss_of_a_guess": losses.guess}
    if worst > UNSTABLE * losses.guess:
        sentence = (
            f"The learning rate is too high: in phase {losses.phase} the training loss rose to {worst:.3g}, above the "
            f"{losses.guess:.3g} of a guess."
        )
        return Finding("unstable_rate", sentence, evidence, 1.0)
    first, last = float(losses.validation[0]), float(losses.validation[-1])
    is_first_best = len(losses.validation) >= FEWEST_EPOCHS and first <= losses.validation.min()
    if not is_first_best or first > losses.guess / UNSTABLE or last < OVERSHOT * first:
        return None
    sentence = (
        f"The learning rate is too high: in phase {losses.phase} the validation loss was lowest after the first epoch "
        f"({first:.3g}) and rose to {last:.3g} after {len(losses.validation)} epochs."
    )
    evidence |= {"first_loss": first, "last_loss": last, "epochs": len(losses.validation)}
    return Finding("unstable_rate", sentence, evidence, 1.0)


def of_language(rows: Sequence[Mapping[str, object]]) -> list[Finding]:
    """What the validation perplexity of a language model says about the length of its training.

    Args:
        rows: sequence of mappings, the rows of `history.csv`.

    Returns:
        list of Finding of the kinds "overfitting" and "still_improving", at most one of them.
    """
    losses = [value for row in rows if (value := _loss(row, "val_")) is not None]
    if len(losses) < 2 or not np.isfinite(losses).all():
        return []
    lowest, end, half = min(losses), losses[-1], float(np.interp((len(losses) - 1) / 2, range(len(losses)), losses))
    best = losses.index(lowest) + 1
    perplexities = {
        "lowest": math.exp(min(lowest, 700)),
        "end": math.exp(min(end, 700)),
        "half": math.exp(min(half, 700)),
    }
    evidence = {"epochs": len(losses), "best_epoch": best, **perplexities}
    if end - lowest > math.log1p(PERPLEXITY):
        sentence = (
            f"The model overfits: its validation perplexity was lowest after epoch {best} ({perplexities['lowest']:.4g}) and "
            f"then rose to {perplexities['end']:.4g}."
        )
        change = Change("fit.epochs", best, "as long as it got better")
        return [Finding("overfitting", sentence, evidence, 1.0, "validation", (change,))]
    if half - end > math.log1p(PERPLEXITY) and end == lowest:
        sentence = (
            f"The model was still improving when training ended: the second half of {len(losses)} epochs took the "
            f"validation perplexity from {perplexities['half']:.4g} to {perplexities['end']:.4g}."
        )
        change = Change("fit.epochs", 2 * len(losses), "twice as long")
        return [Finding("still_improving", sentence, evidence, 1.0, "validation", (change,))]
    return []


def _loss(row, prefix: str) -> float | None:
    value = row.get(f"{prefix}data_loss", row.get(f"{prefix}loss"))
    return None if value is None else float(value)
