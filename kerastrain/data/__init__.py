"""Load data sets, split them, and batch them in an order that can be computed in advance.

Takes folders, tables, published data sets and arrays; returns `Split`, `Examples` and `tf.data.Dataset`. Must not
import model builders, optimizers or configs.

Example:
    >>> import kerastrain as kt
    >>> split = kt.data.digits(image_size=(16, 16))
    >>> train = kt.data.batches(split.train, 32, shuffle=True, epochs=2, augment=kt.data.augment("resized_crop", "noise"))
    >>> images, labels = next(iter(train))
    >>> images.shape, images.dtype.name, labels.shape
    (TensorShape([32, 16, 16, 3]), 'float32', TensorShape([32, 10]))
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["feature_views", "features", "overlap", "properties", "text_statistics", "token_ids"],
    submod_attrs={
        "image_files": ["quarantine"],
        "augmentation": ["Augmentation", "augment"],
        "description": ["describe"],
        "examples": ["Examples", "Split"],
        "fingerprints": ["fingerprint"],
        "image_files.decoder": ["load_image"],
        "image_files.pixel_cache": ["CachedImages", "cache"],
        "pipeline": ["batches", "indices", "steps_per_epoch"],
        "previews": ["Preview", "preview", "samples"],
        "read_errors": ["surface_read_errors"],
        "reading": ["ReadListing", "read", "read_listing", "readable", "scan", "split", "without_repeats"],
        "sources.parts": ["part_named"],
        "sources.loaders": ["arrays", "digits", "image_folder", "manifest", "named_set", "text_files", "tfrecord_set"],
        "sources.resolve": ["has_columns", "listing"],
        "sources.table": ["Columns"],
        "sources.tfrecord_writer": ["write_tfrecords"],
        "splitting.classes": ["without_classes"],
        "splitting.listings": ["Listing", "check_skipped", "divide", "folds", "sizes", "under_labels"],
        "splitting.sample_size": ["small_data_warning"],
        "weighting": ["class_weights", "weighted"],
    },
)
