"""What a process does when it is told to stop: it finishes the step, saves, and says that it can be resumed.

Takes the signals SIGTERM (what SLURM, Kubernetes and the clouds' preemption notices send), SIGINT (Ctrl-C) and SIGUSR1
(what SLURM's `--signal` can be told to send); gives `Stopped`, which ends the process with the exit code 75, the
EX_TEMPFAIL of sysexits.h: call it again. Must not save anything itself.

Between `hold` and `release` a signal waits, because whoever holds will save at the next step; outside of them there is
nothing to save and it stops at once. A second SIGINT never waits: it ends the process by KeyboardInterrupt, and what
was being written is not there.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

EXIT_CODE = 75
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

_received: list[int] = []
_held = False


class Stopped(SystemExit):
    """The process was told to stop, and its state is saved.

    Args:
        number: int, the signal.
        where: str, what the saved state is of, such as "step 1,200 (epoch 3, phase fit)"; None outside of a training.
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
    """The block in which a signal stops the process gracefully; the handlers before it come back after it.

    Does nothing outside of the main thread, where Python cannot handle signals. A signal that is ignored, as SIGINT is
    in a shell's background job, stays ignored.

    Raises:
        Stopped: a signal came, and the state is saved.
        KeyboardInterrupt: SIGINT came a second time.

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
        leave_if_asked()
    finally:
        for number in handled:
            signal.signal(number, before[number])
        _received.clear()
        _held = False


def hold() -> None:
    """From here on a signal waits for `leave_if_asked`, because steps follow after which the state can be saved."""
    global _held
    _held = True


def release() -> None:
    """From here on a signal stops at once; one that is waiting goes on waiting for `leave_if_asked`."""
    global _held
    _held = False


def asked() -> int:
    """The signal that is waiting, so that the state should be saved now; 0 for none."""
    return _received[0] if _received else 0


def leave_if_asked(where: str | None = None) -> None:
    """Raises `Stopped` if a signal is waiting; call it when the state, described by `where`, has been saved."""
    if _received:
        raise Stopped(_received[0], where)


def _handle(number: int, frame) -> None:
    if not _held and not _received:
        raise Stopped(number)
    if _received and number == signal.SIGINT:
        raise KeyboardInterrupt
    _received.append(number)  # before the words, which may be answered at once
    if len(_received) == 1 and number == signal.SIGINT:
        # Not `print`, which this may have interrupted.
        os.write(2, b"\nkerastrain: finishing the step and saving; Ctrl-C again leaves at once\n")
