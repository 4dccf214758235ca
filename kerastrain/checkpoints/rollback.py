"""The last good state of a training, to go on from at a lower learning rate.

Takes the folder of checkpoints; gives one checkpoint more. Must not train.
"""

from pathlib import Path

import numpy as np

from kerastrain.checkpoints.store import Stored, latest, write
from kerastrain.errors import InputError


def roll_back(directory: Path, *, rate_factor: float, keep: int = 3) -> Stored:
    """Writes the newest checkpoint once more, at a lower learning rate, for the next `fit` to go on from.

    The lower rate is written down at once, so that a training that is killed right after has not forgotten it.

    Args:
        directory: Path of the folder of checkpoints.
        rate_factor: float in (0, 1), the rate from here on over the rate before, on top of the schedule.
        keep: int > 0, checkpoints that stay.

    Returns:
        Stored, the new checkpoint; `outline["roll_backs"]` counts how often this was done in the training.

    Raises:
        InputError: there is no whole checkpoint, `rate_factor` is out of range, or the optimizer was not made by
            `kerastrain.optimizers`, so that its rate has no factor.
    """
    directory = Path(directory)
    if not 0 < rate_factor < 1:
        raise InputError(f"`rate_factor` must lie between 0 and 1. Received: {rate_factor}.")
    stored = latest(directory)
    if stored is None:
        raise InputError(f"there is no whole checkpoint in {str(directory)!r} to roll back to.")
    state = stored.read()
    factors = [one for one in state["model"]["optimizer"] if one["path"].endswith("/rate_factor")]
    if not factors:
        raise InputError(
            "a training is rolled back to a lower rate with an optimizer made by `kerastrain.optimizers.make`. "
            f"Received: {state['model']['optimizer'][0]['path'].partition('/')[0]}."
        )
    for factor in factors:
        factor["replicas"] = [np.asarray(value * rate_factor, value.dtype) for value in factor["replicas"]]
    state["roll_backs"] += 1
    write(directory, state, keep=keep)
    return latest(directory)
