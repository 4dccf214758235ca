"""Models ready to compile, and functions for any model before and after training.

The builders take a backbone and labels and return plain functional `keras.Model`s: raw pixels or strings in, float32
logits out, with the labels inside. The other functions take any `keras.Model`. Must not compile, train or read data.
"""

from kerastrain.layers.labels import Labels, check_labels, decoding, labels, store_decoding, task
from kerastrain.losses import StandardizedSquaredError, loss
from kerastrain.models.image_models import image_classifier, image_regressor
from kerastrain.models.text_lengths import text_lengths
from kerastrain.models.text_models import text_classifier, text_regressor
from kerastrain.saving import load
from kerastrain.transfer.feature_extractor import split_at_backbone
from kerastrain.transfer.freezing import GradualUnfreezing, freeze, layer_rates, synchronize_batch_norm, unfreeze
from kerastrain.transfer.lora import add_lora, merge_lora
from kerastrain.transfer.token_extractor import split_at_tokens

__all__ = [
    "GradualUnfreezing",
    "Labels",
    "StandardizedSquaredError",
    "add_lora",
    "check_labels",
    "decoding",
    "freeze",
    "image_classifier",
    "image_regressor",
    "labels",
    "layer_rates",
    "load",
    "loss",
    "merge_lora",
    "split_at_backbone",
    "split_at_tokens",
    "store_decoding",
    "synchronize_batch_norm",
    "task",
    "text_classifier",
    "text_lengths",
    "text_regressor",
    "unfreeze",
]
