"""Quantization-aware training: a model is trained with the rounding of int8, together with the ranges of its activations.

    basic_layers -> tf_keras_models -> simulated_int8 -> keras.Model.fit -> layers.quantized

Takes a trained keras.Model and a dataset; returns a new model that rounds as its int8 file does. tfmot decides what is
rounded, and Keras 3 trains with its own optimizers, losses, metrics and callbacks. Must not change the given model, or
write files.
"""

import keras
import numpy as np
import tensorflow as tf

from kerastrain.compress import basic_layers, tf_keras_models
from kerastrain.compress.fine_tuning import (
    FineTuning,
    compile_for_evaluation,
    compile_for_training,
    count_steps,
    fit,
    resolve,
)
from kerastrain.compress.simulated_int8 import INPUTS, Simulation, simulate
from kerastrain.compress.sparsity_masks import KeepZeros, prunable
from kerastrain.compress.weight_sharing import KeepClusters, shares_values
from kerastrain.errors import InputError
from kerastrain.hub.layer import HubLayer
from kerastrain.keras_internals import program as programs
from kerastrain.keras_internals import variables
from kerastrain.layers.quantized import QuantizedKernel, QuantizedOutput

_LEARNING_RATE = 1e-4
_CALIBRATION_BATCHES = 16
_SMALLEST_RANGE = 1e-3


def quantize_aware(model: keras.Model, dataset: tf.data.Dataset, *, fine_tuning: FineTuning) -> keras.Model:
    """Fine-tunes a model while its kernels and activations are rounded as in int8, and learns the activation ranges.

    The results of earlier steps are kept: zeros of `prune` stay zero (PQAT), shared values of `cluster` stay shared (CQAT),
    and a model with both keeps both (PCQAT). `export.tflite(quantized, path, quantize="int8", samples=...)` writes the
    learned ranges and needs no representative inputs. `predict` returns the outputs of that file up to one rounding step.

    Args:
        model: keras.Model of convolutions and dense layers, functional or Sequential, built, with one input and one
            output; not changed. `kerastrain.compress.basic_layers` lists the layers that it may contain.
        dataset: tf.data.Dataset as for `fit`, of known length; its first 16 batches also calibrate the ranges.
        fine_tuning: FineTuning. The default learning rate is 1e-4.

    Returns:
        keras.Model, flat, float32, compiled; its kernels are the fine-tuned ones, not rounded.

    Raises:
        InputError: an option is invalid, nothing is trainable, the strategy has several devices, or the model contains a
            layer that cannot be trained for int8, such as a Hub module, a transformer, or batch norm before its
            convolution.

    Reference: Jacob et al. 2018, https://arxiv.org/abs/1712.05877, section 3.
    """
    steps = count_steps(dataset, fine_tuning.epochs, fine_tuning.optimizer)
    fine_tuning = resolve(fine_tuning, model, learning_rate=_LEARNING_RATE)
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        raise InputError(
            "`quantize_aware` trains on one device. Received: a strategy with several devices. Call it outside of its "
            "scope."
        )
    flat = _flat(model)
    batches = [keras.utils.unpack_x_y_sample_weight(batch)[0] for batch in dataset.take(_CALIBRATION_BATCHES)]
    clustered = any(map(shares_values, prunable(flat, trainable=True)))
    # With one step size per channel, the equal weights of a cluster would become different integers.
    simulation = simulate(tf_keras_models.twin(flat, batches[0]), per_channel=not clustered)
    _calibrate(simulation, flat, batches)
    trainable_model = _trainable_model(simulation, flat)
    compile_for_training(trainable_model, fine_tuning, steps, jit_compile=False)
    fit(trainable_model, dataset, fine_tuning)
    for layer in flat.layers:
        layer.set_weights([variable.numpy() for variable in simulation.weights.get(layer.name, ())])
    quantized = _with_rounding(flat, simulation, per_channel=not clustered)
    compile_for_evaluation(quantized, fine_tuning)
    return quantized


def require_int8_layers(model: keras.Model) -> None:
    """Raises the errors that `quantize_aware` would raise for this model, before earlier steps of a chain train.

    Args:
        model: keras.Model.

    Raises:
        InputError: as `quantize_aware` raises for its layers.
    """
    _flat(model)


