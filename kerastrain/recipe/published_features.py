"""Features of all examples by a network that was not trained on their labels.

Takes a `Config` and a `Split`; returns arrays, and says which network it was. The features of a fine-tuned network would know the
labels that they are to judge. Must not read the model of the run.
"""

import logging

import keras
import numpy as np
import scipy.sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from kerastrain import backbones, data
from kerastrain.config import AUTO_BACKBONE, Config
from kerastrain.data.sources.text_pairs import shown
from kerastrain.errors import InputError
from kerastrain.recipe import automatic_backbone
from kerastrain.recipe.building import load_backbone

logger = logging.getLogger("kerastrain")

_LONG_WORD = 15  # characters; texts of longer "words" are written without spaces


def image_features(config: Config, split: data.Split) -> tuple[np.ndarray, str]:
    """Computes the features of images by the pretrained backbone of a run, before the run trained it.

    A run from random weights has none; the network that `model.backbone=auto` chooses takes its place, as where the files of the
    backbone are gone.

    Args:
        config: Config of the run.
        split: data.Split of its images.

    Returns:
        float32 array (n, features) in the order of the parts, and a sentence about the network.

    Raises:
        InputError: the images cannot be used.
    """
    config = config.model_copy(update={"runtime": config.runtime.model_copy(update={"precision": "float32"})})
    if config.from_scratch:
        backbone, why = _chosen(config), ", since the run's own network started from random weights"
    else:
        try:
            backbone, why = load_backbone(config), ", as published, before the run trained it"
        except (InputError, OSError) as error:
            logger.warning("the backbone of the run cannot be loaded again: %s", error)
            backbone, why = _chosen(config), ", since the run's own backbone cannot be loaded any more"
    model = _network(backbone, split.train.image_size)
    logger.info("computing features of %s images by %s", f"{sum(split.sizes.values()):,}", backbone.handle)
    features = [
        data.features.precompute(model, part.without_numbers(), config.evaluation.batch_size).inputs
        for part in split.parts.values()
    ]
    return np.nan_to_num(np.concatenate(features)), f"{backbone.handle}{why}"


def text_features(split: data.Split) -> tuple[scipy.sparse.csr_matrix, str]:
    """Computes TF-IDF of words and word pairs; of sequences of characters where words are not separated by spaces.

    Args:
        split: data.Split of texts or pairs of texts.

    Returns:
        sparse float matrix (n, terms) in the order of the parts, rows of unit length, and a sentence.
    """
    texts = [shown(text) for part in split.parts.values() for text in part.inputs]
    lengths = [len(text) / max(len(text.split()), 1) for text in texts]
    if np.median(lengths) > _LONG_WORD:
        options, said = {"analyzer": "char", "ngram_range": (1, 3)}, "sequences of up to 3 characters"
    else:
        options, said = {"ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b"}, "words and word pairs"
    for fewest in (2, 1):
        try:
            return TfidfVectorizer(min_df=fewest, sublinear_tf=True, **options).fit_transform(
                texts
            ), f"TF-IDF of {said}"
        except ValueError:  # No term occurs in so many texts.
            continue
    return scipy.sparse.csr_matrix((len(texts), 1)), f"TF-IDF of {said}, of which there are none"


def _chosen(config: Config) -> backbones.Backbone:
    model = {"backbone": AUTO_BACKBONE, "weights": None, "from_run": None, "value_range": None, "alpha": None}
    model |= {"signature": None, "output_key": None, "stochastic_depth": None}
    sized = config.model_copy(update={"model": config.model.model_copy(update=model)})
    chosen = automatic_backbone.choose(sized)[0]
    # The network chooses its own size, to which the images are resized.
    return load_backbone(chosen.model_copy(update={"data": chosen.data.model_copy(update={"image_size": None})}))


def _network(backbone: backbones.Backbone, image_size: tuple[int, int]) -> keras.Model:
    images = features = keras.Input((*image_size, 3))
    if tuple(image_size) != tuple(backbone.image_size):
        features = keras.layers.Resizing(*backbone.image_size)(features)
    for layer in (*backbone.preprocessing, backbone.layer):
        features = layer(features)
    if len(features.shape) > 2:
        pooling = (
            keras.layers.GlobalAveragePooling2D if len(features.shape) == 4 else keras.layers.GlobalAveragePooling1D
        )
        features = pooling()(features)
    return keras.Model(images, features)
