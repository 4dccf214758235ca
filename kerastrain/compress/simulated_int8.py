"""A tf_keras network that trains as if it were int8 already: tensorflow_model_optimization's part of the work.

Takes the tf_keras twin of a flat Keras 3 model; gives its variables, sorted by the Keras 3 layer that they belong to. tfmot
decides where a network of int8 is rounded. Must not train, and must not know where the twin comes from.
"""

import dataclasses

import tensorflow as tf

from kerastrain.compress.tf_keras_models import PREFIX
from kerastrain.system import isolated_imports

INPUTS = "inputs"
"""The name of the input among the ranges."""


@dataclasses.dataclass(frozen=True)
class Simulation:
    """A network with rounding, to be trained.

    Attributes:
        network: tf_keras.Model with tfmot's wrappers.
        weights: dict from a Keras 3 layer's name to its tf.Variables, in the order of `layer.weights`.
        ranges: dict from a Keras 3 layer's name, or `INPUTS`, to the tf.Variables (low, high) of what it gives; a layer
            that shares the rounding of the next one has none.
    """

    network: object
    weights: dict[str, list[tf.Variable]]
    ranges: dict[str, tuple[tf.Variable, tf.Variable]]


def simulate(twin, *, per_channel: bool) -> Simulation:
    """The twin with rounding where TFLite rounds.

    Args:
        twin: tf_keras.Model of `tf_keras_models.twin`.
        per_channel: bool, whether each output channel of a convolution has steps of its own.

    Returns:
        Simulation with weights of its own; its ranges are tfmot's first ones, [-6, 6], and wait to be calibrated.
    """
    tf_keras, quantization = isolated_imports.tf_keras(), isolated_imports.tfmot().quantization.keras
    output_only = _output_only(quantization)
    # tfmot has rules for all layers of the table but these, whose outputs are rounded like any other.
    without_rule = (tf_keras.layers.Rescaling, tf_keras.layers.Multiply)

    def annotate(layer):
        config = output_only() if isinstance(layer, without_rule) else None
        return quantization.quantize_annotate_layer(layer, config)

    with quantization.quantize_scope({output_only.__name__: output_only}):
        annotated = tf_keras.models.clone_model(twin, clone_function=annotate)
        annotated.set_weights(twin.get_weights())
        scheme = quantization.default_8bit.Default8BitQuantizeScheme(disable_per_axis=not per_channel)
        network = quantization.quantize_apply(annotated, scheme)
    weights, ranges = {}, {}
    for layer in network.layers:
        named = {variable.name.split("/")[-1].removesuffix(":0"): variable for variable in layer.weights}
        name = layer.name.removeprefix("quant_").removeprefix(PREFIX)
        if layer.name.startswith("quantize_layer"):  # tf_keras counts them up over a process, as quantize_layer_1
            ranges[INPUTS] = (named[f"{layer.name}_min"], named[f"{layer.name}_max"])
        for place in ("output", "post_activation"):
            if f"{place}_min" in named:
                ranges[name] = (named[f"{place}_min"], named[f"{place}_max"])
        own = [word for word in named if not word.endswith(("_min", "_max")) and word != "optimizer_step"]
        weights[name] = [named[word] for word in own]
    return Simulation(network, weights, ranges)


def _output_only(quantization):
    class OutputOnly(quantization.QuantizeConfig):
        """Rounds what a layer gives, and nothing in it."""

        def get_weights_and_quantizers(self, layer):
            return []

        def get_activations_and_quantizers(self, layer):
            return []

        def set_quantize_weights(self, layer, quantize_weights):
            pass

        def set_quantize_activations(self, layer, quantize_activations):
            pass

        def get_output_quantizers(self, layer):
            options = {"num_bits": 8, "per_axis": False, "symmetric": False, "narrow_range": False}
            return [quantization.quantizers.MovingAverageQuantizer(**options)]

        def get_config(self):
            return {}

    return OutputOnly
