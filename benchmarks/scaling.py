"""What several devices bring, and what kerastrain's step costs, as ratios within one run.

    python benchmarks/scaling.py [--batch-size 128] [--image-size 64] [--steps 6] [--repeats 3] [--write]

A convolutional network of 1.5 million parameters on images in memory; global batch, data and steps are the same
throughout, and every process is pinned to its cores.

    scaling   two processes of one core each (multi_worker) over one process of one core; 1.6 wanted
    mirrored  two logical CPUs in one process (mirrored) over one device, both on two cores; 0.9 wanted
    step      kerastrain's optimizer, callbacks and exact step over a bare Keras `fit`, both on two cores; 0.97 wanted

Images per second are medians over the epochs after the first. Each pair is run in turn `--repeats` times, and the median
of the ratios counts: what else the machine does meets both. Beside the ratio by the clock stands that of the processor
time an image takes, which other programs disturb less: below 1, what is compared computes more. In smaller batches the
exchange of the gradients, 6 MB a step, weighs more.
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

PAIRS = {  # name: over what, the ratio wanted, and what is compared in words
    "two processes": ("one process", 1.6, "two processes of one core each over one of one core"),
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
    """Trains one variant in this process and prints the seconds per image, by the clock and of the processor."""
    import keras
    import numpy as np
    import tensorflow as tf

    import kerastrain as kt

    if variant == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = kt.distribute.make({"two processes": "multi_worker", "mirrored": "mirrored"}.get(variant, "none"))
    own = variant != "keras"
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = network(options.image_size)
        optimizer = kt.optimizers.make("adamw", 1e-3) if own else keras.optimizers.AdamW(1e-3)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
    random = np.random.default_rng(0)
    count = options.batch_size * options.steps
    images = random.normal(size=(count, options.image_size, options.image_size, 3)).astype("float32")
    batches = tf.data.Dataset.from_tensor_slices((images, random.integers(0, 10, count))).batch(options.batch_size)
    batches = batches.cache().repeat(options.epochs)
    if own:
        batches = kt.distribute.shard(batches, strategy)
    times = _epoch_times(keras)
    callbacks = [times]
    with tempfile.TemporaryDirectory() as folder:
        if variant in ("kerastrain", "checkpoints too"):
            kt.memory.accumulate(model, micro_batches=1)  # the exact step, which one device would not need
            callbacks += [kt.callbacks.TerminateOnNonFinite()]
        if variant == "checkpoints too":
            callbacks += [kt.callbacks.Checkpoints(folder, every="2 minutes", keep=1)]
        model.fit(
            batches, epochs=options.epochs, steps_per_epoch=options.steps, shuffle=False, verbose=0, callbacks=callbacks
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
    """Images of a variant per second and per second of a processor, in processes of its own."""
    workers = 2 if variant == "two processes" else 1
    cluster = {"cluster": {"worker": [f"127.0.0.1:{port}" for port in _free_ports(workers)]}}
    processes = []
    for index in range(workers):
        own = cores[index : index + 1] if variant in ONE_CORE else cores[:2]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
        if workers > 1:
            environment["TF_CONFIG"] = json.dumps({**cluster, "task": {"type": "worker", "index": index}})
        command = [sys.executable, __file__, "--measure", variant, *_as_arguments(options)]
        pinned = ["taskset", "--cpu-list", ",".join(map(str, own)), *command]
        processes.append(subprocess.Popen(pinned, env=environment, stdout=subprocess.PIPE, text=True))
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
    """Markdown: each pair's images per second, their ratio, and whether it is what is wanted."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("this needs two cores")
    rates = {name: [] for pair in PAIRS.items() for name in (pair[0], pair[1][0])}
    for repeat in range(options.repeats):
        for variant in rates:
            rates[variant].append(run(variant, options, cores))
            print(f"{repeat} {variant}: {rates[variant][-1][0]:.1f} images per second", file=sys.stderr, flush=True)
    lines = ["| what | images per second | over | ratio | by processor time | wanted |", "|---|---|---|---|---|---|"]
    for name, (other, wanted, words) in PAIRS.items():
        pairs = list(zip(rates[name], rates[other], strict=True))
        ratio, processor = (statistics.median(one[by] / two[by] for one, two in pairs) for by in (0, 1))
        one, two = (statistics.median(pair[side][0] for pair in pairs) for side in (0, 1))
        said = "–" if wanted is None else f"{wanted}: {'kept' if ratio >= wanted else 'missed'}"
        lines.append(f"| {words} | {one:.1f} | {two:.1f} | {ratio:.2f} | {processor:.2f} | {said} |")
    return "\n".join(lines)


def main():
    """Runs every variant in processes of its own and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=128, help="images of all processes together")
    parser.add_argument("--image-size", type=int, default=64, help="pixels")
    parser.add_argument("--steps", type=int, default=6, help="steps of an epoch")
    parser.add_argument("--epochs", type=int, default=4, help="the first does not count")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the table into RESULTS.md")
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
