"""Graceful exit when the process is asked to stop: finish the step, save, and report that the run can be resumed.

Handles SIGTERM (sent by SLURM, Kubernetes and the preemption of cloud machines), SIGINT (Ctrl-C) and SIGUSR1 (which
SLURM's `--signal` can send). Raises `Stopped`, which ends the process with exit code 75, EX_TEMPFAIL of sysexits.h: run the
command again. Must not save anything itself.

Between `hold` and `release` a signal is held back, because the caller of `hold` saves at the next step. Otherwise there is
nothing to save, and the signal stops the process at once. A second SIGINT always stops it at once, by KeyboardInterrupt;
a file that is being written is then discarded.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator

from kerastrain.system import library_output

EXIT_CODE = 75
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

_received: list[int] = []
_held = False


class Stopped(SystemExit):
    """The process was asked to stop, and its state is saved.

    Args:
        number: int, the signal.
        where: str, the position of the saved state, such as "step 1,200 (epoch 3, phase fit)"; None outside of training.
    """

    def __init__(self, number: int, where: str | None = None):
        super().__init__(EXIT_CODE)
        self.number = number
        self.where = where

    def __str__(self) -> str:
        name = signal.Signals(self.number).name
        return f"stopped by {name}" + (f"; the state is saved before {self.where}" if self.where else "")


@contextlib.contextmanager
def graceful() -> Iterator[None]:
    """Context manager in which a signal stops the process gracefully; restores the previous handlers at the end.

    Does nothing outside of the main thread, where Python cannot handle signals. A signal that is ignored, such as SIGINT in
    a background job of a shell, stays ignored.

    Raises:
        Stopped: a signal arrived, and the state is saved.
        KeyboardInterrupt: SIGINT arrived a second time.

    Example:
        >>> with graceful():
        ...     pass  # model.fit(..., callbacks=checkpoints.before([...]))
    """
    global _held
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    handled = [number for number in SIGNALS if before[number] is not signal.SIG_IGN]
    for number in handled:
        signal.signal(number, _handle)
    try:
        yield
        raise_if_pending()
    except Exception as error:
        # A signal can fall between two steps of a library, such as closing a file and noting that it is closed. While
        # `Stopped` passes, the library then fails in its turn: shutil.rmtree closes the file a second time.
        if (stop := _stop_before(error)) is not None:
            raise stop from error
        raise
    finally:
        for number in handled:
            signal.signal(number, before[number])
        _received.clear()
        _held = False


def hold() -> None:
    """From now on a signal is held back until `raise_if_pending`, because the state can be saved after the next step."""
    global _held
    _held = True


def release() -> None:
    """From now on a signal stops the process at once; one that is held back still waits for `raise_if_pending`."""
    global _held
    _held = False


def pending() -> int:
    """The signal that is held back, so that the state should be saved now; 0 if there is none."""
    return _received[0] if _received else 0


def raise_if_pending(where: str | None = None) -> None:
    """Raises `Stopped` if a signal is held back; call it once the state is saved.

    Args:
        where: str, the position of the saved state, as in `Stopped`; None outside of training.

    Raises:
        Stopped: a signal is held back.
    """
    if _received:
        raise Stopped(_received[0], where)


def _stop_before(error: BaseException) -> BaseException | None:
    """The exception of `_handle` that was passing when `error` was raised; None if there was none."""
    while error is not None and not isinstance(error, Stopped | KeyboardInterrupt):
        error = error.__context__
    return error


def _handle(number: int, frame) -> None:
    if _received and number == signal.SIGINT:
        raise KeyboardInterrupt
    _received.append(number)  # Before the message, because the next signal may follow it at once.
    if not _held and len(_received) == 1:
        raise Stopped(number)
    if len(_received) == 1 and number == signal.SIGINT:
        # Not `print`, which this handler may have interrupted.
        library_output.write("\nkerastrain: finishing the step and saving; press Ctrl-C again to quit at once\n")
