"""Carries out the trials that an Oracle hands out, several at a time, each in a process and on devices of its own.

Takes a keras-tuner Oracle, or a client of one in another process, of which only `create_trial`, `update_trial` and `end_trial`
are called, and a callable that carries one trial out. One loop in one thread serves all processes. Must not know configs or
models, and writes nothing but the records of trials that failed or were killed.
"""

import logging
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path

from kerastrain.system import signals
from kerastrain.tuning import assignments, trial_process, trial_records
from kerastrain.tuning import devices as dividing
from kerastrain.tuning.assignments import Assignment
from kerastrain.tuning.devices import Devices
from kerastrain.tuning.events import Event
from kerastrain.tuning.trial_process import Outcome, TrialProcess

logger = logging.getLogger("kerastrain")

_POLL_SECONDS = 0.2
_IDLE_SECONDS = 0.3  # until an oracle that had nothing to do is asked again
_PATIENCE_SECONDS = 60.0  # for a process to save its state when its time is over
_FRUITLESS_STARTS = 2  # of one trial in a row that are killed before the end of an epoch

Work = Callable[[Assignment, Path, trial_process.Link], Outcome]


@dataclass
class _Slot:
    """One worker: its devices, and the trial that it carries out."""

    worker: str
    devices: Devices
    trial: object = None
    assignment: Assignment | None = None
    process: TrialProcess | None = None
    outcome: Outcome | None = None
    done: int = 0
    epochs: int | None = None
    earlier_seconds: float = 0.0
    curve: dict[int, float] = field(default_factory=dict)
    has_progressed: bool = False
    fruitless_starts: int = 0
    is_late: bool = False
    ask_at: float = 0.0
    is_finished: bool = False


