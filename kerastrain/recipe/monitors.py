"""What the epochs of a run are compared by.

Takes a `Config`; returns a record. Must not import TensorFlow.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kerastrain import data
from kerastrain.config import Config
from kerastrain.errors import InputError
from kerastrain.evaluation import catalog


@dataclass(frozen=True)
class Monitor:
    """A measure of the validation part that is known after each epoch.

    Args:
        measure: str, its name in the catalog. "validation.loss" is the loss that is trained, without the penalties on weights,
            which only count in phases that train those weights.
        column: str, its name in `history.csv`.
        is_computed: bool, whether it is computed after each epoch; else Keras logs it.
    """

    measure: str = "validation.loss"
    column: str = "val_data_loss"
    is_computed: bool = False

    @property
    def mode(self) -> str:
        """Whether lower or higher values are better: "min" or "max"."""
        return catalog.direction(self.measure)


LOSS = Monitor()
"""What epochs are compared by if nothing else is set."""


def monitor(config: Config) -> Monitor:
    """The monitor of a config.

    Args:
        config: Config.

    Returns:
        Monitor.
    """
    name, kind = config.fit.monitor, config.measured_kind
    if name is None or name == LOSS.measure:
        return LOSS
    return Monitor(name, catalog.logged_name(name, kind), not catalog.is_logged_by_keras(name, kind))


def examples(monitor: Monitor, validation: data.Examples) -> int:
    """The number of examples whose answers decide about a monitored value.

    Args:
        monitor: Monitor.
        validation: data.Examples of the validation part.

    Returns:
        int >= 1: all examples; for a measure of one class those of the class, if there are any.
    """
    label = catalog.class_of(monitor.measure)
    if label is None or validation.class_counts is None:
        return len(validation)
    return max(1, int(validation.class_counts[validation.labels.index(label)]))


def check_labels(config: Config, labels: Sequence[str]) -> None:
    """Raises an error if the data do not have the class that is monitored.

    Args:
        config: Config.
        labels: sequence of str, the names of the classes or numbers.

    Raises:
        InputError: they do not. The message begins with the key.
    """
    if config.fit.monitor is None:
        return
    try:
        catalog.check_monitor(config.fit.monitor, config.measured_kind, labels)
    except InputError as error:
        raise InputError(f"`fit.monitor`: {error}") from None
