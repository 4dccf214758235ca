"""Runs `hub.KerasLayer` under tf_keras on the modules of test_hub_layer.py and saves its outputs, gradients and weights.

Usage: TF_USE_LEGACY_KERAS=1 python hub_keras_layer.py IMAGES TEXT TF1 OUT.npz
"""

import sys
import types

import numpy as np
import tensorflow as tf
from packaging.version import parse

sys.modules.setdefault("pkg_resources", types.ModuleType("pkg_resources")).parse_version = parse

import tensorflow_hub as hub  # noqa: E402, needs the stand-in above
import tf_keras  # noqa: E402

IMAGES = np.random.default_rng(0).uniform(0, 1, (6, 8, 8, 3)).astype("float32")
TARGETS = np.random.default_rng(1).normal(0, 1, (6, 2)).astype("float32")
DENSE = np.random.default_rng(2).normal(0, 1, (4, 2)).astype("float32")

images, text, tf1, out = sys.argv[1:]
values = {"dense": DENSE}
values["tf1"] = hub.KerasLayer(tf1)(tf.constant(IMAGES)).numpy()
values["text"] = hub.KerasLayer(text)(tf.constant(["good film", "bad", "what"])).numpy()
for trainable in (False, True):
    key = "trainable" if trainable else "frozen"
    layer = hub.KerasLayer(images, trainable=trainable)
    inputs = tf_keras.Input((8, 8, 3))
    dense = tf_keras.layers.Dense(2)
    model = tf_keras.Model(inputs, dense(layer(inputs)))
    dense.set_weights([DENSE, np.zeros(2)])
    values[f"{key}_inference"] = layer(IMAGES).numpy()
    with tf.GradientTape() as tape:
        outputs = model(IMAGES, training=True)
        loss = tf.reduce_mean((outputs - TARGETS) ** 2) + sum(model.losses)
    values[f"{key}_loss"] = loss.numpy()
    gradients = tape.gradient(loss, model.trainable_weights)
    values[f"{key}_gradient_count"] = len(gradients)
    for index, gradient in enumerate(gradients):
        values[f"{key}_gradient_{index}"] = gradient.numpy()
    model.compile(tf_keras.optimizers.SGD(0.1), "mse")
    model.fit(IMAGES, TARGETS, batch_size=6, epochs=3, verbose=0)
    for index, weight in enumerate(model.trainable_weights + model.non_trainable_weights):
        values[f"{key}_weight_{index}"] = weight.numpy()
np.savez(out, **values)
