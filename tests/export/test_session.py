"""Several exports of one model share their work, and the process that runs SavedModels ends with the one that started it."""

import dataclasses
import errno
import os
import signal
import time
from pathlib import Path

import keras
import numpy as np
import processes
import pytest
import tensorflow as tf

from kerastrain import data, export, models, tracing
from kerastrain.errors import InputError
from kerastrain.export import litert_runtime, serving
from kerastrain.export.shared import Shared
from kerastrain.system import files

INPUTS = np.random.default_rng(0).normal(size=(20, 6)).astype("float32")


def classifier():
    inputs = keras.Input((6,))
    return keras.Model(inputs, keras.layers.Dense(3)(inputs), name="classifier")


def saved_double(folder):
    module = tf.Module()
    double = tf.function(lambda values: {"doubled": 2 * values})
    signature = double.get_concrete_function(tf.TensorSpec((None, 6), tf.float32, name="values"))
    tf.saved_model.save(module, str(folder), signatures={"serving_default": signature})
    return folder


def test_a_model_predicts_its_samples_once_for_all_files(tmp_path, monkeypatch):
    model, predicted, written = classifier(), [], []
    predict, write = model.predict, serving.write
    monkeypatch.setattr(model, "predict", lambda *values, **options: predicted.append(1) or predict(*values, **options))
    monkeypatch.setattr(serving, "write", lambda *values, **options: written.append(1) or write(*values, **options))
    with export.Session(model, samples=INPUTS) as session:
        for quantize in (None, "float16", "dynamic"):
            session.tflite(tmp_path / f"{quantize}.tflite", quantize=quantize, tolerance=export.Tolerance(0.5, 0.5))
    assert (len(predicted), len(written)) == (1, 1)
    assert len(list(tmp_path.glob("*.tflite"))) == 3


class Read(list):
    """What samples are taken from when they have strata, like `data.Examples`."""

    strata = targets = np.arange(20) % 4

    def model_inputs(self, rows):
        return INPUTS[rows]

    read = model_inputs


def test_outputs_that_are_known_are_compared_and_the_model_is_not_run(tmp_path, monkeypatch):
    model, samples = classifier(), Read(range(20))
    known = model.predict(INPUTS, verbose=0)
    monkeypatch.setattr(model, "predict", lambda *values, **options: pytest.fail("runs"))
    for outputs, fails in ((known, False), (known + 1, True)):
        path = tmp_path / f"{fails}.tflite"
        with export.Session(model, samples=samples, sample_count=9, outputs=lambda found=outputs: found) as session:
            pending = session.tflite(path)
            if fails:
                with pytest.raises(export.ParityError):
                    pending.result()
            else:
                assert pending.result().sample_count == 9
        assert path.exists() != fails


