import keras
import numpy as np
import pytest

from kerastrain import evaluation
from kerastrain.keras_internals import metrics

TRACED = []


class Traced(keras.layers.Layer):
    def call(self, inputs):
        TRACED.append(self)
        return inputs


def traces(metrics):
    """How often the first step of a model with these metrics is traced."""
    model = keras.Sequential([keras.Input((4,)), Traced(), keras.layers.Dense(3)])
    model.compile(keras.optimizers.SGD(), "mse", metrics=metrics)
    model.optimizer.build(model.trainable_variables)
    TRACED.clear()
    model.fit(np.zeros((2, 4)), np.eye(3)[:2], verbose=0)
    return len(TRACED)


@pytest.mark.parametrize("task", ["single_label", "multi_label", "regression"])
def test_the_first_step_is_traced_once(task):
    assert traces(evaluation.metrics(3, task=task)) == 1


def test_keras_itself_still_traces_more_than_once():
    """When this fails, the module can go."""
    assert traces([keras.metrics.F1Score()]) > 1


def test_a_metric_that_was_built_early_gives_the_same():
    y, outputs = np.eye(3)[[0, 1, 1, 2]], np.array([[3, 1, 0], [0, 2, 1], [4, 3, 0], [1, 2, 3]], "float32")
    for kind in (keras.metrics.F1Score, keras.metrics.R2Score):
        late, early = kind(), metrics.built(kind(), 3)
        np.testing.assert_array_equal(early(y, outputs), late(y, outputs))
        assert [each.shape for each in early.variables] == [each.shape for each in late.variables]
