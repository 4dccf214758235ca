"""A plain Keras model trained by several workers: the same script under `kerastrain launch`, SLURM, Kubeflow and Ray.

    kerastrain launch --workers 2 -- python examples/cluster/train.py FOLDER

Each worker makes the strategy, opens the last checkpoint in FOLDER if there is one, and trains on its part of every batch.
Only the chief writes. After a failure and a restart, training ends with the weights of an uninterrupted run.
"""

import sys
from pathlib import Path

import keras
import tensorflow as tf
from sklearn.datasets import load_digits

from kerastrain import distribute
from kerastrain.system import files

EPOCHS, GLOBAL_BATCH_SIZE = 6, 64


class Checkpoint(keras.callbacks.Callback):
    """Saves the model after each epoch, if this worker is the chief."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch, logs=None):
        """Writes a temporary file and then renames it, so that the old file remains until the new one is complete."""
        if distribute.is_chief():
            with files.atomic(self.path) as temporary:
                self.model.save(temporary)


def load_or_build(path):
    """Loads the model in the file at `path`, or builds a new one if there is no file."""
    if path.exists():
        return keras.models.load_model(path)
    model = keras.Sequential(
        [keras.Input((64,)), keras.layers.Rescaling(1 / 16), keras.layers.Dense(64, "relu"), keras.layers.Dense(10)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
    return model


def main(folder):
    """Trains on scikit-learn's digits and prints the accuracy of the last epoch."""
    strategy = distribute.make()  # before any other TensorFlow operation
    keras.utils.set_random_seed(0)
    path = Path(folder) / "model.keras"
    with strategy.scope():
        model = load_or_build(path)
    images, labels = load_digits(return_X_y=True)
    dataset = tf.data.Dataset.from_tensor_slices((images.astype("float32"), labels)).batch(GLOBAL_BATCH_SIZE)
    steps = int(dataset.cardinality())
    epochs_done = int(model.optimizer.iterations.numpy()) // steps
    history = model.fit(
        distribute.shard(dataset.repeat(max(EPOCHS - epochs_done, 1)), strategy),
        initial_epoch=epochs_done,
        epochs=EPOCHS,
        steps_per_epoch=steps,
        shuffle=False,
        verbose=0,
        callbacks=[Checkpoint(path)],
    ).history
    if distribute.is_chief() and history:
        print(f"accuracy {history['accuracy'][-1]:.4f}")


if __name__ == "__main__":
    main(sys.argv[1])
