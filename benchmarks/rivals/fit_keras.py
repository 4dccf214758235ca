"""Epochs of fine-tuning with plain Keras: a network of keras.applications, decoded photos in memory, and `fit`.

python fit_keras.py PHOTOS --network MobileNetV2 --weights FILE --batch-size 16
"""

import argparse
import os

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}

import keras
import keras_networks
from turns import Turns


class Turn(keras.callbacks.Callback):
    """Waits for its turn before each epoch."""

    def __init__(self, turns):
        super().__init__()
        self.turns = turns

    def on_epoch_begin(self, epoch, logs=None):
        """Waits."""
        self.turns.wait()

    def on_epoch_end(self, epoch, logs=None):
        """Answers."""
        self.turns.answer(loss=float(logs["loss"]))


def main():
    """Trains an epoch in each turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos")
    parser.add_argument("--network", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    options = parser.parse_args()
    turns = Turns()
    keras.utils.set_random_seed(0)
    train = keras_networks.photos(options.photos, options.batch_size)
    model = keras_networks.classifier(options.network, options.weights, len(train.class_names), trainable=True)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(1e-4), loss, metrics=["accuracy"])
    model.fit(keras_networks.cached(train), epochs=1000, verbose=0, callbacks=[Turn(turns)])


if __name__ == "__main__":
    main()
