"""The parts of Keras's own train step that its public methods do not expose.

Takes a `keras.Model`; calls or reads what its `fit` uses. Must not decide how a step is taken.

The private names are `_symbolic_build`, `_compute_loss`, `_loss_tracker`, `_call_has_training_arg` and `_compile_loss` of
`keras.Model`, and `_flat_losses` of `_compile_loss`, read in Keras 3.12.4 and 3.15.1. The public `compute_loss` takes no
`training` in models that were written for older versions of Keras, and nothing public returns the other five.
`tests/keras_internals/test_keras_training.py` fails when one of them moves.
"""

import keras
import tensorflow as tf


def build(model: keras.Model, batch) -> None:
    """Creates every variable that a first step on such a batch would create: slots, and those of loss and metrics.

    Args:
        model: keras.Model, compiled.
        batch: a batch as `fit` takes it: a tensor, or a tuple (x, y) or (x, y, sample_weight).
    """
    model._symbolic_build(data_batch=batch)


def compute_loss(model: keras.Model, x, y, y_pred, sample_weight, *, training: bool) -> tf.Tensor:
    """Loss of a batch, with regularization, whether or not the model's `compute_loss` takes `training`.

    Args:
        model: keras.Model, compiled.
        x: tensor or nest of tensors (batch, ...), the inputs.
        y: tensor or nest of tensors (batch, ...), the targets.
        y_pred: tensor or nest of tensors (batch, ...), the outputs.
        sample_weight: tensor or nest of tensors (batch,), or None.
        training: bool.

    Returns:
        float scalar tensor.
    """
    return model._compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)


def track_loss(model: keras.Model, loss, sample_weight) -> None:
    """Adds a loss to the running mean that `fit` logs as "loss".

    Args:
        model: keras.Model, compiled.
        loss: float scalar tensor.
        sample_weight: int or float scalar tensor, the weight of `loss` in the mean.
    """
    model._loss_tracker.update_state(loss, sample_weight=sample_weight)


def takes_training(model: keras.Model) -> bool:
    """Whether the model's `call` takes the argument `training`.

    Args:
        model: keras.Model.
    """
    return model._call_has_training_arg


def loss_reductions(model: keras.Model) -> list[str | None]:
    """Reductions of the compiled losses.

    Args:
        model: keras.Model, compiled.

    Returns:
        list of str, such as "sum_over_batch_size", one per loss; ["sum_over_batch_size"] where the model's `compute_loss`
        computes the loss without compiled losses.
    """
    compiled = model._compile_loss
    if compiled is None or compiled._flat_losses is None:
        return ["sum_over_batch_size"]
    return [entry.loss.reduction for entry in compiled._flat_losses]
