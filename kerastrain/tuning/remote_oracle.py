"""The Oracle of a search on another machine, for the workers.

Takes a `Role` and the folder of the search; has the three methods of an Oracle that a worker calls. A chief that was killed and
started again is found again; one that stays away ends the worker with exit code 75, EX_TEMPFAIL of sysexits.h. Must not
decide anything: the chief does.
"""

import queue
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from kerastrain.system import isolated_imports, signals
from kerastrain.tuning import heartbeats, keras_tuner_trials
from kerastrain.tuning.cluster import WAIT_SECONDS, Role

_POLL_SECONDS = 0.5


class ChiefLost(SystemExit):
    """The chief does not answer, or has given this worker up; the trials that it trained can be resumed.

    Args:
        sentence: str, why.
    """

    def __init__(self, sentence: str):
        super().__init__(signals.EXIT_CODE)
        self.sentence = sentence

    def __str__(self) -> str:
        return self.sentence


class RemoteOracle:
    """The chief's Oracle, over keras-tuner's gRPC client.

    Args:
        role: Role of this worker.
        directory: Path of the search folder, which all machines share.
        signs: heartbeats.Beating of this machine.
        wait_seconds: float > 0, how long a chief may be away.
    """

    def __init__(self, role: Role, directory: Path, signs: heartbeats.Beating, *, wait_seconds: float = WAIT_SECONDS):
        self._role = role
        self._directory = directory
        self._signs = signs
        self._wait_seconds = wait_seconds
        self._keras_tuner = isolated_imports.keras_tuner()
        with tempfile.TemporaryDirectory() as folder:  # Nothing is kept there.
            tuner = self._keras_tuner.engine.base_tuner.BaseTuner(
                oracle=self._keras_tuner.Oracle(self._keras_tuner.Objective("score", "max")),
                directory=folder,
                project_name="worker",
            )
        self._client = tuner.oracle  # a client, because the environment says that this is a worker

    def create_trial(self, tuner_id: str):
        """As of a keras_tuner.Oracle; a search that is finished answers STOPPED, even if its chief is gone.

        Args:
            tuner_id: str, the id of the worker.

        Raises:
            ChiefLost: the chief does not answer, or has given this worker up.
        """
        over = keras_tuner_trials.empty(self._keras_tuner, "STOPPED")
        return self._answer(lambda: self._client.create_trial(tuner_id), if_finished=over)

    def update_trial(self, trial_id: str, metrics: dict[str, float], step: int = 0):
        """As of a keras_tuner.Oracle.

        Args:
            trial_id: str.
            metrics: dict from the name of an objective to its value.
            step: int, the epoch.

        Raises:
            ChiefLost: the chief does not answer, or has given this worker up.
        """
        return self._answer(lambda: self._client.update_trial(trial_id, metrics, step=step))

    def end_trial(self, trial) -> None:
        """As of a keras_tuner.Oracle; the message of the trial does not travel.

        Args:
            trial: keras_tuner Trial with its final status.

        Raises:
            ChiefLost: the chief does not answer, or has given this worker up.
        """
        return self._answer(lambda: self._client.end_trial(trial))

    def _answer(self, call: Callable[[], object], *, if_finished: object = None):
        """The chief's answer; the call is repeated if the chief ends while it handles it."""
        deadline, answers = time.monotonic() + self._wait_seconds, queue.SimpleQueue()
        _ask(call, answers)
        while True:
            if self._signs.given_up:
                raise ChiefLost(
                    f"the chief presumed {self._role.name} dead and gave its trial to another worker. Start it again."
                )
            try:
                answer, error = answers.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                error = None
            else:
                if error is None:
                    return answer
                if not _is_absence(error):
                    raise error
            if if_finished is not None and (self._directory / "finished.json").is_file():
                return if_finished
            if time.monotonic() > deadline:
                raise ChiefLost(
                    f"the chief at {self._role.address}:{self._role.port} did not answer for {self._wait_seconds:g} seconds. "
                    "Start it again with --resume, and then this worker."
                )
            if error is not None:
                time.sleep(_POLL_SECONDS)
                _ask(call, answers)


def _ask(call: Callable[[], object], answers: queue.SimpleQueue) -> None:
    """Calls in a thread of its own: gRPC waits for up to an hour, and a signal must not."""

    def ask() -> None:
        try:
            answers.put((call(), None))
        except Exception as error:  # The caller decides.
            answers.put((None, error))

    threading.Thread(target=ask, daemon=True).start()


def _is_absence(error: Exception) -> bool:
    """Whether gRPC says that there was no chief to answer, rather than that it failed."""
    code = getattr(error, "code", None)
    return callable(code) and getattr(code(), "name", None) in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED")
