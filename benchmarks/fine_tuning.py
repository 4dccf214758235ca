"""Images per second of fine-tuning: kerastrain with its default augmentation over plain Keras without any.

    python benchmarks/fine_tuning.py [--only mobilenet_v2 …] [--steps 5] [--repeats 3] [--cores 2] [--write]

Both train every layer but batch normalization with AdamW on the same uint8 images in memory, from random weights. Keras gets
them as float32 and calls `fit` with no callbacks. kerastrain augments them as `kerastrain train` does by default (resized_crop,
colour, noise), compiles with its own optimizer, loss and metrics, folds the frozen batch normalizations into the convolutions
before them, looks for NaN, writes checkpoints, history and TensorBoard files, and is measured with everything that it does
between two epochs.

    mobilenet_v2, resnet50    at 224 pixels, in float32 and in bfloat16, each over Keras in float32; "not folded" is kerastrain
                              without the folding, in mobilenet_v2
    mobilenet_v1 0.25         the graph of a Hub module over the same network in Keras layers, both by kerastrain's step;
                              needs models/ in the folder that KERASTRAIN_SHARED names

Each measurement is a process of its own, pinned to the same cores. The variants take turns, and medians over the turns count,
of images per second and of the ratio to the first variant in the same turn. An epoch's time is the median over the epochs after
the first. "first epoch" is how many seconds longer the first takes: TensorFlow traces and optimizes the step in it.
"""

import argparse
import functools
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import results

NOT_FOLDED = "kerastrain float32, not folded"
NETWORKS = {  # name: (batch size, image size, variants; the first is what the others are compared with)
    "mobilenet_v2": (
        16,
        224,
        ("keras float32", "keras bfloat16", "kerastrain float32", "kerastrain bfloat16", NOT_FOLDED),
    ),
    "resnet50": (8, 224, ("keras float32", "keras bfloat16", "kerastrain float32", "kerastrain bfloat16")),
    "mobilenet_v1_025": (32, 224, ("kerastrain float32", "kerastrain module")),
}
AUGMENTATION = ("resized_crop", "colour", "noise")
CLASSES = 10
EPOCHS = 4


def backbone(name, image_size, variant):
    """A layer or model from images in [0, 255] to features."""
    import keras

    shape = {"input_shape": (image_size, image_size, 3), "weights": None, "include_top": False, "pooling": "avg"}
    if name == "mobilenet_v2":
        return keras.applications.MobileNetV2(**shape)
    if name == "resnet50":
        return keras.applications.ResNet50(**shape)
    if variant.endswith("module"):
        from kerastrain.hub.layer import HubLayer

        module = Path(os.environ["KERASTRAIN_SHARED"]) / "models" / "mobilenet_v1_025_224_feature_vector"
        return HubLayer(str(module), trainable=True, freeze_batch_norm_statistics=True)
    return keras.applications.MobileNet(alpha=0.25, **shape)


def network(name, image_size, variant):
    """A classifier whose batch normalization is frozen."""
    import keras

    inputs = keras.Input((image_size, image_size, 3))
    part = backbone(name, image_size, variant)
    for layer in getattr(part, "layers", ()):
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    features = part(keras.layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, keras.layers.Dense(CLASSES, dtype="float32")(features))


def measure(name, variant, steps):
    """Trains one variant in this process; prints the seconds and the processor seconds of each epoch."""
    import keras
    import numpy as np

    batch_size, image_size, _ = NETWORKS[name]
    keras.utils.set_random_seed(0)
    if variant.endswith("bfloat16"):
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    model = network(name, image_size, variant)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (batch_size * steps, image_size, image_size, 3), np.uint8)
    classes = random.integers(0, CLASSES, len(images))
    train = (
        plain_keras if variant.startswith("keras ") else functools.partial(kerastrain_fit, folds=variant != NOT_FOLDED)
    )
    clock, processor = [], []

    def tick(_, __=None):
        clock.append(time.perf_counter())
        processor.append(time.process_time())

    begin = keras.callbacks.LambdaCallback(on_train_begin=lambda _: tick(0), on_epoch_end=tick)
    train(model, images, classes, batch_size, begin)
    print(json.dumps([list(map(_difference, itertools.pairwise(times))) for times in (clock, processor)]))


def _difference(pair):
    return pair[1] - pair[0]


