"""Cost of checkpoints: the share of training time that saving the state, and checking when to save it, takes.

    python benchmarks/checkpoints.py

A MobileNetV2 (2.3 million parameters, with AdamW's slots and a moving average 35 MB of state) trains on batches of 32 images
of 96 x 96. The script prints the time of a step without callbacks, the time of the hooks of `Checkpoints` and
`TerminateOnNonFinite` per step, the time of one checkpoint, and its share of the default interval. The total must stay
below 3 % of the training time.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import results
import tensorflow as tf

from kerastrain import callbacks, checkpoints, durations, optimizers

STEPS, ROUNDS, WRITES = 12, 5, 5


def network():
    """A compiled MobileNetV2 with random weights."""
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2((96, 96, 3), weights=None, classes=10, classifier_activation=None)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizers.make("adamw", 1e-3, ema_momentum=0.99), loss, jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


def data():
    """One batch, repeated, so that reading it costs nothing."""
    random = np.random.default_rng(0)
    batch = random.random((32, 96, 96, 3), "float32"), random.integers(0, 10, 32)
    return tf.data.Dataset.from_tensors(batch).repeat(STEPS * ROUNDS)


class Watch(keras.callbacks.Callback):
    """Reads the loss of each step, as every progress display does, and records the duration of the step."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_train_batch_begin(self, batch, logs=None):
        """Starts timing before all other callbacks."""
        self.seconds.append(time.perf_counter())

    def on_train_batch_end(self, batch, logs=None):
        """Stops timing after Keras has read the loss."""
        self.seconds[-1] = time.perf_counter() - self.seconds[-1]


def hooks_seconds(directory):
    """The model, the median seconds of a step, and the median seconds of both callbacks' hooks in a step."""
    model, saving, watch = (
        network(),
        callbacks.Checkpoints(directory, every="1 hours"),
        callbacks.TerminateOnNonFinite(),
    )
    durations_of_hooks = []

    class Clock(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            start = time.perf_counter()
            for callback in (saving, watch):
                callback.on_train_batch_begin(batch or 1)
                callback.on_train_batch_end(batch, logs)
            durations_of_hooks.append(time.perf_counter() - start)

    steps = Watch()
    used = [steps, *saving.before([watch]), Clock()]
    model.fit(data(), epochs=1, steps_per_epoch=STEPS * ROUNDS, shuffle=False, verbose=0, callbacks=used)
    return model, statistics.median(steps.seconds[2:]), statistics.median(durations_of_hooks[2:])


def write_seconds(model, directory):
    """Median seconds of one checkpoint, including checksums and flushing to disk, and its size in bytes."""
    seconds = []
    for number in range(WRITES):
        start = time.perf_counter()
        state = {"position": {"phase": "fit"}, "number": number, "model": checkpoints.capture(model)}
        path = checkpoints.write(directory, state)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def main():
    """Prints the measurements."""
    with tempfile.TemporaryDirectory() as place:
        model, step, hooks = hooks_seconds(Path(place, "fit"))
        write, size = write_seconds(model, Path(place, "writes"))
    every = callbacks.Checkpoints(place).every
    interval = max(durations.parse_interval(str(every)).seconds, 50 * write)
    print(f"a step                  {step * 1e3:9.2f} ms")
    print(f"hooks in a step         {hooks * 1e3:9.4f} ms = {hooks / step:.4%} of it")
    print(f"a checkpoint of {size / 1e6:4.0f} MB {write * 1e3:9.2f} ms = {write / interval:.4%} of {every}")
    results.record("share of the training time", hooks / step + write / interval)
    print(f"together                {hooks / step + write / interval:.2%} of the time (limit 3 %)")


if __name__ == "__main__":
    main()
