"""Where the time of a run goes: what is measured, written and said, and that nothing else changes."""

import dataclasses
import errno
import json
import re
from collections import deque
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from interruptions import InterruptAfter, Interrupted

import kerastrain
from kerastrain import config as configs
from kerastrain import data, models, recipe, report, runtime
from kerastrain.cli import tables
from kerastrain.data import waiting
from kerastrain.recipe import fitting, profiling
from kerastrain.report import time_parts
from kerastrain.system import files, stopwatch

PACKAGE = Path(kerastrain.__file__).parent
RECORD = {"seconds": 40.0, "processes": 2, "waits": False}
RECORD["parts"] = {
    "rest": 1.0,
    "export tflite_int8": 9.0,
    "export times": 3.0,
    "steps": 11.0,
    "start": 16.0,
    "report": 0.0,
}


def test_batches_are_the_same_and_every_wait_is_noted():
    batches = tf.data.Dataset.from_tensor_slices((np.arange(12.0), np.arange(12))).batch(5).prefetch(2)
    dataset, waits = waiting.timed(batches)
    assert dataset.element_spec == batches.element_spec
    assert int(dataset.cardinality()) == 3
    for one, other in zip(dataset, batches, strict=True):
        for value, expected in zip(one, other, strict=True):
            np.testing.assert_array_equal(value, expected)
    assert len(waits) == 3
    assert min(waits) >= 0


def test_parts_come_in_the_order_of_a_run_and_the_largest_kind_is_said(capsys):
    rows = time_parts.rows(RECORD)
    assert [row.name for row in rows] == ["start", "steps", "export tflite_int8", "export times", "rest"]
    assert sum(row.fraction for row in rows) == pytest.approx(1)
    sentences = time_parts.sentences({**RECORD, "parts": {**RECORD["parts"], "start": 2.0}})
    assert sentences[0].startswith("Of 26 s, 46.2% went into export (writing, reopening and comparing")
    assert "Name fewer export.formats" in sentences[0]
    assert sentences[1:] == [
        "On several devices, only the start of the pipeline counts as waiting for data; steps that wait count as steps.",
        "The run was resumed: the times of 2 processes are summed.",
    ]
    assert (time_parts.rows({}), time_parts.sentences({})) == ([], [])
    tables.print_times(RECORD)
    printed = capsys.readouterr().out
    assert re.search(r"steps +11\.0 +27\.5% +█{8} *\n", printed)
    assert re.search(r"all +40\.0", printed)


def test_the_report_shows_the_parts_beside_each_other(tmp_path):
    (tmp_path / "config.yaml").write_text(configs.dump(configs.load()))
    assert "Where the time went" not in report.write(tmp_path).read_text()
    (tmp_path / "profile.json").write_text(json.dumps(RECORD))
    page = report.write(tmp_path).read_text()
    section = page[page.index('<section id="time">') : page.index('<section id="reproduce">')]
    assert "Of 40 s, 40.0% went into start (Python, TensorFlow and the imports" in section
    assert re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td>', section)[1:3] == [
        ("steps", "11.0"),
        ("export tflite_int8", "9.0"),
    ]
    assert re.findall(r"width: ([\d.]+)%", section)[:2] == ["100.00", "68.75"]  # of the longest
    assert "up to the writing of this page" in section


def test_every_part_that_the_code_names_has_a_description():
    text = "".join(path.read_text() for path in sorted(PACKAGE.rglob("*.py")))
    names = set(re.findall(r'stopwatch\.(?:timed|part)\(f?"([^"{]+)', text))
    assert {"features", "evaluation", "checkpoints", "report"} < names
    assert {time_parts._kind(name.strip()) for name in names} <= set(time_parts._PARTS) - {"rest"}


@pytest.mark.parametrize("content", ["{torn", "[]", "{}"])
def test_a_damaged_file_of_times_is_begun_again(tmp_path, caplog, content):
    (tmp_path / profiling.FILE).write_text(content)
    with profiling.measured(configs.load(overrides=["runtime.profile=true"]), tmp_path):
        profiling.write(tmp_path)
    assert "is damaged, so that the times of the processes before are lost" in caplog.text
    assert profiling.read(tmp_path)["processes"] == 1