def _flat(model: keras.Model) -> keras.Model:
    flat = basic_layers.plain(model)
    if not flat.trainable_variables:
        raise InputError(
            f"`model` must have something to train. Received: {model.name!r}, all frozen. Unfreeze layers."
        )
    return flat


class _Module:
    """The simulated network in the form that `HubLayer` takes, so that Keras 3 trains it."""

    def __init__(self, network, trainable_variables: list[tf.Variable]):
        self.network, self.variables, self.trainable_variables = network, network.variables, trainable_variables

    def __call__(self, inputs, training=False):
        return self.network(inputs, training=training)


def _trainable_model(simulation: Simulation, flat: keras.Model) -> keras.Model:
    """A Keras 3 model of the simulated network, with the regularizers of `flat`, that keeps zeros and clusters."""
    pairs = [
        (variable, simulated)
        for layer in flat.layers
        for variable, simulated in zip(layer.weights, simulation.weights.get(layer.name, ()), strict=True)
    ]
    trainable = {id(variable) for variable in flat.trainable_variables}
    # Not the trainable variables of the network: tfmot would also train frozen layers.
    module = _Module(simulation.network, [simulated for variable, simulated in pairs if id(variable) in trainable])
    inputs = keras.Input(flat.input.shape[1:], dtype=flat.input.dtype)
    model = keras.Model(inputs, HubLayer(module, trainable=True, dtype="float32")(inputs), name=flat.name)
    kernels = {id(kernel) for kernel in prunable(flat, trainable=True)}
    for variable, simulated in pairs:
        if id(variable) in trainable:
            wrapped = variables.wrapper(simulated, name=variable.name, trainable=True)
            wrapped.regularizer, wrapped.constraint = variable.regularizer, variable.constraint
            if id(variable) in kernels and variable.constraint is None:
                wrapped.constraint = KeepClusters(wrapped) if shares_values(variable) else KeepZeros(wrapped)
    return model


def _calibrate(simulation: Simulation, flat: keras.Model, batches: list) -> None:
    """Sets each range to the mean of its extremes over `batches`; the moving averages of tfmot need thousands of steps."""
    tensors = {name: flat.input if name == INPUTS else flat.get_layer(name).output for name in simulation.ranges}
    extremes = keras.Model(flat.input, {name: [keras.ops.min(x), keras.ops.max(x)] for name, x in tensors.items()})
    compute = tf.function(lambda batch: extremes(batch, training=False), reduce_retracing=True)
    batch_extremes = [keras.tree.map_structure(float, compute(batch)) for batch in batches]
    for name, (low, high) in simulation.ranges.items():
        lowest, highest = np.mean([each[name] for each in batch_extremes], axis=0)
        low.assign(min(lowest, 0.0))
        high.assign(max(highest, 0.0, min(lowest, 0.0) + _SMALLEST_RANGE))


def _with_rounding(flat: keras.Model, simulation: Simulation, *, per_channel: bool) -> keras.Model:
    """`flat` with the rounding of the simulation as layers of Keras 3."""

    def rounded(value, name: str):
        if name not in simulation.ranges:
            return value
        low, high = (float(limit.numpy()) for limit in simulation.ranges[name])
        return QuantizedOutput(low, high, name=f"{name}_rounded")(value)

    program = programs.record(flat)
    inputs = keras.Input(flat.input.shape[1:], dtype=flat.input.dtype, name=flat.input.name)
    values = {program.inputs[0].number: rounded(inputs, INPUTS)}
    for call in program.instructions:
        call_inputs = [values[slot.number] for slot in call.inputs]
        layer = type(call.operation).from_config(call.operation.get_config())
        if isinstance(layer, basic_layers.WITH_KERNEL):
            layer = QuantizedKernel(layer, per_channel=per_channel and not isinstance(layer, keras.layers.Dense))
        value = layer(call_inputs[0] if len(call_inputs) == 1 else call_inputs)
        layer.set_weights(call.operation.get_weights())
        values[call.outputs[0].number] = rounded(value, call.operation.name)
    return keras.Model(inputs, values[program.outputs[0].number], name=flat.name)
