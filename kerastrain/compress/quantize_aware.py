"""Quantization-aware training: a model learns to answer well in the steps of int8, and its ranges are learned with it.

    plain_models -> tf_keras_models -> simulated_int8 -> keras.Model.fit -> quantized_layers

Takes a trained keras.Model and a data set; gives a new one that rounds as its int8 file will. tfmot says what is rounded,
Keras 3 trains: its optimizers, losses, metrics and callbacks work as anywhere. Must not change the model given, or write
files.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from kerastrain.compress import basic_layers, fine_tuning, tf_keras_models
from kerastrain.compress.simulated_int8 import INPUTS, Simulation, simulate
from kerastrain.compress.sparsity_masks import KeepZeros, prunable
from kerastrain.compress.weight_sharing import KeepClusters, shares_values
from kerastrain.errors import InputError
from kerastrain.hub.layer import HubLayer
from kerastrain.keras_internals import program as programs
from kerastrain.keras_internals import variables
from kerastrain.layers.quantized import QuantizedKernel, QuantizedOutput

_CALIBRATION_BATCHES = 16
_SMALLEST_RANGE = 1e-3


def quantize_aware(
    model: keras.Model,
    dataset: tf.data.Dataset,
    *,
    epochs: int,
    optimizer: keras.optimizers.Optimizer | None = None,
    learning_rate: float = 1e-4,
    loss: keras.losses.Loss | str | None = None,
    metrics: Sequence = (),
    validation_data: tf.data.Dataset | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = 0,
) -> keras.Model:
    """`model`, fine-tuned while its kernels and activations are rounded as in int8, with the ranges that it learned.

    What the model is already stays: zeros of `prune` stay zeros (PQAT), shared values of `cluster` stay shared (CQAT), both
    where it is both (PCQAT). `export.tflite(quantized, path, quantize="int8", samples=...)` takes the learned ranges and
    needs no representative inputs; `predict` answers as the file will, but for a step.

    Args:
        model: keras.Model of convolutions and dense layers, functional or Sequential, built, with one input and one
            output; not changed. `plain_models` tells which layers it may hold.
        dataset: tf.data.Dataset as for `fit`, of known length; its first batches are also the calibration.
        epochs: int > 0, passes over `dataset`.
        optimizer: fresh keras.optimizers.Optimizer, or None for Adam whose rate falls from `learning_rate` to 0 along a
            cosine.
        learning_rate: float > 0, used where `optimizer` is None.
        loss: as for `compile`, or None for the loss that `model` was compiled with.
        metrics: as for `compile`.
        validation_data: as for `fit`.
        callbacks: as for `fit`; the model they see is the one in training, not the one returned.
        verbose: as for `fit`.

    Returns:
        keras.Model, flat, in float32, compiled; its kernels are the fine-tuned ones, not rounded.

    Raises:
        InputError: an option breaks its rule, nothing is trainable, several devices share the step, or the model holds a
            layer that cannot be trained so: Hub modules, transformers, batch norm before its convolution.

    Reference: Jacob et al. 2018, https://arxiv.org/abs/1712.05877, section 3.
    """
    steps = fine_tuning.steps(dataset, epochs, optimizer)
    loss = fine_tuning.loss_of(model, loss)
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        raise InputError(
            "`quantize_aware` trains on one device. Received: a strategy of several. Call it outside of it."
        )
    flat = _flat(model)
    batches = [keras.utils.unpack_x_y_sample_weight(batch)[0] for batch in dataset.take(_CALIBRATION_BATCHES)]
    clustered = any(map(shares_values, prunable(flat, trainable=True)))
    # A step for each channel would give the equal weights of a cluster different integers.
    simulation = simulate(tf_keras_models.twin(flat, batches[0]), per_channel=not clustered)
    _calibrate(simulation, flat, batches)
    learner = _learner(simulation, flat)
    learner.compile(
        optimizer or fine_tuning.adam_with_cosine_decay(learning_rate, steps),
        loss=loss,
        metrics=list(metrics),
        jit_compile=False,
    )
    fine_tuning.fit(
        learner, dataset, epochs=epochs, validation_data=validation_data, callbacks=callbacks, verbose=verbose
    )
    for layer in flat.layers:
        layer.set_weights([variable.numpy() for variable in simulation.weights.get(layer.name, ())])
    quantized = _with_rounding(flat, simulation, per_channel=not clustered)
    return fine_tuning.compiled_for_evaluation(quantized, learning_rate=learning_rate, loss=loss, metrics=metrics)


def require_int8_layers(model: keras.Model) -> None:
    """Refuses at once a model that `quantize_aware` would refuse: for a chain of steps of which others train before it.

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
    """The simulated network as what `HubLayer` takes, so that Keras 3 trains it."""

    def __init__(self, network, trainable_variables: list[tf.Variable]):
        self.network, self.variables, self.trainable_variables = network, network.variables, trainable_variables

    def __call__(self, inputs, training=False):
        return self.network(inputs, training=training)


