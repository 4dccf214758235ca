"""Trains a head on cached features with `kerastrain.recipe`, which is what `kerastrain train fit.epochs=0` calls.

    python head_own.py PHOTOS KEY=VALUE ...

PHOTOS holds `train`, `validation` and `test`. A turn reads the photos with an empty cache, makes the model and trains it; its
answer has the parts of its time that took longest.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}

import keras
import keras_networks
from log_times import LogTimes
from turns import Turns

from kerastrain import config, recipe


def turn(options, folder):
    """Trains a model; returns what is answered."""
    keras.backend.clear_session()
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    with LogTimes() as log:
        start = time.perf_counter()
        settings = config.load(
            overrides=[
                f"data.path={options.photos}",
                "data.image_size=[224, 224]",
                "export.formats=[]",
                "fit.epochs=0",
                *options.set,
            ]
        )
        prepared = recipe.prepare(settings)
        model = prepared.build()
        recipe.fit(model, prepared.config, prepared.split, folder / "run")
        seconds = time.perf_counter() - start
    right = count = 0
    for images, targets in keras_networks.photos(options.photos / "test", 64, shuffle=False):
        right += int((model.predict_on_batch(images).argmax(1) == targets.numpy()).sum())
        count += len(targets)
    return {"seconds": seconds, "accuracy": right / count, "parts": log.parts(seconds)}


def main():
    """Trains a model in each turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("set", nargs="*", metavar="KEY=VALUE")
    options = parser.parse_args()
    turns = Turns()
    while True:
        turns.wait()
        with tempfile.TemporaryDirectory() as folder:
            turns.answer(**turn(options, Path(folder)))


if __name__ == "__main__":
    main()
