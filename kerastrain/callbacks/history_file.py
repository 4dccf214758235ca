"""The history of a run as one CSV file that grows over all its phases.

Takes the logs of each epoch; writes a file that is complete after every epoch. Must not know what is logged.
"""

import csv
import io
import os
import time
from pathlib import Path

import keras

from kerastrain import distribute
from kerastrain.callbacks.monitor import inner_optimizer
from kerastrain.system import files


class HistoryFile(keras.callbacks.Callback):
    """Writes one row per epoch: phase, epoch, seconds, learning_rate, then every logged value.

    The file is rewritten atomically after each epoch, so it never holds half a row, and a value that is logged for the
    first time gets a new column. Rows of earlier phases remain. A run that was resumed or repeated drops the rows of
    the epochs that it trains again. With several workers the chief writes.

    Args:
        path: path of the CSV file; its parent folders are created.
        phase: str, the name of this phase, such as "head" or "fine-tuning".
    """

    def __init__(self, path: str | os.PathLike, *, phase: str = "fit"):
        super().__init__()
        self.path = Path(path)
        self.phase = phase
        self._rows: list[dict] = []

    def on_train_begin(self, logs=None):
        """Reads the rows of earlier phases."""
        self._started = False
        self._began_seconds = None
        self._earlier_seconds = 0.0
        self._rows = []
        if self.path.exists():
            with self.path.open(newline="", encoding="utf-8") as file:
                self._rows = list(csv.DictReader(file))

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clock; before the first epoch, drops the rows that this run repeats."""
        self._began_seconds = time.perf_counter() - self._earlier_seconds
        self._earlier_seconds = 0.0
        if not self._started:
            self._started = True
            repeated = (
                index
                for index, row in enumerate(self._rows)
                if row["phase"] == self.phase and int(row["epoch"]) > epoch
            )
            self._rows = self._rows[: next(repeated, None)]

    def on_epoch_end(self, epoch, logs=None):
        """Writes the row of this epoch; epochs count from 1, and the learning rate is that of the next step."""
        rate = keras.ops.convert_to_numpy(inner_optimizer(self.model).learning_rate)
        row = {
            "phase": self.phase,
            "epoch": epoch + 1,
            "seconds": f"{self._seconds():.3f}",
            "learning_rate": f"{float(rate):.8g}",
        }
        row.update({name: f"{float(value):.8g}" for name, value in (logs or {}).items() if name != "learning_rate"})
        self._began_seconds = None
        self._rows.append(row)
        text = io.StringIO()
        columns = list(dict.fromkeys(name for row in self._rows for name in row))
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        if distribute.is_chief():
            files.write_text(self.path, text.getvalue())

    def saved_state(self) -> dict:
        """State for a checkpoint: the seconds that the current epoch has taken so far."""
        return {"seconds": self._seconds()}

    def restore_state(self, state: dict) -> None:
        """Restores the state that `saved_state` returned.

        Args:
            state: dict of `saved_state`.
        """
        self._earlier_seconds = state["seconds"]

    def _seconds(self) -> float:
        return 0.0 if self._began_seconds is None else time.perf_counter() - self._began_seconds
