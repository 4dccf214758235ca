"""What `runtime.deterministic=true` costs: a training step with it over one without, the same data and the same weights.

    python benchmarks/determinism.py

A MobileNetV2 takes steps of 32 images of 96 x 96 that flip and crop at random on their way. Determinism cannot be taken back in a
process, so both kinds run in processes of their own, one after the other in turns; printed is the ratio of the medians.
"""

import statistics
import subprocess
import sys

ROUNDS, STEPS = 3, 12

STEP = """
import os, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras, numpy as np, statistics
from kerastrain import data, optimizers, runtime

runtime.seed(0, deterministic=sys.argv[1] == "deterministic")
model = keras.applications.MobileNetV2((96, 96, 3), weights=None, classes=10, classifier_activation=None)
model.compile(optimizers.make("adamw", 1e-3), keras.losses.CategoricalCrossentropy(from_logits=True))
random = np.random.default_rng(0)
split = data.arrays(
    random.integers(0, 256, (640, 96, 96, 3), "uint8"),
    random.integers(0, 10, 640),
    labels=[str(number) for number in range(10)],
    validation_fraction=0.2,
)
seconds = []

class Clock(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        seconds.append(time.perf_counter())

    def on_train_batch_end(self, batch, logs=None):
        seconds[-1] = time.perf_counter() - seconds[-1]

augment = data.augment("flip", "crop")
batches = data.batches(split.train, 32, shuffle=True, seed=0, epochs=1, augment=augment)
model.fit(batches, steps_per_epoch=int(sys.argv[2]), verbose=0, callbacks=[Clock()])
print(statistics.median(seconds[2:]))
"""


def step_seconds(kind):
    """Median seconds of a step in a new process."""
    command = [sys.executable, "-c", STEP, kind, str(STEPS)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def main():
    """Prints both medians and their ratio."""
    taken = {"plain": [], "deterministic": []}
    for _ in range(ROUNDS):
        for kind, seconds in taken.items():
            seconds.append(step_seconds(kind))
    plain, deterministic = (statistics.median(seconds) for seconds in taken.values())
    print(f"a step: {1000 * plain:.0f} ms; with runtime.deterministic {1000 * deterministic:.0f} ms")
    print(f"ratio: {deterministic / plain:.2f}")


if __name__ == "__main__":
    main()