def _learner(simulation: Simulation, flat: keras.Model) -> keras.Model:
    """The simulated network in a model of Keras 3, with the regularizers of `flat` and with what must be kept."""
    pairs = [
        (variable, simulated)
        for layer in flat.layers
        for variable, simulated in zip(layer.weights, simulation.weights.get(layer.name, ()), strict=True)
    ]
    learned = {id(variable) for variable in flat.trainable_variables}
    # Not what tfmot lists as trainable: it would train frozen layers too.
    module = _Module(simulation.network, [simulated for variable, simulated in pairs if id(variable) in learned])
    inputs = keras.Input(flat.input.shape[1:], dtype=flat.input.dtype)
    learner = keras.Model(inputs, HubLayer(module, trainable=True, dtype="float32")(inputs), name=flat.name)
    kernels = {id(kernel) for kernel in prunable(flat, trainable=True)}
    for variable, simulated in pairs:
        if id(variable) in learned:
            wrapped = variables.wrapper(simulated, name=variable.name, trainable=True)
            wrapped.regularizer, wrapped.constraint = variable.regularizer, variable.constraint
            if id(variable) in kernels and variable.constraint is None:
                wrapped.constraint = KeepClusters(wrapped) if shares_values(variable) else KeepZeros(wrapped)
    return learner


def _calibrate(simulation: Simulation, flat: keras.Model, batches: list) -> None:
    """Starts each range at the mean of its extremes over `batches`; tfmot would take thousands of steps to get there."""
    places = {name: flat.input if name == INPUTS else flat.get_layer(name).output for name in simulation.ranges}
    extremes = keras.Model(flat.input, {name: [keras.ops.min(x), keras.ops.max(x)] for name, x in places.items()})
    compute = tf.function(lambda batch: extremes(batch, training=False), reduce_retracing=True)
    found = [keras.tree.map_structure(float, compute(batch)) for batch in batches]
    for name, (low, high) in simulation.ranges.items():
        lowest, highest = np.mean([extreme[name] for extreme in found], axis=0)
        low.assign(min(lowest, 0.0))
        high.assign(max(highest, 0.0, min(lowest, 0.0) + _SMALLEST_RANGE))


def _with_rounding(flat: keras.Model, simulation: Simulation, *, per_channel: bool) -> keras.Model:
    """`flat` with the simulation's rounding as layers of Keras 3."""

    def ranged(value, name: str):
        if name not in simulation.ranges:
            return value
        low, high = (float(limit.numpy()) for limit in simulation.ranges[name])
        return QuantizedOutput(low, high, name=f"{name}_rounded")(value)

    program = programs.record(flat)
    inputs = keras.Input(flat.input.shape[1:], dtype=flat.input.dtype, name=flat.input.name)
    values = {program.inputs[0].number: ranged(inputs, INPUTS)}
    for call in program.instructions:
        given = [values[slot.number] for slot in call.inputs]
        layer = type(call.operation).from_config(call.operation.get_config())
        if isinstance(layer, basic_layers.WITH_KERNEL):
            by_channel = per_channel and not isinstance(layer, keras.layers.Dense)
            layer = QuantizedKernel(layer, per_channel=by_channel)
        value = layer(given[0] if len(given) == 1 else given)
        layer.set_weights(call.operation.get_weights())
        values[call.outputs[0].number] = ranged(value, call.operation.name)
    return keras.Model(inputs, values[program.outputs[0].number], name=flat.name)
