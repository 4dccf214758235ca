"""Trains a head on a frozen network with plain Keras `fit`, as Keras's guide to transfer learning has it.

    python head_keras.py PHOTOS --network MobileNet --alpha 0.25 --weights FILE --epochs 20 [--augment]

PHOTOS holds `train`, `validation` and `test`. Decoded photos are in memory; the network computes them anew in each epoch. A turn
trains the epochs that are asked for, {"timed_epochs": 2}. If these are not all, the seconds of all are computed: those of the
first, and 19 times the mean of the others; and the accuracy, in the first turn, is that of the same head on the network's
outputs as arrays, which gives the same but for rounding and the order of the photos. With augmentation there is none then.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
import keras
import keras_networks
import numpy as np
from turns import Turns

BATCH_SIZE = 32
COMPUTED_FROM = 2  # epochs of a whole training, to compare what is computed from them with what it took
AUGMENTATION = ("flip", "rotation")  # mirrored, and by up to 15 degrees, as kerastrain's defaults


class EpochEnds(keras.callbacks.Callback):
    """Records when each epoch ended."""

    def __init__(self):
        super().__init__()
        self.times = []

    def on_epoch_end(self, epoch, logs=None):
        """Records the time."""
        self.times.append(time.perf_counter())


def compiled(model, epochs, train):
    """The model, compiled with the optimizer and the schedule that kerastrain uses for a head."""
    steps = epochs * len(train)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps - steps // 20, warmup_target=0.01, warmup_steps=steps // 20
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(rate), loss, metrics=["accuracy"])
    return model


def best_epoch():
    """Keeps the weights of the best epoch, as kerastrain does."""
    return keras.callbacks.EarlyStopping(patience=1000, restore_best_weights=True)


def accuracy_on_arrays(model, options, parts):
    """Accuracy on `test` of the head of a model, trained on the outputs of what is below it."""
    dropout, dense = model.layers[-2:]
    below = keras.Model(model.input, dropout.input)
    arrays = {}
    for name, dataset in parts.items():
        outputs = [(below.predict_on_batch(images), labels.numpy()) for images, labels in dataset]
        arrays[name] = tuple(map(np.concatenate, zip(*outputs, strict=True)))
    head = keras.Sequential([keras.Input(arrays["test"][0].shape[1:]), dropout, dense])
    dense.set_weights([keras.initializers.GlorotUniform(seed=0)(dense.kernel.shape), np.zeros(dense.bias.shape)])
    compiled(head, options.epochs, parts["train"])
    more = {"epochs": options.epochs, "batch_size": BATCH_SIZE, "validation_data": arrays["validation"]}
    head.fit(*arrays["train"], **more, verbose=0, callbacks=[best_epoch()])
    return head.evaluate(*arrays["test"], verbose=0)[1]


def turn(options, timed_epochs, repeat):
    """Reads the photos, makes the model and trains it; returns what is answered."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    start = time.perf_counter()
    parts = {
        name: keras_networks.photos(options.photos / name, BATCH_SIZE, shuffle=name == "train")
        for name in ("train", "validation", "test")
    }
    class_count = len(parts["train"].class_names)
    model = keras_networks.classifier(
        options.network, options.weights, class_count, alpha=options.alpha, trainable=False
    )
    compiled(model, options.epochs, parts["train"])
    ends = EpochEnds()
    model.fit(
        keras_networks.cached(parts["train"], AUGMENTATION if options.augment else ()),
        validation_data=keras_networks.cached(parts["validation"]),
        epochs=timed_epochs,
        verbose=0,
        callbacks=[ends, best_epoch()],
    )
    seconds = time.perf_counter() - start
    facts = {"timed_epochs": timed_epochs, "is_whole": timed_epochs == options.epochs}
    times = [start, *ends.times[: COMPUTED_FROM if facts["is_whole"] else None]]
    computed = times[1] - start + (options.epochs - 1) * statistics.mean(np.diff(times[1:]))
    if facts["is_whole"]:
        accuracy = model.evaluate(parts["test"], verbose=0)[1]
        return {**facts, "seconds": seconds, "computed": computed, "accuracy": accuracy}
    facts |= {"seconds": computed}
    if options.augment or repeat:
        return facts
    return {**facts, "accuracy": accuracy_on_arrays(model, options, parts)}


def main():
    """Trains a model in each turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--network", required=True)
    parser.add_argument("--alpha", type=float)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--augment", action="store_true")
    options = parser.parse_args()
    turns = Turns()
    while True:
        request = turns.wait()
        turns.answer(**turn(options, **request))


if __name__ == "__main__":
    main()
