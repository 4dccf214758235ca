"""Folders and arrays become a `Split`, a `Split` becomes `tf.data` batches whose order can be computed in advance.

Takes folders of images or texts, and arrays; gives `Split`, `Examples` and `tf.data.Dataset`. Must not know models, optimizers or
configs.

Example:
    >>> import kerastrain as kt
    >>> split = kt.data.digits(image_size=(16, 16))
    >>> train = kt.data.batches(split.train, 32, shuffle=True, epochs=2, augment=kt.data.augment("resized_crop", "noise"))
    >>> images, labels = next(iter(train))
    >>> images.shape, images.dtype.name, labels.shape
    (TensorShape([32, 16, 16, 3]), 'float32', TensorShape([32, 10]))
"""

import importlib

_HOMES = {
    "Columns": "columns",
    "Examples": "examples",
    "Preview": "previews",
    "KeptImages": "cache",
    "Listing": "listings",
    "Split": "examples",
    "arrays": "sources",
    "Augmentation": "augmentation",
    "augment": "augmentation",
    "batches": "pipeline",
    "class_weights": "weighting",
    "digits": "sources",
    "divide": "listings",
    "few_examples": "expectations",
    "fingerprint": "fingerprints",
    "folds": "listings",
    "has_columns": "places",
    "image_folder": "sources",
    "indices": "pipeline",
    "keep": "cache",
    "listing": "places",
    "load_image": "images",
    "manifest": "sources",
    "named_set": "sources",
    "part_named": "folders",
    "plain_errors": "faults",
    "read": "reading",
    "scan": "reading",
    "sizes": "listings",
    "split": "reading",
    "preview": "previews",
    "steps_per_epoch": "pipeline",
    "text_files": "sources",
    "tfrecord_set": "sources",
    "under_labels": "listings",
    "weighted": "weighting",
    "write_tfrecords": "tfrecord_writing",
}
_MODULES = ("features", "quarantine")

__all__ = [*_HOMES, *_MODULES]  # noqa: PLE0604, the tables are the public face


def __getattr__(name: str) -> object:
    # Counting a folder's files must not start TensorFlow, which only some of the modules need.
    if name in _MODULES:
        return importlib.import_module(f"kerastrain.data.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"kerastrain.data.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'kerastrain.data' has no attribute {name!r}")
