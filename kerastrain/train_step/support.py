"""Losses and optimizers that a step cannot compute exactly on several devices or micro-batches, and rejects.

Takes a compiled `keras.Model`; raises an error. Must not know how a step is taken; see `kerastrain.train_step.exact_step`.
"""

import keras

from kerastrain.errors import InputError
from kerastrain.keras_internals.tensor_masks import get_mask
from kerastrain.keras_internals.training import loss_reductions

_MEANS = ("sum_over_batch_size", "mean")


def check(model: keras.Model, y_pred, sample_weight, *, replicas: int, micro_batches: int) -> None:
    """Rejects a model whose step on several devices or micro-batches would differ from a step on one device.

    Args:
        model: keras.Model, compiled.
        y_pred: tensor or nest of tensors (batch, ...), the outputs.
        sample_weight: tensor or nest of tensors (batch,), or None.
        replicas: int >= 1, the number of devices.
        micro_batches: int >= 1, the parts of each device's batch.

    Raises:
        InputError: the optimizer accumulates gradients, or overwrites the weights by their average on several devices;
            an output is masked; or the reduction of the loss is not a mean over the batch.
    """
    if replicas == micro_batches == 1:
        return  # The step is that of Keras.
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if optimizer.gradient_accumulation_steps:
        raise InputError(
            f"`gradient_accumulation_steps` of an optimizer does not work on several devices or with micro-batches "
            f"(https://github.com/keras-team/keras/issues/20582). Received: {optimizer.gradient_accumulation_steps}. "
            f"Remove it, and call `kerastrain.memory.accumulate(model, micro_batches=…)` with the larger batch."
        )
    if optimizer.ema_overwrite_frequency and replicas > 1:
        raise InputError(
            f"`ema_overwrite_frequency` does not work on several devices "
            f"(https://github.com/keras-team/keras/issues/20582). Received: {optimizer.ema_overwrite_frequency}. Remove "
            f"it: the average then replaces the weights when `fit` ends."
        )
    if any(get_mask(leaf) is not None for leaf in keras.tree.flatten(y_pred)):
        raise InputError(
            "the loss of a masked output is a mean over the valid steps of each device or micro-batch, which differs from "
            "the mean over all. Pass the mask as `sample_weight`, and add a layer after the model's last masked one that "
            "drops the mask."
        )
    reductions = set(loss_reductions(model))
    if "mean_with_sample_weight" in reductions and sample_weight is not None:
        raise InputError(
            "the loss reduction 'mean_with_sample_weight' divides by the weights of each device or micro-batch, not of "
            "the whole batch. Use `reduction='sum_over_batch_size'`."
        )
    is_mean = reductions <= {*_MEANS, "mean_with_sample_weight"}
    if not is_mean and not (reductions == {"sum"} and micro_batches == 1):
        raise InputError(
            f"the loss reduction must be 'sum_over_batch_size' on several devices or with micro-batches. Received: "
            f"{', '.join(sorted(map(repr, reductions)))}."
        )
