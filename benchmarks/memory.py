"""Peak memory and time of a training step: plain, rematerialized, in micro-batches, and both.

    python benchmarks/memory.py [--batch-size 64] [--steps 4] [--blocks 8] [--write]

Each variant runs in a separate process. The peak is the largest resident set of the process (getrusage) minus that after
a step with one example per micro-batch, which leaves the activations of the whole batch. Prints a Markdown table. The goal
for "both" is at most 0.35 of the memory of "plain". "counted" is the result of `kerastrain.memory.report`.
"""

import argparse
import os
import resource
import subprocess
import sys
import time

import results

VARIANTS = {"plain": (False, 1), "rematerialized": (True, 1), "accumulated": (False, 4), "both": (True, 4)}
MODELS = ("transformer", "cnn")
GOAL_FRACTION = 0.35


def transformer(blocks):
    """A transformer: blocks of attention and feed-forward layers over 64 tokens."""
    import keras

    x = inputs = keras.Input((64, 128))
    for _ in range(blocks):
        attended = keras.layers.MultiHeadAttention(4, 32)(keras.layers.LayerNormalization()(x), x)
        x = keras.layers.Add()([x, attended])
        wide = keras.layers.Dense(512, "gelu")(keras.layers.LayerNormalization()(x))
        x = keras.layers.Add()([x, keras.layers.Dense(128)(wide)])
    return keras.Model(inputs, keras.layers.Dense(10)(keras.layers.GlobalAveragePooling1D()(x)))


def cnn(blocks):
    """A residual network of convolutions with group normalization on 48 x 48 pixels."""
    import keras

    inputs = keras.Input((48, 48, 3))
    x = keras.layers.Conv2D(16, 3, padding="same")(inputs)
    for _ in range(2 * blocks):
        convolved = keras.layers.Conv2D(16, 3, padding="same")(keras.layers.GroupNormalization(4)(x))
        x = keras.layers.Add()([x, keras.layers.Activation("relu")(convolved)])
    return keras.Model(inputs, keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(x)))


def measure(model_name: str, variant: str, batch_size: int, steps: int, blocks: int) -> None:
    """Prints counted megabytes, added megabytes, and seconds per step of one variant."""
    import keras
    import numpy as np
    import tensorflow as tf

    from kerastrain import memory

    keras.utils.set_random_seed(0)
    model = {"transformer": transformer, "cnn": cnn}[model_name](blocks)
    model.compile("adam", "mse", jit_compile=False)
    rematerialized, micro_batches = VARIANTS[variant]
    if rematerialized:
        memory.remat(model)
    memory.accumulate(model, micro_batches=micro_batches)
    inputs = np.zeros((batch_size * steps, *model.input_shape[1:]), "float32")
    targets = np.zeros((len(inputs), 10), "float32")
    examples = tf.data.Dataset.from_tensor_slices((inputs, targets))
    # The batch dimension is None in both data sets: retracing would count as memory of the batch.
    model.fit(examples.take(micro_batches).batch(micro_batches), verbose=0)
    before = _peak_megabytes()
    model.fit(examples.batch(batch_size), verbose=0)
    peak = _peak_megabytes()
    start = time.perf_counter()
    model.fit(examples.batch(batch_size), verbose=0)
    seconds = (time.perf_counter() - start) / steps
    counted = memory.report(model, batch_size=batch_size).step_bytes / 2**20
    print(f"{counted:.1f} {peak - before:.1f} {seconds:.4f}")


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Runs every variant in a separate process and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--blocks", type=int, default=8, help="blocks of the transformer; the CNN has twice as many")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--write", action="store_true", help="write the table to RESULTS.md")
    parser.add_argument("--measure", nargs=2, metavar=("MODEL", "VARIANT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(*options.measure, options.batch_size, options.steps, options.blocks)
        return
    text = f"Batches of {options.batch_size}. {results.machine()}\n\n{table(options)}"
    print(text)
    if options.write:
        results.write("Memory of a step", text)


def table(options) -> str:
    """A Markdown table of each variant of each model, compared with the plain one."""
    lines = [
        "| model | variant | counted, MB | peak added, MB | ratio to plain | seconds per step | ratio to plain | goal |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    for name in options.models:
        plain = None
        for variant in VARIANTS:
            command = [sys.executable, __file__, "--measure", name, variant]
            command += ["--batch-size", str(options.batch_size), "--steps", str(options.steps)]
            command += ["--blocks", str(options.blocks)]
            output = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
            counted, megabytes, seconds = map(float, output.split()[-3:])
            plain = plain or (megabytes, seconds)
            memory, slow = megabytes / plain[0], seconds / plain[1]
            if variant == "both":
                results.record(f"{name}, both: memory, of plain", memory)
                results.record(f"{name}, both: seconds, of plain", slow)
            goal = f"{GOAL_FRACTION}: {'met' if memory <= GOAL_FRACTION else 'missed'}" if variant == "both" else "–"
            lines.append(
                f"| {name} | {variant} | {counted:.0f} | {megabytes:.0f} | {memory:.2f} | {seconds:.3f} | {slow:.2f} | {goal} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
