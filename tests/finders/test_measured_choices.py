import importlib.metadata
import json
import resource

import keras
import pytest

from kerastrain import finders
from kerastrain.finders import measured_choices
from kerastrain.system import resources

RECORD = {
    "timings": [{"name": "float32", "first_seconds": 3.0, "step_seconds": 0.5, "reason": ""}],
    "chosen": {"precision": "float32"},
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def subject(units=3):
    layer = keras.layers.Dense(units, name="dense")
    layer.build((None, 2))
    return {"machine": finders.machine(), "backbone": finders.described(layer), "image_size": (8, 8)}


def test_the_same_step_on_the_same_machine_is_remembered():
    assert finders.recall(subject()) is None
    finders.remember(subject(), RECORD)
    assert finders.recall(subject()) == RECORD
    finders.remember(subject(), {**RECORD, "chosen": {}})
    assert finders.recall(subject())["chosen"] == {}


@pytest.mark.parametrize("change", ["weight shape", "processor", "version", "cores", "XLA flags", "frozen"])
def test_another_model_machine_or_version_is_measured_again(monkeypatch, change):
    finders.remember(subject(), RECORD)
    now = subject(4 if change == "weight shape" else 3)
    if change == "processor":
        monkeypatch.setattr(resources, "processor_name", lambda: "another processor")
    elif change == "version":
        monkeypatch.setattr(importlib.metadata, "version", lambda name: "9.9")
    elif change == "cores":
        monkeypatch.setattr(resources, "processor_count", lambda: 1024)
    elif change == "XLA flags":
        monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    elif change == "frozen":
        now["backbone"]["weights"][0][2] = False
    if change != "frozen":
        now["machine"] = finders.machine()
    assert finders.recall(now) is None


def test_a_torn_or_foreign_file_is_ignored_and_written_again():
    finders.remember(subject(), RECORD)
    [path] = measured_choices.folder().iterdir()
    good = path.read_text()
    other = {"subject": {"image_size": [9, 9]}, **RECORD}
    no_time = {
        "subject": json.loads(good)["subject"],
        "timings": [{"name": "float32", "step_seconds": -1}],
        "chosen": {},
    }
    for content in (good[:-40], "", "[]", "\x00", json.dumps(other), json.dumps(no_time), good.replace("chosen", "c")):
        path.write_text(content)
        assert finders.recall(subject()) is None
        finders.remember(subject(), RECORD)
        assert path.read_text() == good


def test_where_nothing_can_be_written_a_warning_is_all(cache, monkeypatch, caplog):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))
    try:
        finders.remember(subject(), RECORD)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "not remembered for later runs: cannot write" in caplog.text
    assert finders.recall(subject()) is None
    (cache / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache / "file"))
    finders.remember(subject(), RECORD)
    assert len(caplog.records) == 2
    assert finders.recall(subject()) is None


def test_trials_take_at_most_a_twentieth_of_a_run():
    # 2 trials of 10 s and 10 steps of 0.1 s are 22 s, a twentieth of 440 s.
    trial = {"trials": 2, "trace_seconds": 10.0}
    assert finders.reason_against_trials(steps=4400, step_seconds=0.1, **trial) == ""
    reason = finders.reason_against_trials(steps=4399, step_seconds=0.1, **trial)
    assert reason == "the run's 4,399 steps of 100 ms are too few to measure others"
    # A step of 2 s is timed for 5 s only: 2 * 15 s are a twentieth of 600 s.
    assert finders.least_steps(step_seconds=2.0, **trial) == 300
    assert finders.reason_against_trials(steps=299, step_seconds=2.0, **trial).startswith(
        "the run's 299 steps of 2,000 ms"
    )
    assert finders.reason_against_trials(steps=400, step_seconds=0.0, **trial)
    assert finders.predicted_step_seconds(pass_seconds=0.5, pass_examples=4, batch_size=32) == 12.0
