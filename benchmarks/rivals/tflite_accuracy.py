"""Accuracy of a TFLite file on photos.

    python tflite_accuracy.py FILE PHOTOS --divide 255

PHOTOS holds a folder of photos for each class; pixels are divided by `--divide`. Prints the accuracy.
"""

import argparse
import statistics
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image


def photos(folder, size, count=None):
    """[(float32 pixels in [0, 255] (1, height, width, 3), class)] of photos of a folder, at equal distances."""
    paths = sorted(folder.glob("*/*"))
    chosen = paths[:: 1 if count is None else max(1, len(paths) // count)][:count]
    found = []
    for path in chosen:
        image = Image.open(path).convert("RGB").resize(size[::-1], Image.Resampling.BILINEAR)
        found.append((np.asarray(image, np.float32)[None], path.parent.name))
    return found


def interpreter(path, threads=None):
    """(a function of an image to scores, (height, width)) of a TFLite file."""
    network = Interpreter(model_path=str(path), num_threads=threads)
    network.allocate_tensors()
    [given], [returned] = network.get_input_details(), network.get_output_details()
    scale, zero = given["quantization"]

    def run(image):
        if scale:
            limits = np.iinfo(given["dtype"])
            image = np.clip(np.round(image / scale + zero), limits.min, limits.max).astype(given["dtype"])
        network.set_tensor(given["index"], image)
        network.invoke()
        return network.get_tensor(returned["index"])

    return run, tuple(int(length) for length in given["shape"][1:3])


def accuracy(run, images):
    """The share of photos that a function gets right; classes are numbered by their names."""
    labels = sorted({label for _, label in images})
    return statistics.mean(labels[int(np.argmax(run(image)))] == label for image, label in images)


def main():
    """Prints the accuracy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--divide", type=float, default=1.0)
    options = parser.parse_args()
    run, size = interpreter(options.file)
    images = [(image / options.divide, label) for image, label in photos(options.photos, size)]
    print(accuracy(run, images))


if __name__ == "__main__":
    main()
