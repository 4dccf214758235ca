"""Serves the Oracle of a search to the workers of other machines, by keras-tuner's own server.

Takes an Oracle and the folder of its search; returns when the search is over and every living worker knows it. Uses the
public `BaseTuner` of keras-tuner, whose search serves the Oracle if the environment says that this process is the chief. Must
not train or write results.
"""

import contextlib
import logging
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from kerastrain.system import isolated_imports, signals
from kerastrain.tuning import assignments, heartbeats
from kerastrain.tuning.events import Event

_POLL_SECONDS = 0.2
_LAST_ANSWER_SECONDS = 1.0

logger = logging.getLogger("kerastrain")


def serve(
    oracle,
    directory: Path,
    *,
    minutes: float | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
    stale_seconds: float = heartbeats.STALE_SECONDS,
) -> str | None:
    """Serves `oracle` at the address of the environment until the search is over.

    keras-tuner's server looks only every 20 seconds whether it may end, and waits forever for a worker that was killed. So
    it runs in a thread that ends with the process, and this function decides: a worker without signs of life for
    `stale_seconds` gives back its trial, which the next free worker resumes.

    Args:
        oracle: keras_tuner.Oracle of `tuning.oracle`.
        directory: Path of the search folder, which the workers share.
        minutes: float > 0, the time in minutes after which no trial starts; those that run go on to their end. None for no
            limit.
        on_event: callable that gets each Event, in this thread.
        stale_seconds: float > 0.

    Returns:
        str, why the search ended early, if the time limit ended it; None otherwise.

    Raises:
        RuntimeError: keras-tuner's server could not start or failed.
        WriteError: the journal cannot be written.
        Stopped: a signal arrived inside `signals.graceful`.
    """
    events, reason, watch = queue.SimpleQueue(), None, heartbeats.Watch(directory, stale_seconds=stale_seconds)
    deadline = None if minutes is None else time.monotonic() + minutes * 60
    with tempfile.TemporaryDirectory() as folder:
        server = threading.Thread(target=_server, args=(oracle, folder, events), daemon=True)
        server.start()
        while not (oracle.stopped and not oracle.ongoing_trials and not oracle.tuner_ids):
            _pass_on(events, on_event)
            for name in {*oracle.tuner_ids, *oracle.ongoing_trials}:
                if watch.silent(name):
                    logger.warning("%s gave no sign of life for %g seconds: its trial is free", name, stale_seconds)
                    watch.give_up(name)
                    oracle.hand_back(name)
            if deadline is not None and time.monotonic() > deadline and not oracle.stopped:
                reason = f"the time limit of minutes={minutes:g} is over"
                oracle.stop(reason)
        _pass_on(events, on_event)
        time.sleep(_LAST_ANSWER_SECONDS)  # The last answer is on its way when the last id is gone.
    return reason


def _pass_on(events: queue.SimpleQueue, on_event: Callable[[Event], None]) -> None:
    """Passes on what has happened, after a short wait; raises what ended the server."""
    timeout = _POLL_SECONDS
    while True:
        try:
            event = events.get(timeout=timeout)
        except queue.Empty:
            signals.raise_if_pending()
            return
        if isinstance(event, OSError):  # of the journal, such as a full disk
            raise event
        if isinstance(event, BaseException):
            raise RuntimeError(f"the chief's server ended: {event}") from event
        on_event(event)
        timeout = 0


def _server(oracle, folder: str, events: queue.SimpleQueue) -> None:
    """Runs keras-tuner's server; what ends it early is passed on like an event."""
    keras_tuner = isolated_imports.keras_tuner()

    class Server(keras_tuner.engine.base_tuner.BaseTuner):
        """A tuner that only serves: the search has its own record."""

        def save(self):
            """Writes nothing."""

    try:
        served = _served(keras_tuner, oracle, events)
        Server(oracle=served, directory=folder, project_name="server").search(verbose=0)
    except BaseException as error:  # The main thread raises it.
        events.put(error)


def _served(keras_tuner, oracle, events: queue.SimpleQueue):
    """An Oracle that hands the requests of workers to `oracle`, and puts what happens into `events`."""

    class Served(keras_tuner.Oracle):
        """The Oracle that keras-tuner's server gets: each request goes to that of the search, and to `events`."""

        def __init__(self):
            super().__init__(keras_tuner.Objective("score", "max"))
            self.ongoing_trials, self.tuner_ids = oracle.ongoing_trials, oracle.tuner_ids
            self._told_to_stop = set()

        def create_trial(self, tuner_id):
            """The next trial of a worker.

            Args:
                tuner_id: str, the id of the worker.
            """
            with _passed_on(events):
                trial = oracle.create_trial(tuner_id)
                if trial.status == "RUNNING":
                    self._tell(trial, "resume" if trial.metrics.metrics else "start", "running")
                return trial

        def update_trial(self, trial_id, metrics, step=0):
            """Reports values of a trial.

            Args:
                trial_id: str.
                metrics: mapping from the name of an objective to its value.
                step: int, the epoch.
            """
            with _passed_on(events):
                trial = oracle.update_trial(trial_id, dict(metrics), step=step)
                if trial.status == "STOPPED":
                    self._told_to_stop.add(trial_id)
                self._tell(trial, "epoch", "running", epoch=int(step), value=next(iter(metrics.values()), None))
                return trial

        def end_trial(self, trial):
            """Ends a trial.

            Args:
                trial: keras_tuner Trial with its final status.
            """
            with _passed_on(events):
                oracle.end_trial(trial)
                own = oracle.get_trial(trial.trial_id)
                rung = assignments.assignment(own).epochs
                status = "completed" if rung is None or own.best_step < rung else "paused"
                status = "pruned" if own.trial_id in self._told_to_stop else status
                status = "failed" if own.status == "FAILED" else status
                kind = "pause" if status == "paused" else "end"
                self._tell(own, kind, status, epoch=own.best_step, value=own.score, reason=own.message)

        def _tell(self, trial, kind, status, *, epoch=0, value=None, reason=None):
            content = (assignments.assignment(trial), epoch, oracle.settings.max_epochs, value, status, reason)
            events.put(Event(kind, *content))

    return Served()


@contextlib.contextmanager
def _passed_on(events: queue.SimpleQueue) -> Iterator[None]:
    """Passes an error on to the main thread; gRPC would only tell the worker that there was one."""
    try:
        yield
    except Exception as error:  # Whatever it is, the search cannot continue.
        events.put(error)
        raise
