"""Predicts whether measuring other settings of a train step pays within a run, before time is spent on it.

Takes seconds and counts, returns sentences. Must not measure anything.
"""

import math

from kerastrain.errors import counted

LARGEST_COST_FRACTION = 0.05
"""Largest share of a run that is spent on trials. A setting is taken if it saves a tenth, so the trials cost at most half of
the least that they can bring."""
USUAL_TRACE_SECONDS = 10.0
"""Time in which a network for photos is built and its train step traced, where it is not known yet. MobileNetV2 takes this
on two cores; a trial that was made tells the time of the next."""
TRIAL_STEPS, TRIAL_SECONDS = 10, 5.0
"""A trial ends after so many steps, or after so many seconds."""
STEP_PASSES = 3
"""Forward passes that take as long as a train step, which computes two more for the gradients of outputs and weights."""


def reason_against_trials(*, steps: int, step_seconds: float, trials: int, trace_seconds: float) -> str:
    """Says why trials would take more of a run than they are worth.

    They may take `LARGEST_COST_FRACTION` of the run:

        trials * (trace_seconds + min(TRIAL_STEPS * step_seconds, TRIAL_SECONDS)) <= 0.05 * steps * step_seconds

    Args:
        steps: int >= 0, steps that the run takes.
        step_seconds: float >= 0, time of a step, in seconds.
        trials: int > 0, number of settings to try.
        trace_seconds: float >= 0, time in which a trial takes its first step, in seconds.

    Returns:
        str, the end of a sentence; "" if the trials are worth their time.

    Example:
        >>> reason_against_trials(steps=400, step_seconds=0.012, trials=2, trace_seconds=10)
        "the run's 400 steps of 12 ms are too few to measure others"
        >>> reason_against_trials(steps=40000, step_seconds=0.1, trials=2, trace_seconds=10)
        ''
    """
    if steps * step_seconds >= _least_seconds(step_seconds, trials, trace_seconds):
        return ""
    return f"the run's {counted(steps, 'steps')} of {milliseconds(step_seconds)} are too few to measure others"


def milliseconds(seconds: float) -> str:
    """A time in milliseconds, with three digits where it is short.

    Args:
        seconds: float >= 0.

    Returns:
        str.

    Example:
        >>> milliseconds(0.0123456), milliseconds(4.7)
        ('12.3 ms', '4,700 ms')
    """
    return f"{1000 * seconds:.3g} ms" if seconds < 0.1 else f"{1000 * seconds:,.0f} ms"


def least_steps(*, step_seconds: float, trials: int, trace_seconds: float) -> int:
    """The smallest number of steps for which trials are worth their time.

    Args:
        step_seconds: float > 0, time of a step, in seconds.
        trials: as for `reason_against_trials`.
        trace_seconds: as for `reason_against_trials`.

    Returns:
        int >= 0.

    Example:
        >>> least_steps(step_seconds=0.1, trials=2, trace_seconds=10)
        4400
    """
    return math.ceil(_least_seconds(step_seconds, trials, trace_seconds) / step_seconds)


def predicted_step_seconds(*, pass_seconds: float, pass_examples: int, batch_size: int) -> float:
    """Predicts the time of a train step by that of a forward pass.

    Args:
        pass_seconds: float >= 0, time of the pass, in seconds.
        pass_examples: int > 0, examples in the pass.
        batch_size: int > 0, examples in a step.

    Returns:
        float >= 0, seconds.

    Example:
        >>> predicted_step_seconds(pass_seconds=0.02, pass_examples=8, batch_size=32)
        0.24
    """
    return STEP_PASSES * pass_seconds * batch_size / pass_examples


def _least_seconds(step_seconds: float, trials: int, trace_seconds: float) -> float:
    measured = min(TRIAL_STEPS * step_seconds, TRIAL_SECONDS)
    return trials * (trace_seconds + measured) / LARGEST_COST_FRACTION
