"""What a worker is asked to train, as a trial of keras-tuner carries it.

Takes keras-tuner's Trial; returns frozen records. Must not choose points, and must not import TensorFlow or keras_tuner.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

POINT, SEED, EPOCHS, VALUES = "tuner/point", "tuner/seed", "tuner/epochs", "tuner/values"
"""The names under which a trial carries an assignment, beside the values in keras-tuner's own form."""


@dataclass(frozen=True)
class Assignment:
    """One training of a point, or its continuation.

    Args:
        trial_id: str, keras-tuner's name of it.
        point: int >= 1, the number of the point.
        seed: int >= 0, what is added to the seed of the training; 0 except for further seeds of a finalist.
        values: mapping from the active keys to their values.
        epochs: int >= 1, after how many epochs in total the training pauses; None: it goes to its end.
    """

    trial_id: str
    point: int
    seed: int
    values: Mapping[str, Any]
    epochs: int | None

    @property
    def folder(self) -> str:
        """The folder of the training below that of the search, the same for all its continuations."""
        return folder(self.point, self.seed)


def folder(point: int, seed: int = 0) -> str:
    """The folder of the training of a point, below that of the search.

    Args:
        point: int >= 1.
        seed: int >= 0.

    Returns:
        str.

    Example:
        >>> folder(7), folder(7, seed=2)
        ('trials/007', 'trials/007_seed2')
    """
    return f"trials/{point:03d}" + (f"_seed{seed}" if seed else "")


def assignment(trial) -> Assignment:
    """Reads what a trial asks for; the space is not needed, so that it works on any machine.

    Args:
        trial: keras_tuner Trial with the status RUNNING, from an Oracle of `tuning.oracle`.

    Returns:
        Assignment.
    """
    carried = trial.hyperparameters.values
    values = json.loads(carried[VALUES])
    return Assignment(trial.trial_id, carried[POINT], carried[SEED], values, carried[EPOCHS] or None)


def carried(point: int, seed: int, values: Mapping[str, Any], epochs: int | None) -> dict[str, int | str]:
    """What a trial carries, in the types that keras-tuner sends between machines.

    Args:
        point: int >= 1.
        seed: int >= 0.
        values: mapping from the active keys to their values.
        epochs: int >= 1, or None.

    Returns:
        dict.
    """
    return {POINT: point, SEED: seed, EPOCHS: epochs or 0, VALUES: json.dumps(dict(values))}
