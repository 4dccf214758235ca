"""Adds the rounding of int8 to a tf_keras network, with tensorflow_model_optimization.

Takes the tf_keras twin of a flat Keras 3 model; returns its variables, grouped by the Keras 3 layer that they belong to.
tfmot decides where an int8 network is rounded. Must not train, and must not know where the twin comes from.
"""

import dataclasses

import tensorflow as tf

from kerastrain.compress.tf_keras_models import PREFIX
from kerastrain.system import isolated_imports

INPUTS = "inputs"
"""The key of the model's input in `Simulation.ranges`."""


@dataclasses.dataclass(frozen=True)
class Simulation:
    """A network with simulated rounding, ready to be trained.

    Attributes:
        network: tf_keras.Model with tfmot's wrappers.
        weights: dict from the name of a Keras 3 layer to its tf.Variables, in the order of `layer.weights`.
        ranges: dict from the name of a Keras 3 layer, or `INPUTS`, to the tf.Variables (low, high) of its output; a layer
            that shares the rounding of the next layer is missing.
    """

    network: object
    weights: dict[str, list[tf.Variable]]
    ranges: dict[str, tuple[tf.Variable, tf.Variable]]


def simulate(twin, *, per_channel: bool) -> Simulation:
    """Adds rounding to a twin, in the places where TFLite rounds.

    Args:
        twin: tf_keras.Model of `tf_keras_models.twin`.
        per_channel: bool, whether each output channel of a convolution has its own step size.

    Returns:
        Simulation with its own weights; its ranges are tfmot's initial ones, [-6, 6], and must be calibrated.
    """
    tf_keras, quantization = isolated_imports.tf_keras(), isolated_imports.tfmot().quantization.keras
    output_only = _output_only(quantization)
    # tfmot has rules for all layers of `tf_keras_models` except these. Their outputs are rounded like all others.
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
        if layer.name.startswith("quantize_layer"):  # tf_keras numbers them per process: quantize_layer_1, …
            ranges[INPUTS] = (named[f"{layer.name}_min"], named[f"{layer.name}_max"])
        for prefix in ("output", "post_activation"):
            if f"{prefix}_min" in named:
                ranges[name] = (named[f"{prefix}_min"], named[f"{prefix}_max"])
        layer_weights = [key for key in named if not key.endswith(("_min", "_max")) and key != "optimizer_step"]
        weights[name] = [named[key] for key in layer_weights]
    return Simulation(network, weights, ranges)


def _output_only(quantization):
    class OutputOnly(quantization.QuantizeConfig):
        """Rounds the output of a layer, but not its weights."""

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
