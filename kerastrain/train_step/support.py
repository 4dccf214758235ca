"""What a step cannot share exactly among devices and micro-batches, and is refused for.

Takes a compiled `keras.Model`. Must not know how a step is taken; see `kerastrain.train_step.exact_step`.

The private names are `_compile_loss` of `keras.Model` and `_keras_mask` of a tensor, read in Keras 3.12.4 and 3.15.1.
"""

import keras

from kerastrain.errors import InputError

_MEANS = ("sum_over_batch_size", "mean")


def check(model: keras.Model, y_pred, sample_weight, *, replicas: int, micro_batches: int) -> None:
    """Raises InputError where a step on several devices or micro-batches would differ from one on one device."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if optimizer.gradient_accumulation_steps:
        raise InputError(
            f"`gradient_accumulation_steps` of an optimizer does not work on several devices or with micro-batches "
            f"(https://github.com/keras-team/keras/issues/20582). Received: {optimizer.gradient_accumulation_steps}. "
            f"Leave it out, and call `kerastrain.memory.accumulate(model, micro_batches=…)` with the larger batch."
        )
    if optimizer.ema_overwrite_frequency and replicas > 1:
        raise InputError(
            f"`ema_overwrite_frequency` does not work on several devices "
            f"(https://github.com/keras-team/keras/issues/20582). Received: {optimizer.ema_overwrite_frequency}. Leave "
            f"it out: the average then becomes the weights when `fit` ends."
        )
    if any(getattr(leaf, "_keras_mask", None) is not None for leaf in keras.tree.flatten(y_pred)):
        raise InputError(
            "a masked output's loss is a mean over the valid steps of each device or micro-batch, which differs from "
            "the mean over all. Give the mask as `sample_weight`, with a layer after the model's last masked one that "
            "drops the mask."
        )
    found = set(reductions(model))
    if "mean_with_sample_weight" in found and sample_weight is not None:
        raise InputError(
            "the loss reduction 'mean_with_sample_weight' divides by the weights of each device or micro-batch, not of "
            "the whole batch. Take `reduction='sum_over_batch_size'`."
        )
    exact = found <= {*_MEANS, "mean_with_sample_weight"} or (found == {"sum"} and micro_batches == 1)
    if not exact:
        raise InputError(
            f"the loss reduction must be 'sum_over_batch_size' on several devices or with micro-batches. Received: "
            f"{', '.join(sorted(map(repr, found)))}."
        )


def reductions(model: keras.Model) -> list[str | None]:
    """List of str, the reductions of the compiled losses; one mean where `compute_loss` is the model's own."""
    compiled = model._compile_loss
    if compiled is None or compiled._flat_losses is None:
        return ["sum_over_batch_size"]
    return [entry.loss.reduction for entry in compiled._flat_losses]
