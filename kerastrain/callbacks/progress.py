"""What a person sees of a training: a live bar on a terminal, one line for each epoch anywhere else.

Takes the logs that Keras hands over; gives text. Must not write files or change the training.
"""

import time
import weakref

import keras
import rich.console
import rich.progress
from rich.table import Column

_REFRESH_SECONDS = 0.1


class Progress(keras.callbacks.ProgbarLogger):
    """A bar that lives while an epoch runs on a terminal, and exactly one line when it ends.

    It is a ProgbarLogger, so Keras adds no bar of its own. As with Keras, `fit(verbose=0)` silences it and
    `fit(verbose=2)` leaves the bar out. In a file, a pipe or a notebook there is never a bar.

    Args:
        phase: str, put before each line, such as "head"; nothing if empty.
        console: rich.console.Console to write on; None for standard output.
    """

    def __init__(self, *, phase: str = "", console: rich.console.Console | None = None):
        super().__init__()
        self.phase = phase
        self._console = console
        self._bar = None
        self._steps = None

    def on_train_begin(self, logs=None):
        """Looks where the output goes."""
        self._stop_bar()
        self._console_now = self._console or rich.console.Console()
        on_terminal = self._console_now.file.isatty() and not self._console_now.is_dumb_terminal
        self._live = on_terminal and self.verbose == 1
        self._steps = self.target
        self._seen_steps = self._earlier_steps = 0

    def on_epoch_begin(self, epoch, logs=None):
        """Draws the empty bar."""
        self._began_seconds = self._drawn_seconds = time.perf_counter()
        self._seen_steps = self._earlier_steps
        self._title = " ".join(part for part in (self.phase, f"epoch {epoch + 1}/{self.epochs}") if part)
        if self._live:
            self._stop_bar()
            self._bar = _bar(self._console_now)
            self._bar.add_task(self._title, total=self._steps, values="")
            self._bar.start()
            # Keras tells a callback nothing of an interrupted `fit`; the cursor must come back all the same.
            self._cursor = weakref.finalize(self, self._console_now.show_cursor)

    def on_train_batch_end(self, batch, logs=None):
        """Moves the bar."""
        self._seen_steps = self._earlier_steps + batch + 1
        self._draw(self._title, logs)

    def on_test_begin(self, logs=None):
        """Says that the epoch is in its validation."""
        self._draw_validation()

    def on_test_batch_end(self, batch, logs=None):
        """Keeps the clock of the bar going."""
        self._draw_validation()

    def on_epoch_end(self, epoch, logs=None):
        """Takes the bar away and prints the line."""
        self._steps = self._seen_steps or self._steps
        self._seen_steps = self._earlier_steps = 0
        self._stop_bar()
        if self.verbose:
            seconds = time.perf_counter() - self._began_seconds
            line = f"{self._title}  {_values(logs)}  {seconds:.1f} s"
            self._console_now.print(line, soft_wrap=True, markup=False, highlight=False)

    def on_train_end(self, logs=None):
        """Leaves the terminal as it was."""
        self._stop_bar()

    def saved_state(self) -> dict:
        """What a resumed training needs: the steps that its epoch has behind it."""
        return {"steps": self._seen_steps}

    def restore_state(self, state: dict) -> None:
        """Takes back what `saved_state` gave."""
        self._earlier_steps = state["steps"]

    # Keras draws a bar for `evaluate` and `predict` in these; a training has no part in them.
    def on_test_end(self, logs=None):
        """Nothing."""

    def on_predict_begin(self, logs=None):
        """Nothing."""

    def on_predict_batch_end(self, batch, logs=None):
        """Nothing."""

    def on_predict_end(self, logs=None):
        """Nothing."""

    def _draw_validation(self) -> None:
        if self._bar is not None:
            self._draw(f"{self._title}, validating", None)

    def _draw(self, title: str, logs: dict | None) -> None:
        now = time.perf_counter()
        if self._bar is None or now - self._drawn_seconds < _REFRESH_SECONDS:
            return
        self._drawn_seconds = now
        fields = {} if logs is None else {"values": _values(logs)}
        self._bar.update(self._bar.task_ids[0], description=title, completed=self._seen_steps, **fields)
        self._bar.refresh()

    def _stop_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._cursor.detach()
            self._bar = None


def _bar(console: rich.console.Console) -> rich.progress.Progress:
    return rich.progress.Progress(
        rich.progress.TextColumn("{task.description}", markup=False),
        rich.progress.BarColumn(bar_width=20),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeRemainingColumn(compact=True),
        # On a narrow terminal the values are cut off, and never the bar.
        rich.progress.TextColumn("{task.fields[values]}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
        console=console,
        auto_refresh=False,
        expand=True,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )


def _values(logs: dict | None) -> str:
    # The loss comes first, for it must be seen where the rest is cut off.
    names = sorted(logs or {}, key=lambda name: (name.startswith("val_"), not name.endswith("loss")))
    return "  ".join(f"{name} {float(logs[name]):#.4g}" for name in names)
