"""Random augmentation of the examples of a batch, as a pure function of the examples and their seeds.

Takes a batch and its seeds, returns a batch of the same shape. Because nothing else is random, an epoch can be repeated,
resumed and sharded exactly. Augmentation runs in the data pipeline, never in the model.

Keras's random layers are not used: they draw for a whole batch, from a generator whose state changes with every call.
Measured on Keras 3.15.1, none of the layers of the same names changed an image in the same way in batches of 8 and of 16,
nor reliably in a parallel map as in a serial one. RandomCrop draws one position, and RandAugment and AugMix one choice of
operations, for the whole batch. `keras.ops.image.affine_transform` returns the same values as the compiled function in
`geometric`, but is slower.
"""

from kerastrain.data.augmentation.compose import AUGMENTATIONS, Augmentation, augment

__all__ = ["AUGMENTATIONS", "Augmentation", "augment"]