def test_outputs_in_another_precision_than_that_of_a_file_are_not_asked_for(tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        hidden = classifier()
    finally:
        keras.config.set_dtype_policy(before)
    model = keras.Model(hidden.inputs, keras.layers.Identity(dtype="float32")(hidden.outputs[0]))
    known = lambda: pytest.fail("asked")
    with export.Session(model, samples=Read(range(20)), outputs=known) as session:
        assert session.tflite(tmp_path / "model.tflite").result().sample_count == 20
    with export.Session(classifier(), samples=Read(range(20)), outputs=lambda: None) as session:
        assert session.tflite(tmp_path / "float32.tflite").result().sample_count == 20


@pytest.mark.parametrize("count", [1, 2])
def test_the_outputs_of_long_texts_are_computed_for_their_starts(monkeypatch, count):
    model = models.text_classifier(labels=["a", "b"], texts=["good bad film"], embedding_dim=4)
    texts = np.array(["good film", "bad " * 6000], object)[:count]
    examples, predicted, predict = data.Examples(np.arange(count), ("a", "b"), texts), [], tracing.predict
    known = predict(model, data.batches(examples, 2))
    monkeypatch.setattr(tracing, "predict", lambda *values: predicted.append(1) or predict(*values))
    options = {"labels": None, "activation": None, "operating_point": None, "sample_count": 9}
    with Shared(model, samples=examples, outputs=lambda: known, **options) as shared:
        np.testing.assert_allclose(shared.reference()[:1], known[:1], atol=1e-6)
    assert len(predicted) == count - 1


def test_an_error_inside_a_session_leaves_no_file_that_was_not_compared(tmp_path):
    with pytest.raises(KeyError), export.Session(classifier(), samples=INPUTS) as session:
        session.tflite(tmp_path / "compared.tflite").result()
        session.tflite(tmp_path / "not.tflite")
        raise KeyError
    assert sorted(path.name for path in tmp_path.iterdir()) == ["compared.parity.json", "compared.tflite"]


def test_a_full_disk_costs_the_file_that_did_not_fit_and_no_other(tmp_path, monkeypatch):
    write = serving.write

    def full(model, path, *values, **options):
        write(model, path, *values, **options)
        monkeypatch.setattr(serving, "write", write)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(serving, "write", full)
    with export.Session(classifier(), samples=INPUTS) as session:
        with pytest.raises(files.WriteError, match="first.tflite': the disk is full"):
            session.tflite(tmp_path / "first.tflite")
        session.tflite(tmp_path / "second.tflite")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["second.parity.json", "second.tflite"]


def test_inputs_that_do_not_fit_on_the_disk_are_reported_and_nothing_is_left(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(files.WriteError, match="model': the disk is full"):
        export.saved_model(classifier(), tmp_path / "model", samples=INPUTS)
    assert not list(tmp_path.iterdir())


def test_a_saved_model_that_does_not_run_elsewhere_is_refused_in_a_sentence(tmp_path, monkeypatch):
    def killed():
        raise RuntimeError(
            "model does not run in a fresh process:\nTraceback (most recent call last):\nMemoryError: 3 GB"
        )

    monkeypatch.setattr(export.ServingProcess, "begin", lambda *arguments: killed)
    with pytest.raises(
        InputError, match="'classifier' does not run in a process of its own: MemoryError: 3 GB. Try again"
    ):
        export.saved_model(classifier(), tmp_path / "model", samples=INPUTS)
    assert not list(tmp_path.iterdir())


def test_a_file_is_run_on_several_processors_as_on_one(tmp_path, monkeypatch):
    model, inputs = classifier(), np.random.default_rng(1).normal(size=(71, 6)).astype("float32")
    export.tflite(model, tmp_path / "a.tflite", samples=inputs)
    outputs = []
    for count in (1, 3):
        monkeypatch.setattr(litert_runtime.resources, "processor_count", lambda count=count: count)
        outputs.append(litert_runtime.run(tmp_path / "a.tflite", inputs))
    np.testing.assert_array_equal(*outputs)
    np.testing.assert_allclose(outputs[0], model.predict(inputs, verbose=0), atol=1e-5)


@pytest.mark.slow
def test_tflite_files_that_the_process_converts_are_those_converted_here(tmp_path):
    options = {"representative": INPUTS, "tolerance": export.Tolerance(0.5, 0.5)}
    inputs = keras.Input((6,))
    bessel = keras.Model(inputs, keras.layers.Lambda(tf.math.bessel_i0)(inputs), name="bessel")
    with export.ServingProcess() as process:
        model, begun = classifier(), {}
        with export.Session(model, samples=INPUTS, process=process, background=True) as session:
            for quantize in (None, "int8", "dynamic"):
                begun[quantize] = session.tflite(tmp_path / f"{quantize}.tflite", quantize=quantize, **options)
            os.kill(process._process.pid, signal.SIGKILL)
            assert not list(tmp_path.glob("*.tflite"))
            found = {quantize: each.result() for quantize, each in begun.items()}
        with export.Session(bessel, samples=INPUTS, process=process, background=True) as session:
            refused = session.tflite(tmp_path / "bessel.tflite")
            with pytest.raises(InputError, match="model 'bessel' cannot be converted to TFLite .*BesselI0"):
                refused.result()
    for quantize, parity in found.items():
        path = tmp_path / f"{quantize}_here.tflite"
        here = export.tflite(model, path, samples=INPUTS, quantize=quantize, **options)
        assert dataclasses.replace(here, file=parity.file) == parity
        assert path.read_bytes() == (tmp_path / f"{quantize}.tflite").read_bytes()
    assert not (tmp_path / "bessel.tflite").exists()


@pytest.mark.slow
def test_what_a_killed_process_has_not_answered_is_run_in_a_new_one(tmp_path):
    folder = saved_double(tmp_path / "double")
    with export.ServingProcess() as process:
        process.start()
        answers = [process.begin(folder, {"serving_default/values": INPUTS + number}) for number in range(2)]
        os.kill(process._process.pid, signal.SIGKILL)
        for number, answer in enumerate(answers):
            np.testing.assert_allclose(answer()["serving_default"], 2 * (INPUTS + number))
        with pytest.raises(RuntimeError, match="nowhere does not run in a fresh process:[\\s\\S]*nowhere"):
            process.outputs(tmp_path / "nowhere", {"serving_default/values": INPUTS})
        np.testing.assert_allclose(
            process.outputs(folder, {"serving_default/values": INPUTS})["serving_default"], 2 * INPUTS
        )
        scratch = Path(process._scratch.name)
    assert not scratch.exists()


@pytest.mark.slow
def test_the_process_ends_with_the_one_that_started_it_however_that_ends(tmp_path):
    parent = processes.server().Process(target=start_and_sleep, args=(tmp_path / "started",))
    parent.start()
    while not (tmp_path / "started").exists():
        time.sleep(0.05)
    pid, fork, scratch = (tmp_path / "started").read_text().split("\n")
    try:
        assert is_running(pid)
        assert Path(scratch).exists()
        parent.kill()
        parent.join()
        while is_running(pid):  # The limit is that of the test.
            time.sleep(0.05)
        assert not Path(scratch).exists()
    finally:
        os.kill(int(fork), signal.SIGKILL)


def start_and_sleep(path):
    """Starts the process, and a fork that keeps all pipes open, and writes what to look for."""
    process = export.ServingProcess()
    process.start()
    fork = os.fork()
    if fork:
        files.write_text(path, f"{process._process.pid}\n{fork}\n{process._scratch.name}")
    time.sleep(1000)


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