def plain_keras(model, images, classes, batch_size, tick):
    """Keras's own `fit` over float32 images in memory."""
    import keras
    import tensorflow as tf

    targets = keras.utils.to_categorical(classes, CLASSES)
    dataset = tf.data.Dataset.from_tensor_slices((images.astype("float32"), targets)).batch(batch_size).cache()
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(1e-4), loss, metrics=["accuracy"], jit_compile=False)
    model.fit(dataset.prefetch(tf.data.AUTOTUNE), epochs=EPOCHS, verbose=0, callbacks=[tick])


def kerastrain_fit(model, images, classes, batch_size, tick, *, folds):
    """What `kerastrain train` does in a phase of fine-tuning, with a new order and new augmentation in every epoch."""
    import keras

    import kerastrain as kt
    from kerastrain import evaluation
    from kerastrain.train_step import folded_norms

    examples = kt.data.Examples(classes, tuple(map(str, range(CLASSES))), images)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(
        kt.optimizers.make("adamw", 1e-4),
        loss,
        metrics=evaluation.metrics(CLASSES, task="single_label"),
        weighted_metrics=[evaluation.DataLoss(loss)],
        jit_compile=False,
    )
    if folds:
        folded_norms.install(model)
    augment = kt.data.augment(*AUGMENTATION)
    dataset = kt.data.batches(examples, batch_size, shuffle=True, augment=augment, epochs=EPOCHS)
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = kt.callbacks.Checkpoints(Path(folder) / "checkpoints", every="2 minutes", keep=1)
        standard = kt.callbacks.standard(folder, monitor=None, progress=False)
        callbacks = checkpoints.before([tick, kt.callbacks.TerminateOnNonFinite(), *standard])
        steps = len(images) // batch_size
        model.fit(dataset, epochs=EPOCHS, steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=callbacks)


def run(name, variant, options):
    """(images per second, images per processor second, seconds more of the first epoch) of a variant, in its own process."""
    command = [sys.executable, __file__, "--measure", name, variant, "--steps", str(options.steps)]
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[: options.cores]))
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        ["taskset", "--cpu-list", cores, *command], env=environment, stdout=subprocess.PIPE, text=True, timeout=1200
    )
    if done.returncode:
        raise SystemExit(f"{name} {variant} failed")
    clock, processor = json.loads(done.stdout.splitlines()[-1])
    images = NETWORKS[name][0] * options.steps
    return (
        images / statistics.median(clock[1:]),
        images / statistics.median(processor[1:]),
        clock[0] - statistics.median(clock[1:]),
    )


def rows(name, options):
    """The rows of the table of a network: each variant's speed, and its ratio to the first variant in the same turn."""
    variants, measured = NETWORKS[name][2], []
    for turn in range(options.repeats):
        measured.append({variant: run(name, variant, options) for variant in variants})
        shown = ", ".join(f"{variant} {speeds[0]:.1f}" for variant, speeds in measured[-1].items())
        print(f"{name}, turn {turn + 1}: images/s {shown}", file=sys.stderr, flush=True)
    for variant in variants:
        rate, first = (statistics.median(turn[variant][column] for turn in measured) for column in (0, 2))
        ratios = [[turn[variant][column] / turn[variants[0]][column] for turn in measured] for column in (0, 1)]
        clock, processor = (f"{low:.2f}–{high:.2f}" for _, low, high in map(results.spread, ratios))
        clock_median, processor_median = map(statistics.median, ratios)
        yield (
            f"| {name} | {variant} | {rate:.1f} | {clock_median:.2f} ({clock}) | {processor_median:.2f} ({processor}) | "
            f"{first:.1f} |"
        )
        if variant != variants[0] and variant.startswith("kerastrain"):
            title = f"{name}, {variant} over {variants[0]}, images per second"
            results.record(title, *results.spread(ratios[0]), better="higher")


def main():
    """Measures one variant, or prints the table of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--steps", type=int, default=5, help="steps in an epoch")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--measure", nargs=2, metavar=("NETWORK", "VARIANT"), help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help="write the table to RESULTS.md")
    options = parser.parse_args()
    if options.measure:
        measure(*options.measure, options.steps)
        return
    lines = [
        "| network | variant | images/s | over the first, by the clock | by processor time | first epoch, seconds more |",
        "|---|---|---|---|---|---|",
    ]
    for name in options.only:
        if name == "mobilenet_v1_025" and not os.environ.get("KERASTRAIN_SHARED"):
            print(f"left out {name}: KERASTRAIN_SHARED names no folder with models/", file=sys.stderr)
            continue
        lines += rows(name, options)
    print("\n".join(lines))
    if options.write:
        results.write("Fine-tuning", "\n".join([results.machine(), "", *lines]))


if __name__ == "__main__":
    main()
