"""Small real files for tests: SavedModels that are created in a second, and folders of solid-colour images.

Takes a path and a few options; writes files as users have them, so that a test needs no network and no mock. No other
module of kerastrain may need it.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

COLOURS = {"red": (200, 30, 30), "green": (30, 180, 40), "blue": (40, 50, 210), "yellow": (220, 210, 40)}


def saved_model(
    path: str | os.PathLike,
    *,
    image_size: tuple[int | None, int | None] = (None, None),
    features: int = 8,
    l2: float = 0.0,
    dropout: float = 0.0,
    seed: int = 0,
) -> Path:
    """Writes a reusable SavedModel for images: convolution, batch norm, ReLU, global average pooling, dropout.

    Its callable takes float32 images (b, h, w, 3) in [0, 1] and `training`, and returns float32 (b, features). With
    `training=True`, batch norm updates its moving statistics with momentum 0.9. The endpoint `feature_maps` returns float32
    (b, h, w, features) before the pooling; the signature "serving_default" returns {"features": ...}.

    Args:
        path: path of the folder to write.
        image_size: (height, width) in pixels of the images, each int >= 1 or None for any.
        features: int >= 1, features of an image.
        l2: float >= 0, weight of the regularization loss l2 * sum(kernel ** 2); 0.0 for none.
        dropout: float in [0, 1), fraction of the features that is dropped in training.
        seed: int >= 0, seed of the kernel.

    Returns:
        Path of the folder.

    Example:
        >>> folder = saved_model(tmp_path / "module", l2=1e-3)  # doctest: +SKIP
    """
    kernel = np.random.default_rng(seed).normal(0, 0.3, (3, 3, 3, features)).astype("float32")
    module = tf.train.Checkpoint()
    module.trainable_variables = [
        tf.Variable(kernel, name="conv/kernel"),
        tf.Variable(tf.ones(features), name="norm/gamma"),
        tf.Variable(tf.zeros(features), name="norm/beta"),
    ]
    module.variables = module.trainable_variables + [
        tf.Variable(tf.zeros(features), trainable=False, name="norm/moving_mean"),
        tf.Variable(tf.ones(features), trainable=False, name="norm/moving_variance"),
    ]
    kernel, gamma, beta, mean, variance = module.variables
    images = tf.TensorSpec((None, *image_size, 3), tf.float32)

    def feature_maps(images, training=False):
        maps = tf.nn.conv2d(images, kernel, strides=1, padding="SAME")
        if training:
            batch_mean, batch_variance = tf.nn.moments(maps, [0, 1, 2])
            mean.assign(0.9 * mean + 0.1 * batch_mean)
            variance.assign(0.9 * variance + 0.1 * batch_variance)
        else:
            batch_mean, batch_variance = mean, variance
        return tf.nn.relu(tf.nn.batch_normalization(maps, batch_mean, batch_variance, beta, gamma, 1e-3))

    def call(images, training=False):
        pooled = tf.reduce_mean(feature_maps(images, training), [1, 2])
        return tf.nn.dropout(pooled, dropout) if training and dropout else pooled

    module.feature_maps, module.__call__ = tf.function(feature_maps), tf.function(call)
    for function in (module.feature_maps, module.__call__):
        for training in (False, True):
            function.get_concrete_function(images, training=training)
    module.regularization_losses = []
    if l2:
        module.regularization_losses.append(
            tf.function(lambda: l2 * tf.reduce_sum(tf.square(kernel)), input_signature=[])
        )
    serving = tf.function(lambda images: {"features": call(images)}, input_signature=[images])
    tf.saved_model.save(module, os.fspath(path), signatures={"serving_default": serving})
    return Path(path)


def text_saved_model(path: str | os.PathLike, *, words: Iterable[str], size: int = 8, seed: int = 0) -> Path:
    """Writes a reusable SavedModel for text: a vocabulary file and the mean of the word embeddings.

    Its callable takes string (b,) and returns float32 (b, size). Words outside the vocabulary share one embedding.

    Args:
        path: path of the folder to write.
        words: iterable of str, the vocabulary.
        size: int >= 1, dimension of the embeddings.
        seed: int >= 0, seed of the embeddings.

    Returns:
        Path of the folder; the vocabulary is in its `assets/`.
    """
    words = list(words)
    scratch = Path(path).with_name(f"{Path(path).name}-vocabulary")
    scratch.mkdir(parents=True)
    (scratch / "words.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    values = np.random.default_rng(seed).normal(0, 1, (len(words) + 1, size)).astype("float32")
    module = tf.train.Checkpoint()
    module.vocabulary = tf.saved_model.Asset(os.fspath(scratch / "words.txt"))
    lines = tf.lookup.TextFileInitializer(
        module.vocabulary, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
    )
    module.table = tf.lookup.StaticVocabularyTable(lines, num_oov_buckets=1)
    module.embeddings = tf.Variable(values, name="embeddings")
    module.variables = module.trainable_variables = [module.embeddings]

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
    def call(sentences):
        tokens = module.table.lookup(tf.strings.split(tf.strings.lower(sentences)))
        return tf.reduce_mean(tf.nn.embedding_lookup(module.embeddings, tokens), axis=1)

    module.__call__ = call
    tf.saved_model.save(module, os.fspath(path))
    (scratch / "words.txt").unlink()
    scratch.rmdir()
    return Path(path)


def colour_folder(
    path: str | os.PathLike,
    *,
    colours: Iterable[str] = ("red", "green", "blue"),
    count: int = 10,
    size: tuple[int, int] = (32, 32),
    noise: int = 8,
    seed: int = 0,
) -> Path:
    """Writes a folder of PNG images with one folder per colour, which any classifier must be able to distinguish.

    Args:
        path: path of the folder to write.
        colours: iterable of str, keys of `COLOURS`.
        count: int >= 0, images per colour.
        size: (height, width) in pixels, both int >= 1.
        noise: int in [0, 30], the largest difference of a value from its colour, out of 255.
        seed: int >= 0, seed of the noise.

    Returns:
        Path of the folder.
    """
    random = np.random.default_rng(seed)
    for colour in colours:
        folder = Path(path) / colour
        folder.mkdir(parents=True)
        for index in range(count):
            pixels = np.array(COLOURS[colour]) + random.integers(-noise, noise + 1, (*size, 3))
            Image.fromarray(pixels.astype("uint8")).save(folder / f"{index:03d}.png")
    return Path(path)