def test_a_run_that_was_not_opened_is_not_written_to(tmp_path):
    config = configs.load(overrides=["runtime.profile=true"])
    with pytest.raises(ValueError, match="locked"), profiling.measured(config, tmp_path):
        raise ValueError("locked")
    assert profiling.read(tmp_path) is None
    for processes in (1, 2):
        with profiling.measured(config, tmp_path):
            profiling.write(tmp_path)
        assert profiling.read(tmp_path)["processes"] == processes


def test_a_run_does_not_fail_because_its_times_cannot_be_written(tmp_path, monkeypatch, caplog):
    def full(path, record):
        raise files.WriteError(path, errno.ENOSPC)

    monkeypatch.setattr(files, "write_json", full)
    with profiling.measured(configs.load(overrides=["runtime.profile=true"]), tmp_path):
        stopwatch.running().record = {"processes": 1}
    assert "the times of the run are not complete: cannot write" in caplog.text


def test_a_second_attempt_times_the_step_and_not_what_timed_it_before(tmp_path):
    def step(iterator):
        return {}

    model = SimpleNamespace(train_function=step)
    with stopwatch.started() as watch:
        for _ in range(2):  # `fit` does not come to the end of the first
            times = profiling._StepTimes(watch, deque(), tmp_path)
            times.set_model(model)
            times.on_epoch_begin(0)
    assert model.train_function.untimed is step
    times.on_train_end()
    assert model.train_function is step


@pytest.mark.slow
def test_a_profiled_and_resumed_training_has_the_same_weights_and_a_trace(tmp_path, monkeypatch):
    whole = data.digits(image_size=(8, 8))
    split = dataclasses.replace(
        whole, train=whole.train.subset(np.arange(64)), validation=whole.validation.subset(np.arange(9)), test=None
    )
    overrides = ["data.image_size=[8, 8]", "fit.head_epochs=0", "fit.epochs=2", "fit.global_batch_size=8"]

    def weights(folder, *more):
        config = configs.load(overrides=[*overrides, "fit.checkpoint_every=3 steps", *more])
        folder.mkdir(exist_ok=True)
        runtime.seed(0)
        inputs = keras.Input((8, 8, 3))
        backbone = keras.Model(inputs, keras.layers.Conv2D(4, 3)(keras.layers.Rescaling(1 / 255)(inputs)))
        model = models.image_classifier(backbone, labels=list("0123456789"))
        with profiling.measured(config, folder):
            recipe.fit(model, config, split, folder)
        assert not hasattr(model.train_function, "__wrapped__")
        return model.get_weights()

    plain = weights(tmp_path / "plain")
    assert profiling.read(tmp_path / "plain") is None
    standard = fitting.callbacks.standard
    with monkeypatch.context() as patched:
        patched.setattr(fitting.callbacks, "standard", lambda *a, **k: [*standard(*a, **k), InterruptAfter(13)])
        with pytest.raises(Interrupted):
            weights(tmp_path / "run", "runtime.profile=true")
    first = profiling.read(tmp_path / "run")
    for one, other in zip(plain, weights(tmp_path / "run", "runtime.profile=true"), strict=True):
        np.testing.assert_array_equal(one, other)
    record = json.loads((tmp_path / "run" / "profile.json").read_text())
    parts = (
        "waiting for data",
        "first steps",
        "steps",
        "validation",
        "checkpoints",
        "trace",
        "around the steps",
        "rest",
    )
    assert all(record["parts"][name] > 0 for name in parts)
    assert all(record["parts"][name] >= seconds for name, seconds in first["parts"].items())
    assert record["seconds"] == pytest.approx(sum(record["parts"].values()), abs=0.01)
    assert (first["processes"], record["processes"], record["waits"]) == (1, 2, True)
    [trace] = (tmp_path / "run" / "tensorboard").rglob("*.xplane.pb")
    xplane = pytest.importorskip("tensorflow.tsl.profiler.protobuf.xplane_pb2")
    space = xplane.XSpace.FromString(trace.read_bytes())
    names = {entry.name for plane in space.planes for entry in plane.event_metadata.values()}
    assert any("train" in name for name in names)
    assert any("Conv2D" in name for name in names)
