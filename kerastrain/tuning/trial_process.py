"""A trial in a process of its own: starts it within its devices, answers it after each epoch, and stops it by signals.

The process is forked by a server that has imported TensorFlow and not used it, so it starts in a moment and can still choose
its devices. Two things connect it with the process that searches: a pipe, on which it tells the value of each epoch and waits
for "continue", "pause" or "stop"; and the end of that process, after which it saves its state and exits as after SIGTERM.
Takes a callable that trains. Must not know configs, models or oracles.
"""

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection, forkserver
from pathlib import Path
from typing import Literal

from kerastrain.errors import InputError
from kerastrain.system import garbage, signals
from kerastrain.system.terminal import PrintableFormatter
from kerastrain.tuning import devices as dividing
from kerastrain.tuning.assignments import Assignment
from kerastrain.tuning.devices import Devices

OUT_OF_MEMORY = "out of memory"

_LAST_SECONDS = 10.0  # between the end of the pipe and that of the process


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Args:
        status: "completed", "paused" (it may be continued), "pruned" or "failed".
        epochs: int >= 0, the epochs that are done, over all phases.
        measures: mapping from the names of the objectives that are known to their values.
        reason: str, a sentence; None unless it failed.
    """

    status: Literal["completed", "paused", "pruned", "failed"]
    epochs: int = 0
    measures: Mapping[str, float] = field(default_factory=dict)
    reason: str | None = None


class Link:
    """The side of the trial: tells the process that searches what happens, and gets its answers.

    Args:
        pipe: multiprocessing.connection.Connection.
    """

    def __init__(self, pipe: connection.Connection):
        self._pipe = pipe

    def begin(self, *, epochs: int | None, done: int = 0, seconds: float = 0.0) -> None:
        """Tells where the training begins.

        Args:
            epochs: int >= 1, the epochs of the whole run; None if that is unknown.
            done: int >= 0, the epochs that earlier processes of the trial have done.
            seconds: float >= 0, the time that they took, in seconds.
        """
        self._send("begin", epochs, done, seconds)

    def epoch(self, epoch: int, values: Mapping[str, float]) -> Literal["continue", "pause", "stop"]:
        """Tells the objectives after an epoch, and waits for the answer.

        Args:
            epoch: int >= 1, counted over all phases.
            values: mapping from the names of the objectives that are known to their values.

        Returns:
            "continue", "pause" (save the state and end) or "stop" (end). "pause" also if nobody answers any more.
        """
        self._send("epoch", epoch, dict(values))
        try:
            return self._pipe.recv()
        except (EOFError, OSError):
            return "pause"

    def end(self, outcome: Outcome) -> None:
        """Tells how the trial ended.

        Args:
            outcome: Outcome.
        """
        self._send("end", outcome)

    def _send(self, *message: object) -> None:
        with contextlib.suppress(OSError):  # The process that searches is gone; `_stop_without_parent` sees it, too.
            self._pipe.send(message)


class TrialProcess:
    """The side of the search: a process that carries a trial out.

    Args:
        work: callable (assignment, directory, link) -> Outcome; a function of a module, or a partial of one.
        assignment: Assignment.
        directory: Path of the search.
        devices: Devices that the process may use.
    """

    def __init__(self, work: Callable, assignment: Assignment, directory: Path, devices: Devices):
        self.pipe, theirs = multiprocessing.Pipe()
        self.began = time.monotonic()
        output = directory / f"{assignment.folder}.txt"
        output.parent.mkdir(parents=True, exist_ok=True)
        arguments = (theirs, work, assignment, directory, devices, output, dict(os.environ))
        self._process = multiprocessing.get_context("forkserver").Process(target=_carry_out, args=arguments)
        with _without_main_module():
            self._process.start()
        theirs.close()
        self._asked_to_stop = None

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def stop(self, *, patience_seconds: float | None = None) -> None:
        """Asks the process to save its state and end; call it repeatedly until it has ended.

        Args:
            patience_seconds: float >= 0, the time after the first call after which it is killed; None to wait for ever.
        """
        now = time.monotonic()
        if self._asked_to_stop is None:
            self._asked_to_stop = now
        if patience_seconds is not None and now - self._asked_to_stop > patience_seconds:
            self.kill()
        else:
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the process at once."""
        self._signal(signal.SIGKILL)

    def exit_code(self) -> int:
        """Waits for the end of the process, whose pipe has ended.

        Returns:
            int, as of multiprocessing: the negative number of the signal that killed it.
        """
        self._process.join(_LAST_SECONDS)
        if self._process.exitcode is None:
            self.kill()
            self._process.join()
        self.pipe.close()
        return self._process.exitcode

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


def start_server(modules: Sequence[str]) -> None:
    """Starts the server that forks the processes, unless this process has one; it needs some seconds to import TensorFlow.

    Args:
        modules: sequence of str, the names of the modules that it imports. They must not use TensorFlow when imported.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(modules))
    # A job scheduler sends SIGTERM to every process. The server must live until the trials have saved; it inherits what is
    # ignored here.
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        with _without_main_module():
            forkserver.ensure_running()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _carry_out(pipe, work, assignment, directory, devices, output, environment) -> None:
    """The process of a trial, from its first line on."""
    os.setpgid(0, 0)  # Ctrl-C reaches only the process that searches, which then stops this one.
    for number in signals.SIGNALS:
        signal.signal(number, signal.SIG_DFL)  # The server ignores some.
    _enter(environment, output)
    link = Link(pipe)
    threading.Thread(target=_stop_without_parent, daemon=True).start()
    try:
        with signals.graceful():
            with garbage.lasting():
                dividing.apply(devices)
            link.end(work(assignment, directory, link))
    except signals.Stopped as stopped:
        print(stopped, flush=True)
        raise
    except Exception as error:  # Whatever it is, it costs one trial, and the search continues.
        traceback.print_exc()
        link.end(Outcome("failed", reason=_reason(error)))


def _enter(environment: Mapping[str, str], output: Path) -> None:
    """Takes the environment of the process that searches, and prints to a file from now on."""
    os.environ.clear()
    os.environ.update(environment)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number in (1, 2):
        os.dup2(descriptor, number)
    os.close(descriptor)
    sys.stdout.reconfigure(line_buffering=True)  # of what a killed process has printed, little must be lost
    logger = logging.getLogger("kerastrain")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(PrintableFormatter("%(message)s"))
    logger.handlers = [handler]


def _stop_without_parent() -> None:
    """Stops this process as SIGTERM does when the process that searches has ended, whatever ended it."""
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGTERM)


def _reason(error: Exception) -> str:
    """Why a trial failed, in a sentence."""
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        return OUT_OF_MEMORY
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    if isinstance(error, InputError | OSError):
        return first or type(error).__name__
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


@contextlib.contextmanager
def _without_main_module() -> Iterator[None]:
    """Keeps the processes from running the user's script again, which would start the search in each of them."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
