"""Measures after each epoch that Keras does not compute during training, such as macro F1 over all examples.

Takes examples and the names of measures; adds their values to the logs. Must not change the model.
"""

import logging
import math
from collections.abc import Mapping

import keras
import numpy as np

from kerastrain import data, distribute
from kerastrain.errors import counted
from kerastrain.evaluation import catalog, model_outputs
from kerastrain.evaluation.measuring import measures
from kerastrain.evaluation.predictions import Predictions
from kerastrain.system import stopwatch

logger = logging.getLogger("kerastrain")

_OF_RANKINGS = ("average_precision", "roc_auc", "best_f1")  # seconds for many classes


class EpochMeasures(keras.callbacks.Callback):
    """Predicts examples once after each epoch, and logs measures of the predictions for the callbacks that follow.

    Keras's metrics are running values of batches; most measures, such as balanced accuracy or ROC AUC, are exact only over all
    examples at once. The values are those of `evaluation.measures`, the same on one device, several devices and several workers
    within rounding. An undefined measure is NaN, such as the precision of a class that is never predicted; callbacks that
    compare epochs never take NaN for the best.

    Place it after `AverageWeights` and before everything that reads the logs, such as `HistoryFile` and `BestCheckpoint`.

    Args:
        examples: data.Examples to predict, as the model takes them: images, texts, token ids or features.
        measures: mapping from the name to log, such as "val_macro_f1", to the name of the measure as in `metrics.json`,
            "macro.f1"; see `evaluation.catalog`.
        batch_size: int >= 1, examples in a step over all devices.

    Raises:
        InputError: in `fit`: the examples do not fit the model, or have no such measure.

    Example:
        >>> EpochMeasures(split.validation, {"val_macro_f1": "macro.f1"})  # doctest: +SKIP
    """

    def __init__(self, examples: data.Examples, measures: Mapping[str, str], *, batch_size: int = 64):
        super().__init__()
        self.examples = examples
        self.measures = dict(measures)
        self.batch_size = batch_size

    def on_train_begin(self, logs=None):
        """Warns again in this training if a measure is undefined."""
        self._has_warned = False

    def on_epoch_end(self, epoch, logs=None):
        """Adds the measures to the logs."""
        values = self._measured()
        if undefined := [self.measures[name] for name, value in values.items() if math.isnan(value)]:
            self._warn(undefined, epoch)
        if logs is not None:
            logs.update(values)

    @stopwatch.timed("validation")
    def _measured(self) -> dict[str, float]:
        outputs = self._outputs()
        if not np.isfinite(outputs).all():
            return dict.fromkeys(self.measures, math.nan)
        examples, ends_in = self.examples, model_outputs.activation(self.model)
        if examples.task != "regression" and ends_in in model_outputs.SQUASHING:
            outputs = model_outputs.classifier_logits(outputs, from_logits=None, ends_in=ends_in, task=examples.task)
        predictions = Predictions(examples.targets, outputs, examples.labels, examples.task)
        is_ranked = any(name.endswith(_OF_RANKINGS) for name in self.measures.values())
        measured = measures(predictions, with_intervals=False, with_rankings=is_ranked)
        return {name: catalog.scalar(measured, measure) for name, measure in self.measures.items()}

    def _outputs(self) -> np.ndarray:
        """The outputs (n, outputs) in the order of the examples, on every worker."""
        make = lambda devices: data.batches(self.examples, self.batch_size, devices=devices)
        steps = data.steps_per_epoch(self.examples, self.batch_size)
        return self.model.predict(distribute.shard(make, self.model.distribute_strategy), steps=steps, verbose=0)

    def _warn(self, undefined: list[str], epoch: int) -> None:
        if self._has_warned or not distribute.is_chief():
            return
        self._has_warned = True
        labels = [label for name in undefined if (label := catalog.class_of(name)) is not None]
        counts, names = self.examples.class_counts, self.examples.labels
        lacking = [] if counts is None else [label for label in labels if not counts[names.index(label)]]
        reason = f"no example of {', '.join(map(repr, lacking))}" if lacking else "too few kinds of answers"
        logger.warning(
            "%s undefined after epoch %d, because there is %s among the %s that it is measured on. An undefined value is never "
            "the best.",
            *(f"{' and '.join(undefined)} {'is' if len(undefined) == 1 else 'are'}", epoch + 1, reason),
            counted(len(self.examples), "examples"),
        )
