"""Trials in processes of their own: real processes, real signals, and an oracle that hands out what a test wants."""

import os
import signal
import threading
import time
from types import SimpleNamespace

import processes
import pytest

from kerastrain.errors import InputError
from kerastrain.system import signals
from kerastrain.tuning import assignments, devices, trial_records, workers
from kerastrain.tuning.trial_process import Outcome


@pytest.fixture(autouse=True, scope="module")
def _server():
    processes.server()


class Oracle:
    """Hands out `trials` in their order; what it was told is in `reports` and `ended`."""

    def __init__(self, *trials, stops=()):
        self.waiting, self.stops = list(trials), stops
        self.ongoing, self.reports, self.ended = {}, [], []

    def create_trial(self, worker):
        if worker in self.ongoing:
            return self.ongoing[worker]
        if not self.waiting:
            return SimpleNamespace(status="STOPPED")
        point, values, epochs = self.waiting.pop(0)
        carried = SimpleNamespace(values=assignments.carried(point, 0, values, epochs))
        self.ongoing[worker] = SimpleNamespace(
            trial_id=f"{point}", status="RUNNING", hyperparameters=carried, message=None
        )
        return self.ongoing[worker]

    def update_trial(self, trial_id, metrics, step=0):
        self.reports.append((trial_id, step, dict(metrics)))
        return SimpleNamespace(status="STOPPED" if (trial_id, step) in self.stops else "RUNNING")

    def end_trial(self, trial):
        self.ended.append((trial.trial_id, trial.status, trial.message))
        self.ongoing = {worker: other for worker, other in self.ongoing.items() if other is not trial}


