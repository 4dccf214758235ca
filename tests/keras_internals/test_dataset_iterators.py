"""A process that leaves a data set half read ends: real interpreters, each with its own way to end."""

import os
import signal
import subprocess
import sys

import pytest

from kerastrain import testing
from kerastrain.keras_internals import dataset_iterators

SCRIPT = """
import sys, time
import numpy as np
import kerastrain as kt
from kerastrain.keras_internals import dataset_iterators

folder, ending = sys.argv[1:]
if ending == "without the patch":
    dataset_iterators.close = lambda: 0
split = kt.data.image_folder(folder, image_size=(16, 16), validation_fraction=0.2)

# The first batch is there at once; others are still being read in the background when the script ends.
read = type(split.train).read
type(split.train).read = lambda self, rows, *epoch: (time.sleep(3 if 0 not in rows else 0), read(self, rows, *epoch))[1]
dataset = kt.data.batches(split.train, 2)
if ending == "exception in predict":
    import keras

    class Fails(keras.callbacks.Callback):
        def on_predict_batch_end(self, batch, logs=None):
            raise RuntimeError("in the middle")

    model = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Flatten()])
    model.predict(dataset, verbose=0, callbacks=[Fails()])
iterator = iter(dataset)
next(iterator)
if ending == "exception":
    raise RuntimeError("in the middle")
print("end", flush=True)
if ending == "Ctrl-C":
    time.sleep(60)
"""


def ended(folder, ending, seconds=60):
    """(exit code, what was printed) of a script that ends in the middle of a data set; None if it hangs for so long."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), ending],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    printed = []
    try:
        # Nothing is left to do after these lines, except to end.
        for line in process.stdout:
            printed.append(line)
            if line.startswith(("end", "RuntimeError")):
                break
        if ending == "Ctrl-C":
            process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=seconds)
        return process.returncode, "".join([*printed, rest])
    except subprocess.TimeoutExpired:
        return None
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return testing.colour_folder(tmp_path_factory.mktemp("images") / "colours", count=40)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "code", "words"),
    [
        ("half read", 0, "end"),
        pytest.param("exception", 1, "RuntimeError: in the middle", marks=pytest.mark.chaos),
        pytest.param("exception in predict", 1, "RuntimeError: in the middle", marks=pytest.mark.chaos),
        ("Ctrl-C", -signal.SIGINT, "KeyboardInterrupt"),
    ],
)
def test_a_process_that_has_half_read_a_data_set_ends(folder, ending, code, words):
    returned, printed = ended(folder, ending)
    assert returned == code
    assert words in printed


@pytest.mark.slow
def test_tensorflow_itself_still_hangs(folder):
    """When this fails, TensorFlow closes its iterators and the module can go."""
    assert ended(folder, "without the patch", seconds=5) is None  # longer than a batch is read


def test_the_private_names_are_still_there():
    import tensorflow as tf

    iterator = iter(tf.data.Dataset.range(3))
    assert [type(iterator)] == [kind for kind, attribute in dataset_iterators.RESOURCES if hasattr(iterator, attribute)]
    delattr(iterator, "_iterator_resource")
