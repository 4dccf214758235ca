"""Measures the features of the bundled backbone with a linear probe, and compares them with the untrained network.

Takes a SavedModel folder and optionally a folder of images with one folder per class; prints a table in Markdown. For
every seed: a stratified split into halves, features standardised by the mean and standard deviation of the training half,
and scikit-learn's logistic regression (C=1, its default) on them, for the pre-trained network and for one with random
weights of the same seed. The untrained network's batch normalization first takes its statistics from the training half;
without them its features would be badly scaled, and the comparison unfair.

    python -m saved_models.probe --image-folder sign_digits/
"""

import argparse
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from saved_models import pretrain, reusable

BATCH_SIZE = 64
# Batches through an untrained network; at momentum 0.95 its initial statistics keep a weight of 0.95**100 = 0.6 %.
CALIBRATION_STEPS = 100


def main() -> None:
    """Prints one row for each data set."""
    options = _options()
    data_sets = {"scikit-learn digits, 32×32": digits(32)}
    if options.image_folder and options.image_folder.is_dir():
        data_sets[f"{options.image_folder.name}, 64×64"] = image_folder(options.image_folder, 64)
    print("| images | count | pre-trained | untrained | error, pre-trained / untrained |\n|---|---|---|---|---|")
    for name, (images, labels) in data_sets.items():
        trained, untrained = accuracies(options.saved_model, images, labels, seeds=range(options.seeds))
        ratio = (1 - trained.mean()) / (1 - untrained.mean())
        print(f"| {name} | {len(images)} | {_spread(trained)} | {_spread(untrained)} | {ratio:.2f} |", flush=True)


def accuracies(saved_model: Path, images: np.ndarray, labels: np.ndarray, seeds) -> tuple[np.ndarray, np.ndarray]:
    """Test accuracy of the linear probe for each seed, which determines the split and the untrained network's weights.

    Args:
        saved_model: path of the pre-trained backbone.
        images: float32 (count, height, width, 3) in [0, 1].
        labels: int (count,).
        seeds: iterable of int.

    Returns:
        (float64 array (seeds,), float64 array (seeds,)), both in [0, 1]: pre-trained and untrained.
    """
    backbone = tf.saved_model.load(saved_model)
    trained_features = features(backbone, images)
    trained, untrained = [], []
    for seed in seeds:
        train, test = train_test_split(np.arange(len(images)), test_size=0.5, random_state=seed, stratify=labels)
        fresh_features = features(untrained_network(images[train], seed), images)
        for scores, values in ((trained, trained_features), (untrained, fresh_features)):
            probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
            probe.fit(values[train], labels[train])
            scores.append(probe.score(values[test], labels[test]))
    return np.array(trained), np.array(untrained)


def untrained_network(images: np.ndarray, seed: int):
    """The network with random weights and the batch norm statistics of `images`.

    Args:
        images: float32 (count, height, width, 3) in [0, 1].
        seed: int, for the weights and the batches.

    Returns:
        ReusableSavedModel.
    """
    keras.utils.set_random_seed(seed)
    module = reusable.ReusableSavedModel(pretrain.network(), pretrain.NAME)
    order = np.random.default_rng(seed)
    for _ in range(CALIBRATION_STEPS):
        module(tf.constant(images[order.choice(len(images), BATCH_SIZE)]), training=True)
    return module


def features(backbone, images: np.ndarray) -> np.ndarray:
    """Pooled features of all images in inference mode.

    Args:
        backbone: callable from float32 images in [0, 1] to float32 features (batch, features).
        images: float32 (count, height, width, 3) in [0, 1].

    Returns:
        float32 array (count, features).
    """
    starts = range(0, len(images), BATCH_SIZE)
    return np.concatenate([backbone(tf.constant(images[start : start + BATCH_SIZE])).numpy() for start in starts])


def digits(size_pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Scikit-learn's 1,797 handwritten digits of 8×8 pixels, enlarged.

    Args:
        size_pixels: int > 0, height and width.

    Returns:
        (float32 array (count, size, size, 3) in [0, 1], int array (count,)): images and labels.
    """
    bunch = load_digits()
    grey = tf.image.resize(bunch.images[..., None] / 16, (size_pixels, size_pixels))
    return np.clip(np.repeat(grey.numpy(), 3, axis=-1), 0, 1).astype(np.float32), bunch.target


def image_folder(path: Path, size_pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """All images of a folder with one folder per class.

    Args:
        path: Path of the folder.
        size_pixels: int > 0, height and width.

    Returns:
        (float32 array (count, size, size, 3) in [0, 1], int array (count,)): images and labels.
    """
    dataset = keras.utils.image_dataset_from_directory(
        path, image_size=(size_pixels, size_pixels), batch_size=None, shuffle=False, verbose=False
    )
    images, labels = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.stack(images) / np.float32(255), np.array(labels)


def _spread(scores: np.ndarray) -> str:
    return f"{scores.mean():.3f} ± {scores.std():.3f}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Linear probe of the bundled backbone and of the untrained network.")
    parser.add_argument("--saved-model", type=Path, default=Path(__file__).parent / pretrain.NAME)
    parser.add_argument("--image-folder", type=Path, help="a second data set, one folder per class")
    parser.add_argument("--seeds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
