"""Predicts a folder of photos with plain Keras: `image_dataset_from_directory`, `predict`, and a CSV file of the classes.

    python predict_keras.py --photos FOLDER --network MobileNetV2 --weights FILE --labels FILE --out FILE
    python predict_keras.py --weights-of RUN FILE

The second command writes the arrays of a run's model, which the first one loads, so that both predict with the same weights.
"""

import argparse
import csv
import os
from pathlib import Path

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}

import keras
import keras_networks
import numpy as np


def predict(options):
    """Writes a row for each photo."""
    labels = options.labels.read_text(encoding="utf-8").splitlines()
    model = keras.Sequential(
        [
            keras.Input((*keras_networks.SIZE, 3)),
            keras_networks.preprocessing(options.network),
            keras_networks.network(options.network),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(len(labels), activation="softmax"),
        ]
    )
    with np.load(options.weights) as arrays:
        model.set_weights([arrays[f"arr_{number}"] for number in range(len(arrays.files))])
    dataset = keras.utils.image_dataset_from_directory(
        options.photos, labels=None, image_size=keras_networks.SIZE, batch_size=64, shuffle=False, verbose=False
    )
    scores = model.predict(dataset, verbose=0)
    with options.out.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["input", "prediction", *labels])
        for path, row in zip(dataset.file_paths, scores, strict=True):
            rows.writerow([path, labels[row.argmax()], *row])


def main():
    """Predicts, or writes arrays."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("photos", "weights", "labels", "out"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--network")
    parser.add_argument("--weights-of", type=Path, nargs=2, metavar=("RUN", "FILE"))
    options = parser.parse_args()
    if options.weights_of:
        from kerastrain import saving

        run, path = options.weights_of
        np.savez(path, *saving.load(run / "model.keras").get_weights())
    else:
        predict(options)


if __name__ == "__main__":
    main()