def train(assignment, directory, link):
    """Counts epochs in a file; what happens in one is in the values of the trial."""
    folder, values = directory / assignment.folder, assignment.values
    folder.mkdir(parents=True, exist_ok=True)
    saved = folder / "epochs"
    done = int(saved.read_text()) if saved.exists() else 0
    link.begin(epochs=4, done=done, seconds=trial_records.read(directory, assignment).get("seconds", 0.0))
    for epoch in range(done + 1, 5):
        if values.get("fails") == epoch:
            raise {"memory": MemoryError, "input": InputError, "other": ZeroDivisionError}[values["how"]](
                "no sense\nat all"
            )
        if values.get("killed") == epoch and not (folder / "killed").exists():
            if values.get("once"):
                (folder / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if values.get("waits") == epoch:
            (folder / "waits").write_text(str(os.getpid()))
            try:
                time.sleep(30)
            finally:
                if values.get("stumbles"):
                    raise OSError("as of a library that closes a file twice after a signal")
        saved.write_text(str(epoch))
        answer = link.epoch(epoch, {"score": epoch / 4})
        if answer != "continue":
            return Outcome("paused" if answer == "pause" else "pruned", epoch, {"score": epoch / 4})
    print("trained", sorted(os.sched_getaffinity(0)), os.environ.get("CUDA_VISIBLE_DEVICES"))
    return Outcome("completed", 4, {"score": 1.0})


def carried_out(tmp_path, *trials, stops=(), **options):
    """The oracle and the events after all trials."""
    oracle, events = Oracle(*trials, stops=stops), []
    reason = workers.run(oracle, train, tmp_path, on_event=events.append, **options)
    return oracle, [(event.kind, event.assignment.point, event.epoch, event.status) for event in events], reason


def test_each_epoch_is_reported_and_the_end_with_its_measures(tmp_path):
    oracle, events, reason = carried_out(tmp_path, (1, {"x": 3}, None))
    assert oracle.reports == [("1", epoch, {"score": epoch / 4}) for epoch in (1, 2, 3, 4, 4)]
    assert oracle.ended == [("1", "COMPLETED", None)]
    assert reason is None
    assert events == [
        ("start", 1, 0, "running"),
        *(("epoch", 1, epoch, "running") for epoch in (1, 2, 3, 4)),
        ("end", 1, 4, "completed"),
    ]
    assert "trained" in (tmp_path / "trials/001.txt").read_text()


def test_a_trial_pauses_at_its_epochs_and_goes_on_and_one_is_pruned_when_the_oracle_says_so(tmp_path):
    oracle, events, _ = carried_out(tmp_path, (1, {}, 2), (1, {}, None), (2, {}, None), stops=[("2", 3)])
    assert [status for _, status, _ in oracle.ended] == ["COMPLETED"] * 3
    assert ("pause", 1, 2, "paused") in events
    assert ("resume", 1, 0, "running") in events
    assert events[-1] == ("end", 2, 3, "pruned")
    assert [step for trial, step, _ in oracle.reports if trial == "1"] == [1, 2, 2, 3, 4, 4]


def test_a_failure_costs_one_trial_and_is_reported_in_a_sentence(tmp_path):
    oracle, events, _ = carried_out(
        tmp_path,
        *((point, {"fails": 2, "how": how}, None) for point, how in enumerate(("memory", "input", "other"), 1)),
        (4, {}, None),
    )
    assert [(status, message) for _, status, message in oracle.ended] == [
        ("FAILED", "out of memory"),
        ("FAILED", "no sense"),
        ("FAILED", "ZeroDivisionError: no sense"),
        ("COMPLETED", None),
    ]
    record = trial_records.read(tmp_path, assignments.Assignment("3", 3, 0, {}, None))
    assert (record["status"], record["epochs"], record["curve"]) == ("failed", 1, [[1, 0.25]])
    assert record["reason"] == "ZeroDivisionError: no sense"
    assert "Traceback" in (tmp_path / "trials/003.txt").read_text()


def test_a_killed_trial_is_resumed_and_fails_when_it_is_killed_again_at_the_same_place(tmp_path):
    oracle, events, _ = carried_out(
        tmp_path, (1, {"killed": 3, "once": True}, None), (2, {"killed": 3}, None), (3, {"killed": 1}, None)
    )
    assert oracle.ended == [
        ("1", "COMPLETED", None),
        ("2", "FAILED", "killed by SIGKILL, probably out of memory"),
        ("3", "FAILED", "killed by SIGKILL, probably out of memory"),
    ]
    assert [event for event in events if event[0] == "resume"] == [
        ("resume", 1, 0, "running"),
        *[("resume", 2, 0, "running")] * 2,
        ("resume", 3, 0, "running"),
    ]


def test_the_time_of_a_killed_process_counts(tmp_path):
    trial = assignments.Assignment("1", 1, 0, {}, None)
    trial_records.write(tmp_path, trial, status="paused", epochs=2, seconds=50)
    carried_out(tmp_path, (1, {"killed": 3, "once": True}, None))
    record = trial_records.read(tmp_path, trial)
    assert 50 < record["seconds"] < 100
    assert (record["status"], record["epochs"]) == ("paused", 2)


def test_two_workers_share_the_cores_and_train_at_the_same_time(tmp_path):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores")
    oracle, events, _ = carried_out(tmp_path, (1, {}, None), (2, {}, None), workers=2)
    assert sorted(oracle.ended) == [("1", "COMPLETED", None), ("2", "COMPLETED", None)]
    assert [event[0] for event in events[:2]] == ["start", "start"]
    cores = [(tmp_path / f"trials/00{point}.txt").read_text() for point in (1, 2)]
    assert cores[0] != cores[1]


def test_more_workers_than_cores_or_gpus_are_refused(monkeypatch):
    with pytest.raises(InputError, match="at most the number of cores"):
        devices.divide(1000)
    monkeypatch.setattr(devices, "require_cores", lambda workers: None)
    monkeypatch.setattr(devices, "_gpus", lambda environment: ["3", "5", "6"])
    with pytest.raises(InputError, match="at most the number of GPUs, 3"):
        devices.divide(4)
    shares = devices.divide(2)
    assert [share.gpus for share in shares] == [("3",), ("5", "6")]
    assert devices.describe(shares).startswith("2 workers of 1 or 2 GPUs")


def test_a_time_limit_fails_a_trial_and_another_ends_the_search(tmp_path):
    oracle, _, reason = carried_out(tmp_path, (1, {"waits": 3}, None), (2, {}, None), trial_minutes=2 / 60)
    assert oracle.ended == [("1", "FAILED", "took longer than trial_minutes=0.0333333"), ("2", "COMPLETED", None)]
    assert reason is None
    oracle, _, reason = carried_out(tmp_path, (3, {"waits": 3}, None), minutes=0.5 / 60)
    assert oracle.ended == []
    assert "time limit" in reason


@pytest.mark.parametrize("stumbles", [False, True])
def test_a_signal_lets_the_trials_save_and_leaves_them_unfinished(tmp_path, stumbles):
    def stop():
        while not (tmp_path / "trials/001/waits").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop).start()
    oracle = Oracle((1, {"waits": 2, "stumbles": stumbles}, None))
    with pytest.raises(signals.Stopped) as stopped, signals.graceful():
        workers.run(oracle, train, tmp_path)
    assert stopped.value.code == 75
    assert oracle.ended == []
    assert "stopped by SIGTERM" in (tmp_path / "trials/001.txt").read_text()
    (pid,) = [int((tmp_path / "trials/001/waits").read_text())]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_trial_ends_when_the_search_is_killed(tmp_path):
    search = processes.server().Process(target=_search, args=(tmp_path,))
    search.start()
    while not (waits := tmp_path / "trials/001/waits").exists() or not waits.read_text():
        time.sleep(0.01)
    search.kill()
    deadline = time.monotonic() + 10
    while "stopped by SIGTERM" not in (tmp_path / "trials/001.txt").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _search(folder):
    processes.share_server()
    workers.run(Oracle((1, {"waits": 2}, None)), train, folder)


def test_an_error_of_the_oracle_stops_the_trials_first(tmp_path):
    oracle = Oracle((1, {}, None))

    def gone(trial_id, metrics, step=0):
        raise SystemExit(75)

    oracle.update_trial = gone
    with pytest.raises(SystemExit):
        workers.run(oracle, train, tmp_path)
    assert (tmp_path / "trials/001/epochs").read_text() == "1"
