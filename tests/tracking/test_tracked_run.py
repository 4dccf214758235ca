"""Runs in trackers: real stores of MLflow and offline files of Weights & Biases, and servers that are down."""

import json
import logging
import os

import pytest

from kerastrain import tracking
from kerastrain.errors import InputError
from kerastrain.tracking import contents, tracked_run


def write_history(folder, epochs):
    folder.mkdir(exist_ok=True)
    lines = ["phase,epoch,seconds,learning_rate,loss,val_loss"]
    for epoch in range(1, epochs + 1):
        phase, number = ("head", epoch) if epoch < 3 else ("fine_tune", epoch - 2)
        lines.append(f"{phase},{number},0.5,0.01,{1 / epoch},")
    (folder / "history.csv").write_text("\n".join(lines) + "\n")


def write_end(folder):
    measures = {"count": 4, "accuracy": 0.75, "macro": {"f1": 0.5}, "classes": {"a": {"f1": 0.4}}, "loss": float("nan")}
    (folder / "metrics.json").write_text(json.dumps({"test": measures}))
    (folder / "report.html").write_text("<p>report")
    (folder / "exports" / "saved_model").mkdir(parents=True)
    (folder / "exports" / "saved_model" / "graph").write_bytes(b"12345")
    (folder / "exports" / "model.tflite").write_bytes(bytes(2000))


def tracked(folder, *names):
    return tracking.TrackedRun(
        folder, names, name="flowers 花", parameters=lambda: {"fit.epochs": "4"}, tags=lambda: {"run.keras": "3.15"}
    )


class Recorder:
    """A tracker that keeps what it is sent, and fails while its server is down."""

    down = False
    runs: dict = {}

    def __init__(self, *, run, parameters, tags, name, project, directory):
        self._check()
        self.run, self.link = run or f"run {len(self.runs)}", "http://there"
        self.kept = self.runs.setdefault(self.run, {"epochs": [], "values": {}, "ends": []})

    def _check(self):
        if Recorder.down:
            raise ConnectionError("connection\nrefused")

    def logged_epochs(self):
        return max(self.kept["epochs"], default=0)

    def log(self, epoch, values):
        self._check()
        self.kept["epochs"].append(epoch)

    def add(self, values, tags, paths):
        self._check()
        self.kept["values"], self.kept["paths"] = values, paths

    def end(self, *, finished):
        self.kept["ends"].append(finished)


@pytest.fixture
def recorder(monkeypatch):
    monkeypatch.setitem(tracked_run.TRACKERS, "mlflow", Recorder)
    monkeypatch.setattr(Recorder, "runs", {})
    monkeypatch.setattr(Recorder, "down", False)
    return Recorder


@pytest.fixture
def said(caplog, monkeypatch):
    """What kerastrain logs, whatever earlier tests did to its logger."""
    logger = logging.getLogger("kerastrain")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "propagate", True)
    caplog.set_level(logging.INFO, "kerastrain")
    return caplog


def test_a_run_that_continues_sends_each_epoch_once(recorder, tmp_path):
    folder = tmp_path / "run"
    write_history(folder, 2)
    first = tracked(folder, "mlflow")
    first.send_history()
    first.stop()
    record = json.loads((folder / "tracking.json").read_text())
    assert record == {"mlflow": {"run": "run 0", "link": "http://there", "epochs": 2}}
    # Killed after sending an epoch and before noting it; the resumed run trains that epoch again.
    (folder / "tracking.json").write_text(json.dumps({"mlflow": {**record["mlflow"], "epochs": 1}}))
    write_history(folder, 1)
    second = tracked(folder, "mlflow")
    second.send_history()
    for epochs in (2, 3):
        write_history(folder, epochs)
        second.send_history()
    write_end(folder)
    second.finish(upload_bytes=1000)
    [kept] = recorder.runs.values()
    assert (kept["epochs"], kept["ends"]) == ([1, 2, 3], [False, True])
    assert kept["values"] == {"test/count": 4.0, "test/accuracy": 0.75, "test/macro.f1": 0.5}
    assert [path.name for path in kept["paths"]["exports"]] == ["saved_model"]
    assert [path.name for path in kept["paths"][""]] == ["report.html", "history.csv", "metrics.json"]
    assert tracking.links(folder) == {"MLflow": "http://there"}


def test_a_server_that_is_down_costs_a_warning_and_gets_all_at_the_end(recorder, tmp_path, said):
    recorder.down = True
    run = tracked(tmp_path, "mlflow")
    run.start()
    write_history(tmp_path, 3)
    run.send_history()
    assert said.messages == ["tracking: MLflow failed; it is tried again at the end: connection refused"]
    recorder.down = False
    run.finish(upload_bytes=0)
    assert [kept["epochs"] for kept in recorder.runs.values()] == [[1, 2, 3]]
    assert said.messages[1:] == ["tracking: MLflow has http://there"]
    recorder.down = True
    tracked(tmp_path, "mlflow").finish(upload_bytes=0)
    assert said.messages[2] == "tracking: MLflow failed; the run's folder has what it lacks: connection refused"


