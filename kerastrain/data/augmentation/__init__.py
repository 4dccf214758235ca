"""Random changes to the examples of a batch, drawn from their seeds and nothing else.

Takes a batch and its seeds, gives a batch of the same shape: pure functions, so that an epoch can be repeated, resumed and
divided exactly. They run in the data pipeline, never in the model.

Keras's random layers are not used. They draw for a whole batch from a generator that moves with every call: measured on
Keras 3.15.1, none of those of these names gave an image the same change in batches of 8 and of 16, nor reliably under a
parallel map as under a serial one; RandomCrop takes one place, RandAugment and AugMix one choice of operations for the
whole batch. `keras.ops.image.affine_transform` gives the values that `warps` compiles for itself, in more time.
"""

from kerastrain.data.augmentation.compose import AUGMENTATIONS, Augmentation, augment

__all__ = ["AUGMENTATIONS", "Augmentation", "augment"]
