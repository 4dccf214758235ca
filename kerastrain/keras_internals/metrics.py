"""The variables of metrics that Keras makes in the first step.

Takes a new metric; returns it with its variables. Must not choose metrics.

`keras.metrics.F1Score` and `R2Score` make their variables when they see the first outputs, in the middle of a trace, after
which TensorFlow traces the whole step once more. The private name is `_build` of the two, read in Keras 3.12.4 and 3.15.1;
there is no public `build`. `tests/keras_internals/test_keras_metrics.py` fails when it moves, and when Keras traces once.
"""

from typing import TypeVar

import keras

LazyMetric = TypeVar("LazyMetric", keras.metrics.F1Score, keras.metrics.R2Score)


def built(metric: LazyMetric, outputs: int) -> LazyMetric:
    """Makes the variables of a metric now.

    Args:
        metric: new `keras.metrics.F1Score` or `keras.metrics.R2Score`, or of a class derived from one.
        outputs: int >= 1, the number of a model's outputs.

    Returns:
        the metric itself.
    """
    metric._build((None, outputs), (None, outputs))
    return metric