def test_a_record_that_somebody_broke_begins_new_runs(recorder, tmp_path, said):
    for content in ("{", "[1]", '{"mlflow": 3}'):
        (tmp_path / "tracking.json").write_text(content)
        assert tracking.links(tmp_path) == {}
    assert said.messages[0].startswith(f"tracking: cannot read {tmp_path}/tracking.json, so new runs begin there: ")
    tracked(tmp_path, "mlflow").start()
    assert tracking.links(tmp_path) == {"MLflow": "http://there"}


def test_history_counts_epochs_over_all_phases(tmp_path):
    write_history(tmp_path, 3)
    rows = contents.history(tmp_path / "history.csv")
    assert [(row["epoch"], row["phase"], row["loss"]) for row in rows] == [(1, 1, 1), (2, 1, 0.5), (3, 2, 1 / 3)]
    assert "val_loss" not in rows[0]
    assert contents.phase_names(tmp_path / "history.csv") == "head: epochs 1 to 2, fine_tune: epochs 3 to 3"
    assert contents.measures({"my <data>": {"accuracy": 0.5}}) == {"my _data_/accuracy": 0.5}


def test_a_tracker_that_is_not_installed_is_refused_with_the_command(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    sentence = r"to track runs with MLflow, kerastrain needs mlflow. Install it: pip install 'kerastrain\[mlflow\]'."
    with pytest.raises(InputError, match=sentence):
        tracking.require(["mlflow"])


@pytest.mark.slow
def test_mlflow_keeps_a_run_in_a_store_on_this_machine(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    folder = tmp_path / "run"
    write_history(folder, 2)
    tracked(folder, "mlflow").send_history()
    record = json.loads((folder / "tracking.json").read_text())
    (folder / "tracking.json").write_text(json.dumps({"mlflow": {**record["mlflow"], "epochs": 0}}))
    write_history(folder, 4)
    run = tracked(folder, "mlflow")
    run.send_history()
    write_end(folder)
    run.finish(upload_bytes=1000)
    tracked(folder, "mlflow").finish(upload_bytes=1000)  # A process that was killed right before its end starts again.
    client, identity = mlflow.MlflowClient(), record["mlflow"]["run"]
    kept = client.get_run(identity)
    assert (kept.info.status, kept.info.run_name) == ("FINISHED", "flowers 花")
    assert [(point.step, point.value) for point in client.get_metric_history(identity, "loss")] == [
        (1, 1.0),
        (2, 0.5),
        (3, pytest.approx(1 / 3)),
        (4, 0.25),
    ]
    assert [point.value for point in client.get_metric_history(identity, "test/accuracy")] == [0.75]
    assert kept.data.params == {"fit.epochs": "4"}
    assert kept.data.tags["run.keras"] == "3.15"
    assert kept.data.tags["exports.model.tflite"] == f"{folder}/exports/model.tflite, 2,000 bytes"
    assert {item.path for item in client.list_artifacts(identity)} >= {"report.html", "metrics.json", "exports"}
    assert [item.path for item in client.list_artifacts(identity, "exports")] == ["exports/saved_model"]
    assert client.get_experiment(kept.info.experiment_id).name == "kerastrain"
    assert tracking.links(folder) == {"MLflow": f"run {identity} in sqlite:///{tmp_path}/mlflow.db"}


@pytest.mark.slow
def test_weights_and_biases_keep_a_run_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = tmp_path / "run"
    write_history(folder, 2)
    tracking.require(["wandb"])
    first = tracked(folder, "wandb")
    first.send_history()
    first.stop()
    write_history(folder, 3)
    write_end(folder)
    tracked(folder, "wandb").finish(upload_bytes=1000)
    entry = json.loads((folder / "tracking.json").read_text())["wandb"]
    folders = sorted((folder / "wandb").glob(f"offline-run-*-{entry['run']}"))
    assert (entry["epochs"], len(folders)) == (3, 2)
    assert entry["link"] == f"run {entry['run']}, to send with: wandb sync {folder}/wandb/offline-run-*-{entry['run']}"
    logs = [next(each.glob("*.wandb")).read_bytes() for each in folders]
    assert [b"learning_rate" in log for log in logs] == [True, True]
    assert b"test/accuracy" in logs[1]
    assert b"saved_model/graph" in logs[1]
    assert os.environ.get("WANDB_RUN_ID") is None


@pytest.mark.slow
def test_weights_and_biases_without_a_key_are_refused(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(
        InputError, match=r"Weights & Biases needs an API key\. Received: none\. Call `wandb login`, or set"
    ):
        tracking.require(["wandb"])
