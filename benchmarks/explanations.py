"""How well each method finds the object: digits of scikit-learn pasted into cluttered pictures, whose place is known.

    python benchmarks/explanations.py [--write]

Trains a small convolutional network on the pictures, exports it as a TF Hub module without an endpoint of feature maps, and
explains held-out pictures that both predict rightly. For each method:

- pointing game: the share of pictures whose largest value lies on the digit (Zhang et al. 2016); by chance it is the share of
  its area. Goal: 0.9.
- deletion and insertion: the area under the curve of the probability, beside that of a random order (Petsiuk et al. 2018).
- randomised: the rank correlation with heatmaps of the network with all its kernels shuffled (Adebayo et al. 2018); near 0 is
  good.
- milliseconds per picture.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import results
import tensorflow as tf
from sklearn.datasets import load_digits

from kerastrain import HubLayer, explain

SIZE, DIGIT = 64, 24
GOAL = 0.9
METHODS = ("gradcam", "gradcam++", "layercam", "scorecam", "saliency", "integrated_gradients", "occlusion")


def pictures(digits, labels, count, seed):
    """Pictures of a digit on clutter, their labels, and the box of each digit."""
    generator = np.random.default_rng(seed)
    images, boxes = np.zeros((count, SIZE, SIZE, 3), "float32"), []
    chosen = generator.integers(0, len(digits), count)
    large = tf.image.resize(digits[chosen][..., None] / 16, (DIGIT, DIGIT), method="bicubic").numpy().clip(0, 1)
    for index, digit in enumerate(large):
        image = images[index]
        image[:] = generator.uniform(0, 130, 3)
        for _ in range(14):  # bars and blocks, as bright and as thick as the strokes of digits
            height, width = generator.integers(2, 14, 2)
            top, left = generator.integers(0, SIZE - height), generator.integers(0, SIZE - width)
            image[top : top + height, left : left + width] = generator.uniform(0, 255, 3)
        top, left = generator.integers(0, SIZE - DIGIT, 2)
        box = image[top : top + DIGIT, left : left + DIGIT]
        box[:] = box * (1 - digit) + generator.uniform(180, 255, 3) * digit
        boxes.append((top, left, top + DIGIT, left + DIGIT))
        image += generator.normal(0, 8, image.shape)
    return np.clip(images, 0, 255).astype("uint8"), labels[chosen], boxes


def convolutional():
    """A network from pixels in [0, 1] to features."""
    inputs = values = keras.Input((SIZE, SIZE, 3))
    for filters, stride in ((24, 2), (32, 1), (48, 2), (64, 1), (64, 2), (96, 1)):
        values = keras.layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False)(values)
        values = keras.layers.ReLU()(keras.layers.BatchNormalization()(values))
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(values))


def trained(network, train, epochs):
    """The network with a head, trained."""
    inputs = keras.Input((SIZE, SIZE, 3))
    model = keras.Model(inputs, keras.layers.Dense(10)(network(keras.layers.Rescaling(1 / 255)(inputs))))
    steps = epochs * len(train[0]) // 64
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps, warmup_target=2e-3, warmup_steps=steps // 10)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss)
    model.fit(*train, batch_size=64, epochs=epochs, verbose=0)
    return model


def module_of(model, folder):
    """The same model with its network as a TF Hub module."""
    network = model.layers[2]
    network.export(folder, verbose=False)
    layer = HubLayer(folder, signature="serving_default", output_key="output_0")
    inputs = keras.Input((SIZE, SIZE, 3))
    head = keras.layers.Dense(10)
    copy = keras.Model(inputs, head(layer(keras.layers.Rescaling(1 / 255)(inputs))))
    head.set_weights(model.layers[-1].get_weights())
    return copy


def measured(name, model, method, images, labels, boxes):
    """A row of the table."""
    explain.heatmaps(model, images[:2], labels[:2], method)
    start = time.perf_counter()
    found = explain.heatmaps(model, images, labels, method)
    milliseconds = 1000 * (time.perf_counter() - start) / len(images)
    hits = explain.pointing_game(found.values, boxes).mean()
    areas = explain.deletion_insertion(model, images[:32], found.values[:32], labels[:32]).areas
    areas = {key: value.mean() for key, value in areas.items()}
    few = 8 if method in ("occlusion", "scorecam") else 16
    sanity = explain.sanity_check(model, images[:few], labels[:few], method, stages=2)
    correlation = sanity.correlations[-1].mean()
    met = "met" if hits >= GOAL else "missed"
    results.record(
        f"{name}, {method}: pointing game", *results.share(round(hits * len(images)), len(images)), better="higher"
    )
    return (
        f"| {name} | {method} | {hits:.2f} ({met}) | {areas['deletion']:.2f} ({areas['random_deletion']:.2f}) | "
        f"{areas['insertion']:.2f} ({areas['random_insertion']:.2f}) | {correlation:.2f} | {milliseconds:.0f} |"
    )


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the table into RESULTS.md")
    parser.add_argument("--pictures", type=int, default=5000, help="pictures to train on")
    parser.add_argument("--explained", type=int, default=100, help="pictures to explain")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--folder", type=Path, help="where trained networks are kept between runs")
    options = parser.parse_args()
    keras.utils.set_random_seed(0)
    data = load_digits()
    images, labels, boxes = pictures(data.images[1400:], data.target[1400:], 2 * options.explained, seed=2)
    folder = options.folder or Path(tempfile.mkdtemp())
    path = folder / "network.keras"
    if not path.exists():
        train = pictures(data.images[:1400], data.target[:1400], options.pictures, seed=1)
        trained(convolutional(), train[:2], options.epochs).save(path)
    models = {"Keras layers": keras.models.load_model(path)}
    models["TF Hub module"] = module_of(models["Keras layers"], folder / "module")
    rows, accuracies = [], []
    for name, model in models.items():
        right = model.predict(images, verbose=0).argmax(axis=1) == labels
        accuracies.append(f"{name} {right.mean():.3f}")
        chosen = np.flatnonzero(right)[: options.explained]
        part = images[chosen], labels[chosen], [boxes[index] for index in chosen]
        methods = METHODS if name == "Keras layers" else METHODS[:4]
        for method in methods:
            rows.append(measured(name, model, method, *part))
            print(rows[-1], flush=True)
    chance = DIGIT**2 / SIZE**2
    text = "\n".join(
        [
            f"Digits of {DIGIT} x {DIGIT} pixels in pictures of {SIZE} x {SIZE}. Accuracy on held-out pictures: "
            f"{', '.join(accuracies)}. {options.explained} pictures that are predicted rightly. By chance the pointing "
            f"game gives {chance:.2f}. {results.machine()}",
            "",
            "| network | method | pointing game | deletion (random) | insertion (random) | randomised | ms |",
            "|---|---|---|---|---|---|---|",
            *rows,
        ]
    )
    print(text)
    if options.write:
        results.write("Explanations: digits pasted into clutter", text)


if __name__ == "__main__":
    main()
