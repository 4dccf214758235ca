"""Compares `HubLayer` with `hub.KerasLayer`: the same modules, the same weights, the same three training steps.

    python tests/support/hub_comparison.py

Creates an image module, a text module and a TF1 module, runs `hub.KerasLayer` under tf_keras in another process
(hub_keras_layer.py) and `HubLayer` in this one. Prints the table of docs/hub_layer.md.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kerastrain import testing
from kerastrain.hub.layer import HubLayer

IMAGES = np.random.default_rng(0).uniform(0, 1, (6, 8, 8, 3)).astype("float32")
TARGETS = np.random.default_rng(1).normal(0, 1, (6, 2)).astype("float32")
SENTENCES = ["good film", "bad", "what"]
WORDS = {
    "inference": "outputs",
    "loss": "loss of a step, with the regularization loss",
    "gradient": "gradients",
    "weight": "weights and batch norm's statistics after three steps of SGD",
}


def image_module(path):
    """A module with a convolution, batch norm and a regularization loss."""
    return testing.saved_model(path, features=4, l2=0.01)


def text_module(path):
    """A module with a vocabulary file and an embedding."""
    return testing.text_saved_model(path, words=["good", "bad", "film"], size=4)


def tf1_module(path):
    """A module in the format of TensorFlow 1, with the signature "default"."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        images = tf.compat.v1.placeholder(tf.float32, (None, 8, 8, 3))
        kernel = tf.compat.v1.get_variable("kernel", initializer=np.full((3, 2), 0.5, "float32"), use_resource=True)
        features = tf.reduce_mean(images, [1, 2]) @ kernel
        signature = tf.compat.v1.saved_model.predict_signature_def({"images": images}, {"default": features})
        session.run(tf.compat.v1.global_variables_initializer())
        builder = tf.compat.v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, [], {"default": signature})
        builder.save()
    (path / "tfhub_module.pb").write_bytes(b"\x08\x03")
    return path


def differences(images, text, tf1, scratch):
    """Compares the two layers on three modules.

    Args:
        images: path of an image module.
        text: path of a text module.
        tf1: path of a TF1 module.
        scratch: path of a folder for temporary files.

    Returns:
        dict from the compared quantity to (number of values, largest absolute difference).

    Raises:
        RuntimeError: `hub.KerasLayer` failed; the message is the end of its error output.
        ValueError: the layers differ in the number or shapes of gradients or weights.
    """
    theirs = _theirs(images, text, tf1, scratch / "theirs.npz")
    rows = {
        "TF1 module: outputs": _difference([HubLayer(tf1)(IMAGES)], [theirs["tf1"]]),
        "text module: outputs": _difference([HubLayer(text)(tf.constant(SENTENCES))], [theirs["text"]]),
    }
    for key in ("frozen", "trainable"):
        for quantity, ours in _trained(images, key == "trainable", theirs["dense"]).items():
            names = [name for name in theirs if name.startswith(f"{key}_{quantity}") and not name.endswith("_count")]
            rows[f"image module, {key}: {WORDS[quantity]}"] = _difference(ours, [theirs[name] for name in names])
    return rows


def _theirs(images, text, tf1, path):
    script = Path(__file__).with_name("hub_keras_layer.py")
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, str(script), str(images), str(text), str(tf1), str(path)]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    if process.returncode:
        raise RuntimeError(process.stderr[-2000:])
    return dict(np.load(path))


def _trained(images, trainable, dense):
    layer = HubLayer(images, trainable=trainable)
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.layers.Dense(2, name="dense")(layer(inputs)))
    model.layers[-1].set_weights([dense, np.zeros(2)])
    values = {"inference": [layer(IMAGES)]}
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(IMAGES, training=True) - TARGETS) ** 2) + sum(model.losses, 0.0)
    values |= {"loss": [loss], "gradient": tape.gradient(loss, [v.value for v in model.trainable_weights])}
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(IMAGES, TARGETS, batch_size=6, epochs=3, verbose=0)
    return {**values, "weight": [v.numpy() for v in model.trainable_weights + model.non_trainable_weights]}


def _difference(ours, theirs):
    pairs = [(np.asarray(value), expected) for value, expected in zip(ours, theirs, strict=True)]
    if any(value.shape != expected.shape for value, expected in pairs):
        raise ValueError(f"shapes differ: {[(value.shape, expected.shape) for value, expected in pairs]}")
    count = sum(expected.size for _, expected in pairs)
    return count, max(float(np.abs(value - expected).max()) for value, expected in pairs)


def main():
    """Prints the table."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        modules = [make(folder / make.__name__) for make in (image_module, text_module, tf1_module)]
        rows = differences(*modules, folder)
    print("| compared | values | largest difference |\n|---|---|---|")
    for quantity, (count, difference) in rows.items():
        print(f"| {quantity} | {count} | {difference:.0e} |")


if __name__ == "__main__":
    main()
