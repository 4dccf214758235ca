"""What checkpoints cost: the share of a training's time that goes into saving its state, and into watching for it.

    python benchmarks/checkpoints.py

A MobileNetV2 (2.3 million parameters, with AdamW's slots and a moving average 35 MB of state) takes steps of 32 images
of 96 x 96. Printed are one step without callbacks, the same with `Checkpoints` and `TerminateOnNonFinite` but no write, one
write, and the share of the default interval that a write takes; together they must stay below 3 % of the time.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
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
    """One batch, again and again, so that reading it costs nothing."""
    random = np.random.default_rng(0)
    batch = random.random((32, 96, 96, 3), "float32"), random.integers(0, 10, 32)
    return tf.data.Dataset.from_tensors(batch).repeat(STEPS * ROUNDS)


class Watch(keras.callbacks.Callback):
    """Reads the loss of each step, as every progress display does, and notes how long the step took."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_train_batch_begin(self, batch, logs=None):
        """Starts the clock of the step before all other callbacks."""
        self.seconds.append(time.perf_counter())

    def on_train_batch_end(self, batch, logs=None):
        """Stops the clock after Keras has read the loss."""
        self.seconds[-1] = time.perf_counter() - self.seconds[-1]


def hooks_seconds(directory):
    """Median seconds that the hooks of both callbacks take in one step, called as `fit` calls them."""
    model, saving, watch = (
        network(),
        callbacks.Checkpoints(directory, every="1 hours"),
        callbacks.TerminateOnNonFinite(),
    )
    taken = []

    class Clock(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            began = time.perf_counter()
            for one in (saving, watch):
                one.on_train_batch_begin(batch or 1)
                one.on_train_batch_end(batch, logs)
            taken.append(time.perf_counter() - began)

    steps = Watch()
    used = [steps, *saving.before([watch]), Clock()]
    model.fit(data(), epochs=1, steps_per_epoch=STEPS * ROUNDS, shuffle=False, verbose=0, callbacks=used)
    return model, statistics.median(steps.seconds[2:]), statistics.median(taken[2:])


def write_seconds(model, directory):
    """Median seconds of one checkpoint, checksums and flushing to the disk included, and its bytes."""
    taken = []
    for number in range(WRITES):
        began = time.perf_counter()
        state = {"position": {"phase": "fit"}, "number": number, "model": checkpoints.capture(model)}
        path = checkpoints.write(directory, state)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken), sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def main():
    """Measures and prints."""
    with tempfile.TemporaryDirectory() as place:
        model, step, hooks = hooks_seconds(Path(place, "fit"))
        write, size = write_seconds(model, Path(place, "writes"))
    every = callbacks.Checkpoints(place).every
    interval = max(durations.parse_interval(str(every)).seconds, 50 * write)
    print(f"a step                  {step * 1e3:9.2f} ms")
    print(f"hooks in a step         {hooks * 1e3:9.4f} ms = {hooks / step:.4%} of it")
    print(f"a checkpoint of {size / 1e6:4.0f} MB {write * 1e3:9.2f} ms = {write / interval:.4%} of {every}")
    print(f"together                {hooks / step + write / interval:.2%} of the time (limit 3 %)")


if __name__ == "__main__":
    main()