def run(
    oracle,
    work: Work,
    directory: Path,
    *,
    workers: int = 1,
    worker_prefix: str = "tuner",
    preload: Sequence[str] = (),
    minutes: float | None = None,
    trial_minutes: float | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> str | None:
    """Carries out trials until the oracle has no more.

    A trial whose process is killed is resumed; if it is killed again before it has finished an epoch, it fails. After a signal,
    and when an exception passes, all processes save their state first; what they have not finished is neither ended nor lost,
    because an oracle that is opened again hands it out first.

    Args:
        oracle: keras_tuner.Oracle, or a keras-tuner OracleClient.
        work: callable that carries a trial out in its process: (assignment, directory, link) -> Outcome.
        directory: Path of the search.
        workers: int >= 1, the number of trials at a time. The cores and GPUs of this machine are divided among them.
        worker_prefix: str; the oracle sees the workers as this prefix and a number.
        preload: sequence of str, the modules that the processes find imported.
        minutes: float > 0, the time after which the search ends, in minutes; None for no limit.
        trial_minutes: float > 0, the time after which a trial fails, in minutes; None for no limit.
        on_event: callable that gets each Event; None for none.

    Returns:
        str, why the search ended before the oracle had no more trials; None if it had no more.

    Raises:
        InputError: there are more workers than cores, or than GPUs.
        Stopped: a signal arrived inside `signals.graceful`.
    """
    shares = dividing.divide(workers)
    trial_process.start_server(preload)
    if workers > 1:
        logger.info("%s", dividing.describe(shares))
    slots = [_Slot(f"{worker_prefix}{number}", share) for number, share in enumerate(shares)]
    loop = _Loop(oracle, work, Path(directory), slots, trial_minutes, on_event or (lambda event: None))
    deadline = None if minutes is None else time.monotonic() + minutes * 60
    signals.hold()
    try:
        while not signals.pending():
            if deadline is not None and time.monotonic() > deadline:
                loop.stop(patience_seconds=_PATIENCE_SECONDS)
                return f"the time limit of minutes={minutes:g} is over"
            if not loop.step():
                return None
        loop.stop()
        signals.raise_if_pending()
    except KeyboardInterrupt:
        loop.kill()
        raise
    except BaseException:
        loop.stop()
        raise
    finally:
        signals.release()


class _Loop:
    """The state of `run`."""

    def __init__(self, oracle, work: Work, directory: Path, slots: list[_Slot], trial_minutes, on_event: Callable):
        self._oracle, self._work, self._directory, self._slots = oracle, work, directory, slots
        self._trial_minutes, self._on_event = trial_minutes, on_event
        self._is_stopping = False

    def step(self) -> bool:
        """Hands trials to the workers that are free, and serves their processes for a while; False if all is done."""
        for slot in self._slots:
            if slot.process is None and not slot.is_finished and time.monotonic() >= slot.ask_at:
                self._ask(slot)
        if all(slot.is_finished for slot in self._slots):
            return False
        self._limit_time()
        self._serve()
        return True

    def stop(self, *, patience_seconds: float | None = None) -> None:
        """Lets all processes save their state and end."""
        self._is_stopping = True
        try:
            while running := [slot for slot in self._slots if slot.process is not None]:
                for slot in running:
                    slot.process.stop(patience_seconds=patience_seconds)
                self._serve()
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """Ends all processes at once."""
        for slot in self._slots:
            if slot.process is not None:
                slot.process.kill()
                slot.process.exit_code()
                slot.process = None

    def _ask(self, slot: _Slot) -> None:
        trial = self._oracle.create_trial(slot.worker)
        if trial.status == "RUNNING":
            slot.trial, slot.assignment, slot.fruitless_starts = trial, assignments.assignment(trial), 0
            slot.curve = {epoch: value for epoch, value in self._record(slot).get("curve", ()) if value is not None}
            is_new = not (self._directory / slot.assignment.folder).exists()
            self._start(slot, "start" if is_new else "resume")
        elif trial.status == "STOPPED":
            slot.is_finished = True
        else:
            slot.ask_at = time.monotonic() + _IDLE_SECONDS

    def _start(self, slot: _Slot, kind: str) -> None:
        slot.outcome, slot.has_progressed, slot.is_late = None, False, False
        record = self._record(slot)
        slot.earlier_seconds, slot.done = record.get("seconds", 0.0), record.get("epochs", 0)
        slot.process = TrialProcess(self._work, slot.assignment, self._directory, slot.devices)
        self._tell(slot, kind, "running")

    def _serve(self) -> None:
        """Waits a while for messages of the processes, and handles them."""
        slots = {slot.process.pipe: slot for slot in self._slots if slot.process is not None}
        if not slots:
            time.sleep(_POLL_SECONDS)
        for pipe in connection.wait(list(slots), _POLL_SECONDS) if slots else ():
            try:
                kind, *content = pipe.recv()
            except (EOFError, OSError):
                self._handle_end(slots[pipe])
            else:
                {"begin": self._handle_begin, "epoch": self._handle_epoch, "end": self._handle_outcome}[kind](
                    slots[pipe], *content
                )

    def _handle_begin(self, slot: _Slot, epochs: int | None, done: int, seconds: float) -> None:
        slot.epochs, slot.done, slot.earlier_seconds = epochs, done, seconds

    def _handle_epoch(self, slot: _Slot, epoch: int, values: dict[str, float]) -> None:
        slot.done, slot.has_progressed, status = epoch, True, "RUNNING"
        value = next(iter(values.values()), None)
        if values:
            slot.curve[epoch] = value
            status = self._oracle.update_trial(slot.assignment.trial_id, values, step=epoch).status
        self._tell(slot, "epoch", "running", value=value)
        rung = slot.assignment.epochs
        is_paused = rung is not None and epoch >= rung and (slot.epochs is None or epoch < slot.epochs)
        try:
            slot.process.pipe.send("stop" if status == "STOPPED" else "pause" if is_paused else "continue")
        except OSError:
            return  # It has ended, as its pipe will tell.

    def _handle_outcome(self, slot: _Slot, outcome: Outcome) -> None:
        slot.outcome = outcome

    def _handle_end(self, slot: _Slot) -> None:
        """Ends the trial of a process that has ended, or starts it again."""
        seconds = time.monotonic() - slot.process.began
        code, slot.process = slot.process.exit_code(), None
        if slot.outcome is not None:
            self._end(slot, slot.outcome, seconds)
            return
        if slot.is_late:
            self._end(slot, Outcome("failed", slot.done, reason=self._late_reason()), seconds)
            return
        if self._is_stopping:
            return
        slot.fruitless_starts = 0 if slot.has_progressed else slot.fruitless_starts + 1
        if slot.fruitless_starts >= _FRUITLESS_STARTS:
            self._end(slot, Outcome("failed", slot.done, reason=_death(code)), seconds)
            return
        logger.info("%s: %s; resuming it", slot.assignment.folder, _death(code))
        self._record_seconds(slot, slot.earlier_seconds + seconds)
        self._start(slot, "resume")

    def _end(self, slot: _Slot, outcome: Outcome, seconds: float) -> None:
        trial, assignment = slot.trial, slot.assignment
        if outcome.status == "failed":
            self._record_failure(slot, outcome, slot.earlier_seconds + seconds)
            trial.status, trial.message = "FAILED", outcome.reason
        else:
            if outcome.measures:
                self._oracle.update_trial(assignment.trial_id, dict(outcome.measures), step=outcome.epochs)
            trial.status = "COMPLETED"  # after the report, which sets it to RUNNING in the oracle of this process
        slot.done, status = max(slot.done, outcome.epochs), outcome.status
        self._oracle.end_trial(trial)
        if trial.status == "FAILED":  # also by the oracle, if an objective is missing
            status = "failed"
        self._tell(
            slot,
            "pause" if status == "paused" else "end",
            status,
            value=next(iter(outcome.measures.values()), None),
            reason=trial.message if status == "failed" else None,
        )
        for other in self._slots:
            other.ask_at = 0.0  # What the oracle waits for may have happened.

    def _record_failure(self, slot: _Slot, outcome: Outcome, seconds: float) -> None:
        (self._directory / slot.assignment.folder).mkdir(parents=True, exist_ok=True)
        curve, epochs = sorted(slot.curve.items()), max(slot.done, outcome.epochs)
        trial_records.write(
            self._directory,
            slot.assignment,
            status="failed",
            curve=curve,
            epochs=epochs,
            seconds=seconds,
            reason=outcome.reason,
        )

    def _record_seconds(self, slot: _Slot, seconds: float) -> None:
        """Records the time of a process that was killed before it could do so itself."""
        if not (self._directory / slot.assignment.folder).is_dir():  # which the next process creates whole
            return
        known = {"status": "paused", **self._record(slot)}
        kept = {name: known[name] for name in ("status", "measures", "curve", "epochs", "best") if name in known}
        trial_records.write(self._directory, slot.assignment, seconds=seconds, **kept)

    def _record(self, slot: _Slot) -> dict:
        return trial_records.read(self._directory, slot.assignment)

    def _limit_time(self) -> None:
        for slot in self._slots:
            if self._trial_minutes is None or slot.process is None:
                continue
            seconds = slot.earlier_seconds + time.monotonic() - slot.process.began
            if slot.outcome is None and seconds > self._trial_minutes * 60:
                slot.is_late = True
                slot.process.stop(patience_seconds=_PATIENCE_SECONDS)

    def _late_reason(self) -> str:
        return f"took longer than trial_minutes={self._trial_minutes:g}"

    def _tell(self, slot: _Slot, kind: str, status: str, *, value: float | None = None, reason: str | None = None):
        self._on_event(Event(kind, slot.assignment, slot.done, slot.epochs, value, status, reason))


def _death(code: int) -> str:
    """What ended a process that has told nothing."""
    if code >= 0:
        return f"its process exited with code {code}"
    name = signal.Signals(-code).name
    return f"killed by {name}" + (", probably out of memory" if name == "SIGKILL" else "")
