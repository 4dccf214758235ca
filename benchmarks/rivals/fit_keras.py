"""Epochs of fine-tuning with plain Keras: a network of keras.applications, decoded photos in memory, and `fit`.

python fit_keras.py PHOTOS --network MobileNetV2 --weights FILE --batch-size 16
"""

import argparse
import os
import time

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}

import keras
import keras_networks
from turns import Turns


class Turn(keras.callbacks.Callback):
    """Waits for its turn before every second epoch, and times the one after it.

    The iterator of an epoch ends when the next one begins, and waits for the thread with which tf.data tunes; after a pause this
    takes seconds, which are not those of a training that does not pause.
    """

    def __init__(self, turns):
        super().__init__()
        self.turns, self.start = turns, None

    def on_epoch_begin(self, epoch, logs=None):
        """Waits, or starts the clock."""
        if epoch % 2 == 0:
            self.turns.wait()
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Answers after the second epoch."""
        if epoch % 2:
            self.turns.answer(seconds=time.perf_counter() - self.start, loss=float(logs["loss"]))


def main():
    """Trains two epochs in each turn."""
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
