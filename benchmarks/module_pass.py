"""The forward pass of a module of TF Hub over that of the same network in Keras layers, and what could make it faster.

    python benchmarks/module_pass.py [--networks MobileNet MobileNetV2] [--batch-size 16] [--turns 7] [--write]

Each network of keras.applications has random weights, at 224 pixels (MobileNet with width 0.25), and is also written as a
SavedModel and loaded as `kerastrain train` loads a module. The passes are those that compute the features of a frozen backbone:

    layers, folded    Keras layers with each batch normalization within its convolution, as kerastrain computes them; the rival
    layers            Keras's own call of these layers
    module            the graph of the module, as kerastrain computes it
    constants         this graph with its variables replaced by constants, so that TensorFlow can compute with them beforehand
    bfloat16          the graph of the module with TensorFlow's `auto_mixed_precision_onednn_bfloat16`
    XLA               the graph of the module, compiled; it takes one turn if it is five times as slow

The network "TensorFlow 1" is MobileNet again, and its module one of TensorFlow 1 with its own weights, whose batch normalizations
are another operation; it needs models/ in the folder that KERASTRAIN_SHARED names.

All take turns in one process on one core. The table contains the median of the ratio to the rival of the same turn, with its
range, and the largest difference of the outputs from those of the layers, or of the module as it is, as a share of the largest.
"""

import argparse
import contextlib
import os
import tempfile
import time
from pathlib import Path

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}

import results

NETWORKS = ("MobileNet", "MobileNetV2", "TensorFlow 1")
MODULE = Path(os.environ.get("KERASTRAIN_SHARED", "/nonexistent"), "models", "mobilenet_v1_025_224_feature_vector")
SIZE = 224
RIVAL = "layers, folded"
_SLOW = 5  # times the rival


def network(name):
    """A network without its classes."""
    import keras

    width = {} if name == "MobileNetV2" else {"alpha": 0.25}
    shape = {"input_shape": (SIZE, SIZE, 3), "weights": None, "include_top": False, "pooling": "avg"}
    return getattr(keras.applications, "MobileNet" if width else name)(**shape, **width)


@contextlib.contextmanager
def option(name):
    """Turns on an option of TensorFlow's graph optimizer for the functions that are called first within it."""
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({name: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({name: False})


def passes(name, folder):
    """Functions from images to features by the name of the pass, the context of the first call of each."""
    import keras
    import tensorflow as tf

    from kerastrain.hub.layer import HubLayer
    from kerastrain.keras_internals import frozen_graphs
    from kerastrain.train_step import folded_norms

    model, inputs = network(name), keras.Input((SIZE, SIZE, 3))
    if name == "TensorFlow 1":
        layer = HubLayer(str(MODULE), trainable=False)
    else:
        model.export(folder, verbose=False)
        layer = HubLayer(str(folder), signature="serving_default", output_key="output_0", trainable=False)
    module = keras.Model(inputs, layer(inputs))
    spec = tf.TensorSpec((None, SIZE, SIZE, 3))

    def traced(call, **options):
        return tf.function(lambda images: call(images, training=False), **options).get_concrete_function(spec)

    constants = frozen_graphs.frozen(traced(module))
    plain = contextlib.nullcontext
    return {
        RIVAL: (traced(folded_norms.inference_model(model)), plain),
        "layers": (traced(model), plain),
        "module": (traced(module), plain),
        "constants": (lambda images: constants(images)[0], plain),
        "bfloat16": (traced(module), lambda: option("auto_mixed_precision_onednn_bfloat16")),
        "XLA": (tf.function(lambda images: module(images, training=False), jit_compile=True), plain),
    }


def measured(name, options):
    """The rows of a network; records its ratios."""
    import numpy as np
    import tensorflow as tf

    images = tf.constant(np.random.default_rng(0).random((options.batch_size, SIZE, SIZE, 3)).astype("float32"))
    with tempfile.TemporaryDirectory() as folder:
        functions, outputs, turns = passes(name, Path(folder) / "module"), {}, {}
        for each, (function, context) in functions.items():
            with context():
                outputs[each] = np.asarray(function(images), np.float32)
            turns[each] = [seconds(function, images)]
        slow = {each for each, (first,) in turns.items() if first > _SLOW * turns[RIVAL][0]}
        for _ in range(options.turns):
            for each, (function, _) in functions.items():
                if each not in slow:
                    turns[each].append(seconds(function, images))
    rows = []
    for each, values in turns.items():
        same = "layers" if each.startswith("layers") else "module"
        ratios = [one / other for one, other in zip(values, turns[RIVAL], strict=False)]
        middle, low, high = results.spread(ratios[1:] or ratios)
        difference = np.abs(outputs[each] - outputs[same]).max() / np.abs(outputs[same]).max()
        if each == "module":
            results.record(f"{name}, a module's pass, times that of its layers", middle, low, high)
        rows.append(f"| {name} | {each} | {middle:.2f} ({low:.2f} to {high:.2f}) | {difference:.0e} |")
        print(rows[-1], flush=True)
    return rows


def seconds(function, images):
    """Of one pass."""
    start = time.perf_counter()
    function(images).numpy()
    return time.perf_counter() - start


def main():
    """Prints the table; --write adds it to RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--networks",
        nargs="+",
        choices=NETWORKS,
        default=[name for name in NETWORKS if name != "TensorFlow 1" or MODULE.exists()],
    )
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    lines = ["| network | pass | seconds, times those of folded layers | largest difference |", "|---|---|---|---|"]
    for name in options.networks:
        lines += measured(name, options)
    text = "\n".join([*lines, "", f"Batches of {options.batch_size}, one thread. {results.machine()}"])
    if options.write:
        results.write("The pass of a module", text)
    print(text)


if __name__ == "__main__":
    main()
