"""Keeps the files of a search up to date that show it: tables, best config, page; and the models of its best trials.

Takes the events of a search; reads its journal and the records of its trials. Must not decide what is tried.
"""

import time
from collections.abc import Callable
from pathlib import Path

from kerastrain import report, tracking
from kerastrain.recipe import search_files, search_winner
from kerastrain.tuning import records
from kerastrain.tuning.events import Event

_SECONDS = 2.0  # between two writings of trials.json while epochs end


class Views:
    """Writes the tables of a search while it runs, and keeps the models of its best trials.

    Args:
        directory: Path of the search.
        kept_models: int >= 0, the number of best trials whose models stay on disk.
        on_event: callable that gets each Event once the files are up to date; None for none.
    """

    def __init__(self, directory: Path, kept_models: int, on_event: Callable[[Event], None] | None = None):
        self._directory, self._kept_models, self._on_event = directory, kept_models, on_event
        self._written = 0.0

    def handle(self, event: Event) -> None:
        """Brings the files up to date after an event, and passes it on.

        Args:
            event: Event.
        """
        if event.kind != "epoch" or time.monotonic() - self._written > _SECONDS:
            record = self.refresh()
            if event.kind == "end":
                search_files.remove_checkpoints(self._directory / event.assignment.folder)
                search_files.keep_models(self._directory, record, self._kept_models)
        if self._on_event is not None:
            self._on_event(event)

    def refresh(self) -> dict:
        """Writes `trials.json`, `trials.csv` and `best.yaml`; returns the content of the first."""
        record = records.write(self._directory)
        search_winner.write_best(self._directory)
        self._written = time.monotonic()
        return record

    def finish(self) -> dict:
        """Writes the page and what TensorBoard shows, too; returns the content of `trials.json`."""
        record = self.refresh()
        report.write(self._directory)
        tracking.write_search(self._directory)
        return record
