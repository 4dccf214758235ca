import json
import os
import signal
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

from kerastrain import distribute

INDEX = "import json, os, pathlib, signal, sys, time; index = json.loads(os.environ['TF_CONFIG'])['task']['index']\n"


def launched(program, **options):
    """Exit code and printed lines of a Python program that runs in two workers, with `index` set to the worker's index."""
    lines = []
    options = {"workers": 2, "restarts": 0, "environment": {"PATH": os.environ["PATH"]}, **options}
    program = INDEX + textwrap.dedent(program)
    code = distribute.launch([sys.executable, "-c", program], say=lines.append, **options)
    return code, lines


def test_launching_needs_no_tensorflow():
    program = "import sys; from kerastrain import distribute; distribute.launch; print('tensorflow' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "False"


def test_workers_get_one_cluster_and_their_lines_a_name():
    code, lines = launched("print(os.environ['TF_CONFIG'])")
    clusters = {line[:3]: json.loads(line[4:]) for line in lines}
    assert code == 0
    assert {name: value["task"]["index"] for name, value in clusters.items()} == {"[0]": 0, "[1]": 1}
    assert clusters["[0]"]["cluster"] == clusters["[1]"]["cluster"]
    assert len(set(clusters["[0]"]["cluster"]["worker"])) == 2


def test_the_first_failure_stops_all_and_is_the_exit_code(tmp_path):
    program = f"""
        running = pathlib.Path({str(tmp_path)!r}, "running")
        if index:
            running.with_suffix(".tmp").write_text(str(os.getpid()))
            running.with_suffix(".tmp").rename(running)
            signal.pause()
        while not running.exists():
            time.sleep(0.01)
        sys.exit(7)
    """
    assert launched(program)[0] == 7
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "running").read_text()), 0)


def test_a_worker_that_ignores_the_polite_signal_is_killed(tmp_path):
    program = f"""
        ready = pathlib.Path({str(tmp_path)!r}, "ready")
        if index:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            ready.touch()
            while True:
                signal.pause()
        while not ready.exists():
            time.sleep(0.01)
        sys.exit(3)
    """
    assert launched(program, stop_seconds=0.1)[0] == 3


def test_a_worker_ended_by_a_signal_is_told():
    assert launched("os.kill(os.getpid(), 9) if index else signal.pause()")[0] == 128 + 9


def test_all_workers_start_again_up_to_a_limit(tmp_path):
    program = f"""
        tries = pathlib.Path({str(tmp_path)!r}, "tries")
        if index == 0:
            with tries.open("a") as file:
                file.write("x")
            sys.exit(0 if tries.stat().st_size > 2 else 5)
        while not tries.exists() or tries.stat().st_size < 3:
            time.sleep(0.01)  # until it is stopped, the first two times
    """
    code, lines = launched(program, restarts=3)
    assert code == 0
    assert lines == ["a worker exited with 5; restart 1 of 3", "a worker exited with 5; restart 2 of 3"]
    code, lines = launched("sys.exit(5)", restarts=1)
    assert (code, lines) == (5, ["a worker exited with 5; restart 1 of 1"])


def test_a_fault_of_the_input_is_not_tried_again():
    assert launched("sys.exit(2)", restarts=3) == (2, [])


def test_where_a_cluster_names_the_workers_the_command_runs_once():
    config = distribute.Cluster(("a:1", "b:2"), 1).tf_config()
    code, lines = launched("print(index)", environment={"TF_CONFIG": config}, workers=5)
    assert (code, lines) == (0, ["[0] 1"])


def test_each_worker_sees_its_own_gpus():
    _, lines = launched("print(os.environ['CUDA_VISIBLE_DEVICES'])", gpus_per_worker=2)
    assert sorted(lines) == ["[0] 0,1", "[1] 2,3"]


def test_a_signal_to_the_launcher_stops_all():
    program = "index or os.kill(os.getppid(), signal.SIGTERM); signal.pause()"
    assert launched(program, restarts=3)[0] == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        ("train.py", {}, "`command` must be a list"),
        ([], {}, "`command` must be a list"),
        (["x"], {"workers": 0}, "`workers` must be at least 1"),
        (["x"], {"restarts": -1}, "`restarts` must be at least 0"),
        (["x"], {"gpus_per_worker": 0}, "`gpus_per_worker` must be at least 1"),
        (["x"], {"environment": {"TF_CONFIG": "?"}}, "TF_CONFIG must be JSON"),
    ],
)
def test_launch_refuses(command, options, message):
    with pytest.raises(ValueError, match=message):
        distribute.launch(command, **{"workers": 2, **options})


TRAINING = """
import os, sys
from pathlib import Path
import keras, numpy as np, tensorflow as tf
from kerastrain import distribute
from kerastrain.system import files

folder, kill = Path(sys.argv[1]), len(sys.argv) > 2
strategy = distribute.make("multi_worker")
index = strategy.cluster_resolver.task_id
saved = folder / "model.keras"
inputs = np.random.default_rng(0).normal(size=(27, 4)).astype("float32")

class Keep(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if distribute.is_chief():
            with files.atomic(saved) as temporary:
                self.model.save(temporary)

    def on_train_batch_end(self, batch, logs=None):
        once = folder / "killed"
        if kill and index == 1 and batch == 2 and self.model.optimizer.iterations.numpy() > 6 and not once.exists():
            once.touch()
            os.kill(os.getpid(), 9)

with strategy.scope():
    keras.utils.set_random_seed(0)
    if saved.exists():
        model = keras.models.load_model(saved)
    else:
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, "tanh"), keras.layers.Dense(1)])
        model.compile(keras.optimizers.Adam(0.01), "mse")
done = int(model.optimizer.iterations.numpy()) // 4
data = tf.data.Dataset.from_tensor_slices((inputs, inputs[:, :1] ** 2)).batch(8).repeat(4 - done)
model.fit(distribute.shard(data, strategy), initial_epoch=done, epochs=4, steps_per_epoch=4, shuffle=False,
          verbose=0, callbacks=[Keep()])
"""


@pytest.mark.chaos
@pytest.mark.multi_worker
def test_a_killed_worker_costs_nothing(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(TRAINING)
    weights, lines = {}, {}
    for name, extra in (("undisturbed", []), ("killed", ["kill"])):
        (tmp_path / name).mkdir()
        lines[name] = []
        command = [sys.executable, str(script), str(tmp_path / name), *extra]
        assert distribute.launch(command, workers=2, say=lines[name].append) == 0, lines[name]
        weights[name] = keras.models.load_model(tmp_path / name / "model.keras").get_weights()
    assert any("restart 1 of 3" in line for line in lines["killed"])
    assert not any("restart" in line for line in lines["undisturbed"])
    for expected, value in zip(weights["undisturbed"], weights["killed"], strict=True):
        np.testing.assert_array_equal(value, expected)
