"""The last good state of a training, prepared to resume at a lower learning rate.

Takes the folder of checkpoints; writes one more checkpoint. Must not train.
"""

from pathlib import Path

import numpy as np

from kerastrain.checkpoints.store import Stored, latest, write
from kerastrain.errors import InputError


def roll_back(directory: Path, *, rate_factor: float, keep: int = 3) -> Stored:
    """Copies the newest checkpoint with a lower learning rate, for the next `fit` to resume from.

    The lower rate is on disk before training resumes, so a training that is killed right afterwards still uses it.

    Args:
        directory: Path of the folder of checkpoints.
        rate_factor: float in (0, 1), multiplies the learning rate from here on, on top of the schedule.
        keep: int >= 1, the number of checkpoints to keep; older ones are deleted.

    Returns:
        Stored, the new checkpoint; `outline["roll_backs"]` counts the roll-backs of the training.

    Raises:
        InputError: there is no complete checkpoint, `rate_factor` is out of range, or the optimizer has no
            `rate_factor` because it was not made by `kerastrain.optimizers`.
        WriteError: the checkpoint cannot be written.
    """
    directory = Path(directory)
    if not 0 < rate_factor < 1:
        raise InputError(f"`rate_factor` must lie between 0 and 1. Received: {rate_factor}.")
    stored = latest(directory)
    if stored is None:
        raise InputError(f"there is no complete checkpoint in {str(directory)!r} to roll back to.")
    state = stored.read()
    factors = [variable for variable in state["model"]["optimizer"] if variable["path"].endswith("/rate_factor")]
    if not factors:
        raise InputError(
            "rolling back to a lower learning rate needs an optimizer made by `kerastrain.optimizers.make`. "
            f"Received: {state['model']['optimizer'][0]['path'].partition('/')[0]}."
        )
    for factor in factors:
        factor["replicas"] = [np.asarray(value * rate_factor, value.dtype) for value in factor["replicas"]]
    state["roll_backs"] += 1
    write(directory, state, keep=keep)
    return latest(directory)
