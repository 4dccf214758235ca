"""Metrics that Keras computes batch by batch during training.

Takes targets and a model's outputs; returns running values. For exact values over a whole dataset use `evaluate`. Must not
hold a measure that Keras has.
"""

import keras

from kerastrain.errors import InputError, unknown
from kerastrain.keras_internals.metrics import built
from kerastrain.tasks import TASKS, Task


@keras.saving.register_keras_serializable("kerastrain")
class RocAuc(keras.metrics.AUC):
    """Area under the ROC curve of each class against the rest, averaged over the classes, from logits.

    `keras.metrics.AUC(from_logits=True)` applies a sigmoid to each logit, but a softmax classifier ranks examples by its
    softmax, which this metric applies. Use it in `compile`; `measure` computes the exact area afterwards.

    Args:
        label_count: int >= 2, the number of classes.
        num_thresholds: int > 1, points at which the curve is sampled.
        name: str, the metric's name.
        dtype: the metric's dtype or policy; None for float32.

    Example:
        >>> metric = RocAuc(2)
        >>> metric.update_state([[1.0, 0.0], [0.0, 1.0]], [[3.0, 1.0], [1.0, 3.0]])
        >>> float(metric.result())
        1.0
    """

    def __init__(self, label_count: int, num_thresholds: int = 200, name: str = "roc_auc", dtype=None):
        super().__init__(
            num_thresholds=num_thresholds, name=name, dtype=dtype, multi_label=True, num_labels=label_count
        )
        self.label_count = label_count

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds one batch.

        Args:
            y_true: float32 (batch, classes), one-hot.
            y_pred: float32 (batch, classes), logits.
            sample_weight: float32 (batch,) or None.
        """
        probabilities = keras.ops.softmax(keras.ops.cast(y_pred, "float32"))
        return super().update_state(y_true, probabilities, sample_weight)

    def get_config(self):
        """The constructor's arguments."""
        return {
            "label_count": self.label_count,
            "num_thresholds": self.num_thresholds,
            "name": self.name,
            "dtype": self.dtype,
        }


@keras.saving.register_keras_serializable("kerastrain")
class LabelsF1(keras.metrics.F1Score):
    """F1 of each label at a probability of 0.5, averaged over the labels, from logits.

    `keras.metrics.F1Score` needs probabilities. Use it in `compile` for a multi-label model.

    Args:
        name: str, the metric's name.
        dtype: the metric's dtype or policy; None for float32.

    Example:
        >>> metric = LabelsF1()
        >>> metric.update_state([[1.0, 0.0], [1.0, 1.0]], [[3.0, -1.0], [2.0, -3.0]])
        >>> float(metric.result())
        0.5
    """

    def __init__(self, name: str = "f1", dtype=None):
        super().__init__(average="macro", threshold=0.5, name=name, dtype=dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds one batch.

        Args:
            y_true: float32 (batch, labels) of 0 and 1.
            y_pred: float32 (batch, labels), logits.
            sample_weight: float32 (batch,) or None.
        """
        return super().update_state(y_true, keras.ops.sigmoid(keras.ops.cast(y_pred, "float32")), sample_weight)

    def get_config(self):
        """The constructor's arguments."""
        return {"name": self.name, "dtype": self.dtype}


@keras.saving.register_keras_serializable("kerastrain")
class DataLoss(keras.metrics.Mean):
    """The loss of the examples alone, without the penalties on weights that Keras adds to "loss".

    A penalty counts as soon as its layer trains, so that the losses of a frozen and of an unfrozen model cannot be
    compared; this value can. Pass it to `compile` in `weighted_metrics`.

    Args:
        loss: keras.losses.Loss, whose `call` returns a value for each example.
        name: str, the metric's name.
        dtype: the metric's dtype or policy; None for float32.

    Example:
        >>> metric = DataLoss(keras.losses.MeanSquaredError())
        >>> metric.update_state([[1.0], [2.0]], [[1.0], [4.0]])
        >>> float(metric.result())
        2.0
    """

    def __init__(self, loss: keras.losses.Loss, name: str = "data_loss", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.loss = loss

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds one batch.

        Args:
            y_true: float32 (batch, outputs), targets as the loss takes them.
            y_pred: float32 (batch, outputs), the model's outputs.
            sample_weight: float32 (batch,) or None, the weights of the examples in the loss.
        """
        values = self.loss.call(keras.ops.convert_to_tensor(y_true), keras.ops.convert_to_tensor(y_pred))
        # As Keras averages a loss: over the examples, not over their weights.
        return super().update_state(
            values if sample_weight is None else values * keras.ops.cast(sample_weight, values.dtype)
        )

    def get_config(self):
        """The constructor's arguments."""
        loss = keras.saving.serialize_keras_object(self.loss)
        return {"loss": loss, "name": self.name, "dtype": self.dtype}

    @classmethod
    def from_config(cls, config):
        """Makes the metric from `get_config`."""
        return cls(keras.saving.deserialize_keras_object(config.pop("loss")), **config)


def metrics(label_count: int, *, task: Task = "single_label", roc_auc: bool = False) -> list[keras.metrics.Metric]:
    """New metrics for training, each for the outputs of a model for the task.

    | task | metrics |
    |---|---|
    | "single_label" | accuracy and macro F1, from the logits of a softmax |
    | "multi_label" | accuracy, the share of correct binary decisions, and macro F1 at 0.5, from the logits of sigmoids |
    | "regression" | MAE and RMSE over all outputs, and R², the mean over the outputs |

    Args:
        label_count: int >= 1, the number of outputs; at least 2 for "single_label".
        task: "single_label", "multi_label" or "regression".
        roc_auc: bool, whether to add the macro ROC AUC, only for "single_label"; it costs 1 to 10 ms per step on one CPU
            core.

    Returns:
        list of `keras.metrics.Metric` named "accuracy", "f1" and "roc_auc", or "mae", "rmse" and "r2", for float32 targets
        (batch, label_count).

    Raises:
        InputError: an unknown task, too few outputs, or `roc_auc` for another task.

    Example:
        >>> [metric.name for metric in metrics(10)]
        ['accuracy', 'f1']
    """
    if task not in TASKS:
        raise InputError(unknown("task", task, TASKS))
    if roc_auc and task != "single_label":
        raise InputError(f"`roc_auc` is only available for task 'single_label'. Received: {task!r}. Leave it out.")
    if task == "regression":
        squared = keras.metrics.RootMeanSquaredError(name="rmse")
        return [
            keras.metrics.MeanAbsoluteError(name="mae"),
            squared,
            built(keras.metrics.R2Score(name="r2"), label_count),
        ]
    if task == "multi_label":
        # A logit of 0 is a probability of 0.5.
        return [keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0), built(LabelsF1(), label_count)]
    if label_count < 2:
        raise InputError(f"`label_count` must be at least 2. Received: {label_count}. Add a second class to the data.")
    chosen = [
        keras.metrics.CategoricalAccuracy(name="accuracy"),
        built(keras.metrics.F1Score(average="macro", name="f1"), label_count),
    ]
    return [*chosen, RocAuc(label_count)] if roc_auc else chosen
