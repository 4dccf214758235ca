"""Shows a search while it runs: a live table on a terminal, one line for each start and end of a trial elsewhere.

Takes events; prints. Must not write files or change the search.
"""

import logging
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from kerastrain.cli.search_progress import SearchProgress, Training
from kerastrain.cli.search_texts import number, short_settings
from kerastrain.system.terminal import printable

logger = logging.getLogger("kerastrain")

_OTHER_LINES = 6  # of a terminal: the summary, the head of the table, and what stays empty
_FEWEST_ROWS = 3
_REFRESHES_PER_SECOND = 4


class SearchTable:
    """A context manager that shows the events of a search.

    On a terminal, a table shows the running trials and the best ones; only failures leave a line. Elsewhere, lines are
    logged and epochs are not: a search of 30 trials prints 60 lines.

    Args:
        progress: SearchProgress.
        console: rich.console.Console to print to.
    """

    def __init__(self, progress: SearchProgress, console: Console):
        self.progress = progress
        self._console = console
        self._live: Live | None = None
        self._streams: list[tuple[logging.StreamHandler, Any]] = []

    def __enter__(self) -> "SearchTable":
        if self._console.file.isatty() and not self._console.is_dumb_terminal:
            self._live = Live(
                get_renderable=self._drawn,
                console=self._console,
                refresh_per_second=_REFRESHES_PER_SECOND,
                transient=True,
                redirect_stderr=False,
            )
            self._live.start()
            # Lines of the logger are printed above the table.
            for handler in logger.handlers:
                if isinstance(handler, logging.StreamHandler):
                    self._streams.append((handler, handler.setStream(_Above(self._console))))
        return self

    def __exit__(self, *exception) -> None:
        for handler, stream in self._streams:
            handler.setStream(stream)
        self._streams.clear()
        if self._live is not None:
            self._live.stop()
            self._live = None

    def show(self, event) -> None:
        """Shows an event; the `on_event` of a search.

        Args:
            event: tuning.Event.
        """
        line = self.progress.add(event)
        if line and (self._live is None or event.status == "failed"):
            logger.info("%s", line)

    def _drawn(self) -> Group:
        return drawn(self.progress, rows=max(self._console.height - _OTHER_LINES, _FEWEST_ROWS))


def drawn(progress: SearchProgress, *, rows: int) -> Group:
    """Draws the summary and a table of the running trials and, below them, the best ones.

    Args:
        progress: SearchProgress.
        rows: int > 0, the largest number of rows.

    Returns:
        rich.console.Group.
    """
    table = Table(
        "trial", "", "epoch", escape(progress.measure), "values", box=box.SIMPLE_HEAD, show_edge=False, expand=True
    )
    for column in table.columns:
        column.no_wrap = True
    table.columns[-1].ratio = 1
    running = progress.listed("running")
    others = [*progress.ranked(), *progress.listed("paused", "pruned")]
    for training in [*running, *others][:rows]:
        table.add_row(*_cells(training, progress.best))
    hidden = len(running) + len(others) - rows
    more = [Text(f"… and {hidden} more")] if hidden > 0 else []
    return Group(Text(progress.summary()), table, *more)


def _cells(training: Training, best: Training | None) -> list[Text]:
    of = f" of {training.epochs}" if training.epochs else ""
    cells = (
        f"{training.point}" + (f", seed {training.seed + 1}" if training.seed else ""),
        "best" if training is best else training.status,
        f"{training.epoch}{of}",
        "" if training.value is None else number(training.value),
        printable(short_settings(training.values)),
    )
    return [Text(cell) for cell in cells]


class _Above:
    """A stream for a log handler whose text is printed above the live table."""

    def __init__(self, console: Console):
        self._console = console

    def write(self, text: str) -> None:
        """Prints text that a formatter has made printable."""
        if text.rstrip("\n"):
            self._console.print(text.rstrip("\n"), markup=False, highlight=False, soft_wrap=True)

    def flush(self) -> None:
        """Does nothing: the console flushes."""
