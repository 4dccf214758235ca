"""Progress display of a training: a live bar on a terminal, one line per epoch everywhere else.

Takes the logs that Keras passes to callbacks; prints text. Must not write files or change the training.
"""

import time
import weakref

import keras
import rich.console
import rich.progress
from rich.table import Column

_REFRESH_SECONDS = 0.1


class Progress(keras.callbacks.ProgbarLogger):
    """Shows a live bar while an epoch runs on a terminal, and prints exactly one line when it ends.

    It is a ProgbarLogger, so Keras does not add its own bar. As in Keras, `fit(verbose=0)` silences it and
    `fit(verbose=2)` omits the bar. There is never a bar in a file, a pipe or a notebook.

    Args:
        phase: str, the prefix of each line, such as "head"; "" for none.
        counts_epochs: bool, whether the lines count the epochs; False for data of all epochs in one.
        console: rich.console.Console to print to; None for standard output.
    """

    def __init__(self, *, phase: str = "", counts_epochs: bool = True, console: rich.console.Console | None = None):
        super().__init__()
        self.phase = phase
        self.counts_epochs = counts_epochs
        self._console = console
        self._bar = None
        self._steps = None

    @property
    def on_terminal(self) -> bool:
        """Whether the output is a terminal that can show a bar."""
        console = self._console or rich.console.Console()
        return console.file.isatty() and not console.is_dumb_terminal

    def on_train_begin(self, logs=None):
        """Checks whether the output is a terminal."""
        self._stop_bar()
        self._console_now = self._console or rich.console.Console()
        self._live = self.on_terminal and self.verbose == 1
        self._steps = self.target
        self._seen_steps = self._earlier_steps = 0

    def on_epoch_begin(self, epoch, logs=None):
        """Draws the empty bar."""
        self._began_seconds = self._drawn_seconds = time.perf_counter()
        self._seen_steps = self._earlier_steps
        count = f"epoch {epoch + 1}/{self.epochs}" if self.counts_epochs else ""
        self._title = " ".join(part for part in (self.phase, count) if part)
        if self._live:
            self._stop_bar()
            self._bar = _bar(self._console_now)
            self._bar.add_task(self._title, total=self._steps, values="")
            self._bar.start()
            # Keras calls no callback when `fit` is interrupted, and the hidden cursor must be shown again even then.
            self._cursor = weakref.finalize(self, self._console_now.show_cursor)

    def on_train_batch_end(self, batch, logs=None):
        """Advances the bar."""
        self._seen_steps = self._earlier_steps + batch + 1
        self._draw(self._title, logs)

    def on_test_begin(self, logs=None):
        """Marks the bar as validating."""
        self._draw_validation()

    def on_test_batch_end(self, batch, logs=None):
        """Updates the clock of the bar."""
        self._draw_validation()

    def on_epoch_end(self, epoch, logs=None):
        """Removes the bar and prints the line of the epoch."""
        self._steps = self._seen_steps or self._steps
        self._seen_steps = self._earlier_steps = 0
        self._stop_bar()
        if self.verbose:
            seconds = time.perf_counter() - self._began_seconds
            line = f"{self._title}  {_values(logs)}  {seconds:.1f} s"
            self._console_now.print(line, soft_wrap=True, markup=False, highlight=False)

    def on_train_end(self, logs=None):
        """Removes the bar."""
        self._stop_bar()

    def saved_state(self) -> dict:
        """State for a checkpoint: the steps of the current epoch that are done."""
        return {"steps": self._seen_steps}

    def restore_state(self, state: dict) -> None:
        """Restores the state that `saved_state` returned.

        Args:
            state: dict of `saved_state`.
        """
        self._earlier_steps = state["steps"]

    # ProgbarLogger draws the bars of `evaluate` and `predict` in these methods.
    def on_test_end(self, logs=None):
        """Does nothing."""

    def on_predict_begin(self, logs=None):
        """Does nothing."""

    def on_predict_batch_end(self, batch, logs=None):
        """Does nothing."""

    def on_predict_end(self, logs=None):
        """Does nothing."""

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
        # On a narrow terminal the values are truncated, not the bar.
        rich.progress.TextColumn("{task.fields[values]}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
        console=console,
        auto_refresh=False,
        expand=True,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )


def _values(logs: dict | None) -> str:
    texts = {name: f"{float(value):#.4g}" for name, value in (logs or {}).items()}
    # Without penalties on weights, the loss of the data is the loss.
    names = [name for name in texts if not (name.endswith("data_loss") and texts[name] == texts.get(_whole_loss(name)))]
    # The loss comes first, to be visible where the rest is truncated.
    names.sort(key=lambda name: (name.startswith("val_"), not name.endswith("loss"), name.endswith("data_loss")))
    return "  ".join(f"{name} {texts[name]}" for name in names)


def _whole_loss(name: str) -> str:
    return name.removesuffix("data_loss") + "loss"
