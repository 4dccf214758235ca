"""Writes a Keras model as a reusable SavedModel of TF Hub.

Takes a network from pixels to feature maps; writes a folder whose callable pools them. Must not train.
"""

from pathlib import Path

import keras
import tensorflow as tf

from kerastrain.system import files

WEIGHT_DECAY = 1e-5
"""Factor of half the sum of squares of the kernels, the module's regularization loss."""


class ReusableSavedModel(tf.Module):
    """A reusable SavedModel of TF Hub: a callable with a `training` argument and its variables as attributes.

    Args:
        backbone: keras.Model, from float32 (batch, height, width, 3) to feature maps.
        name: str, the name of the module.

    Reference: https://www.tensorflow.org/hub/reusable_saved_models
    """

    # Attributes instead of tf.Module's properties: TensorFlow saves only attributes in a SavedModel.
    variables = ()
    trainable_variables = ()

    def __init__(self, backbone: keras.Model, name: str):
        super().__init__(name=name)
        # A function instead of the model: otherwise Keras's variables would be saved again beside TensorFlow's.
        self._forward = lambda images, training: backbone(images, training=training)
        self.variables = [variable.value for variable in backbone.variables]
        self.trainable_variables = [variable.value for variable in backbone.trainable_variables]
        self.regularization_losses = [self._weight_decay]

    @tf.function
    def __call__(self, images, training=False):
        """Pooled features, float32 (batch, channels): the spatial mean of `feature_maps`."""
        return tf.reduce_mean(self.feature_maps(images, training=training), axis=(1, 2))

    @tf.function
    def feature_maps(self, images, training=False):
        """Last feature maps, float32 (batch, height / stride, width / stride, channels); training=True updates batch norm."""
        return self._forward(images, training)

    @tf.function(input_signature=[])
    def _weight_decay(self):
        kernels = [variable for variable in self.trainable_variables if "kernel" in variable.name]
        return WEIGHT_DECAY * tf.add_n([tf.nn.l2_loss(kernel) for kernel in kernels])


def write(backbone: keras.Model, path: Path, *, name: str) -> None:
    """Saves a backbone as a SavedModel, traced for both values of `training`, with a serving signature.

    Args:
        backbone: keras.Model, from float32 (batch, height, width, 3) to feature maps.
        path: Path of the folder to write.
        name: str, the name of the module.
    """
    module = ReusableSavedModel(backbone, name)
    images = tf.TensorSpec((None, None, None, 3), tf.float32, name="images")
    for function in (module.feature_maps, module.__call__):
        for training in (False, True):
            function.get_concrete_function(images, training=training)
    serve = tf.function(lambda images: {"features": module(images)}, input_signature=[images])
    with files.atomic(path) as temporary:
        tf.saved_model.save(
            module, temporary, signatures=serve, options=tf.saved_model.SaveOptions(experimental_debug_stripper=True)
        )
