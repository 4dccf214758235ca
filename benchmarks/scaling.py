"""Speed-up by several devices, and overhead of kerastrain's step, as ratios within one run.

    python benchmarks/scaling.py [--batch-size 128] [--image-size 64] [--steps 6] [--repeats 3] [--write]

A convolutional network of 1.5 million parameters trains on images in memory; global batch, data and steps are the same
for all variants, and every process is pinned to its cores.

    scaling   two processes with one core each (multi_worker) over one process with one core; the goal is 1.6
    mirrored  two logical CPUs in one process (mirrored) over one device, both on two cores; the goal is 0.9
    step      kerastrain's optimizer, callbacks and exact step over a bare Keras `fit`, both on two cores; the goal is 0.97

Images per second are medians over the epochs after the first. Each pair runs in turn `--repeats` times and the median of the
ratios counts, because other load on the machine affects both. The table also has the ratio of processor time per image,
which other programs disturb less: below 1, the first variant computes more. For smaller batches the exchange of gradients,
6 MB per step, matters more.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import results

PAIRS = {  # name: (compared with, goal for the ratio, description)
    "two processes": ("one process", 1.6, "two processes with one core each over one process with one core"),
    "mirrored": ("one device", 0.9, "two logical CPUs over one device, on two cores"),
    "kerastrain": ("keras", 0.97, "kerastrain's step and callbacks over a bare Keras fit"),
    "checkpoints too": ("keras", None, "the same with checkpoints for `--resume` every 2 minutes"),
}
ONE_CORE = ("one process", "two processes")


def network(image_size):
    """A residual network with three stages, and 1.5 million parameters."""
    import keras

    x = inputs = keras.Input((image_size, image_size, 3))
    x = keras.layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")(x)
    for width in (64, 128, 256):
        x = keras.layers.Conv2D(width, 3, strides=2, padding="same")(x)
        y = keras.layers.Activation("relu")(keras.layers.GroupNormalization(8)(x))
        y = keras.layers.Conv2D(width, 3, padding="same", activation="relu")(y)
        x = keras.layers.Add()([x, y])
    return keras.Model(inputs, keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(x)))


def measure(variant, options):
    """Trains one variant in this process and prints wall-clock and processor seconds per image."""
    import keras
    import numpy as np
    import tensorflow as tf

    import kerastrain as kt

    if variant == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = kt.distribute.make({"two processes": "multi_worker", "mirrored": "mirrored"}.get(variant, "none"))
    with_kerastrain = variant != "keras"
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = network(options.image_size)
        optimizer = kt.optimizers.make("adamw", 1e-3) if with_kerastrain else keras.optimizers.AdamW(1e-3)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
    random = np.random.default_rng(0)
    count = options.batch_size * options.steps
    images = random.normal(size=(count, options.image_size, options.image_size, 3)).astype("float32")
    dataset = tf.data.Dataset.from_tensor_slices((images, random.integers(0, 10, count))).batch(options.batch_size)
    dataset = dataset.cache().repeat(options.epochs)
    if with_kerastrain:
        dataset = kt.distribute.shard(dataset, strategy)
    times = _epoch_times(keras)
    callbacks = [times]
    with tempfile.TemporaryDirectory() as folder:
        if variant in ("kerastrain", "checkpoints too"):
            kt.memory.accumulate(model, micro_batches=1)  # installs the exact step, which one device does not need
            callbacks += [kt.callbacks.TerminateOnNonFinite()]
        if variant == "checkpoints too":
            callbacks += [kt.callbacks.Checkpoints(folder, every="2 minutes", keep=1)]
        model.fit(
            dataset, epochs=options.epochs, steps_per_epoch=options.steps, shuffle=False, verbose=0, callbacks=callbacks
        )
    print(json.dumps([statistics.median(seconds[1:]) / count for seconds in (times.clock, times.processor)]))


def _epoch_times(keras):
    class EpochTimes(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.clock, self.processor = [], []

        def on_epoch_begin(self, epoch, logs=None):
            self.start = time.perf_counter(), time.process_time()

        def on_epoch_end(self, epoch, logs=None):
            self.clock.append(time.perf_counter() - self.start[0])
            self.processor.append(time.process_time() - self.start[1])

    return EpochTimes()


def run(variant, options, cores):
    """Images per second, and per processor second, of a variant that runs in separate processes."""
    workers = 2 if variant == "two processes" else 1
    cluster = {"cluster": {"worker": [f"127.0.0.1:{port}" for port in _free_ports(workers)]}}
    processes = []
    for index in range(workers):
        pinned_cores = cores[index : index + 1] if variant in ONE_CORE else cores[:2]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
        if workers > 1:
            environment["TF_CONFIG"] = json.dumps({**cluster, "task": {"type": "worker", "index": index}})
        command = [sys.executable, __file__, "--measure", variant, *_as_arguments(options)]
        command = ["taskset", "--cpu-list", ",".join(map(str, pinned_cores)), *command]
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    printed = [process.communicate(timeout=1800)[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit(f"{variant} failed")
    clock, processor = zip(*[json.loads(text.splitlines()[-1]) for text in printed], strict=True)
    return 1 / max(clock), 1 / sum(processor)


def _as_arguments(options):
    names = ("batch_size", "image_size", "steps", "epochs")
    return [text for name in names for text in (f"--{name.replace('_', '-')}", str(getattr(options, name)))]


def _free_ports(count):
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports


def table(options):
    """A Markdown table: images per second of each pair, their ratio, and whether it meets the goal."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("this needs two cores")
    rates = {name: [] for pair in PAIRS.items() for name in (pair[0], pair[1][0])}
    for repeat in range(options.repeats):
        for variant in rates:
            rates[variant].append(run(variant, options, cores))
            print(f"{repeat} {variant}: {rates[variant][-1][0]:.1f} images per second", file=sys.stderr, flush=True)
    lines = [
        "| comparison | images per second | over | ratio | by processor time | goal |",
        "|---|---|---|---|---|---|",
    ]
    for name, (other, goal, description) in PAIRS.items():
        pairs = list(zip(rates[name], rates[other], strict=True))
        ratios = [first[0] / second[0] for first, second in pairs]
        results.record(f"{description}: images a second", *results.spread(ratios), better="higher")
        ratio, processor = (statistics.median(first[by] / second[by] for first, second in pairs) for by in (0, 1))
        first, second = (statistics.median(pair[side][0] for pair in pairs) for side in (0, 1))
        verdict = "–" if goal is None else f"{goal}: {'met' if ratio >= goal else 'missed'}"
        lines.append(f"| {description} | {first:.1f} | {second:.1f} | {ratio:.2f} | {processor:.2f} | {verdict} |")
    return "\n".join(lines)


def main():
    """Runs every variant in separate processes and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=128, help="images per step, over all processes")
    parser.add_argument("--image-size", type=int, default=64, help="pixels")
    parser.add_argument("--steps", type=int, default=6, help="steps per epoch")
    parser.add_argument("--epochs", type=int, default=4, help="epochs; the first does not count")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write the table to RESULTS.md")
    parser.add_argument("--measure", metavar="VARIANT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options)
        return
    sizes = f"Batches of {options.batch_size} images of {options.image_size} x {options.image_size} pixels."
    text = f"{sizes} {results.machine()}\n\n{table(options)}"
    print(text)
    if options.write:
        results.write("Devices and steps", text)


if __name__ == "__main__":
    main()
