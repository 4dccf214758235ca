"""Folders and arrays become a `Split`, a `Split` becomes `tf.data` batches whose order can be computed in advance.

Takes image folders and arrays; gives `Split`, `Examples` and `tf.data.Dataset`. Must not know models, optimizers or
configs.

Example:
    >>> import kerastrain as kt
    >>> split = kt.data.digits(image_size=(16, 16))
    >>> train = kt.data.batches(split.train, 32, shuffle=True, epochs=2, augment=kt.data.augment("crop", "noise"))
    >>> images, labels = next(iter(train))
    >>> images.shape, images.dtype.name, labels.shape
    (TensorShape([32, 16, 16, 3]), 'float32', TensorShape([32, 10]))
"""

from kerastrain.data import features
from kerastrain.data.augmentation import augment
from kerastrain.data.examples import Examples, Split
from kerastrain.data.images import load_image
from kerastrain.data.pipeline import batches, steps_per_epoch
from kerastrain.data.sources import arrays, digits, image_folder

__all__ = [
    "Examples",
    "Split",
    "arrays",
    "augment",
    "batches",
    "digits",
    "features",
    "image_folder",
    "load_image",
    "steps_per_epoch",
]
