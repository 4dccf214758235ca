import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import log_loss, roc_auc_score

from kerastrain import evaluation
from kerastrain.errors import InputError

INPUTS = np.random.default_rng(0).normal(size=(60, 2)).astype("float32")
TARGETS = (INPUTS[:, 0] + np.random.default_rng(1).normal(size=60) / 2 > 0.3).astype(int)
WEIGHTS = [np.array([[2.0], [0.5]], "float32"), np.array([-0.2], "float32")]
LOGITS = INPUTS @ WEIGHTS[0][:, 0] - 0.2


def dataset(targets):
    return tf.data.Dataset.from_tensor_slices((INPUTS, targets)).batch(16)


def binary(*, ends_in):
    head = keras.layers.Dense(1, activation="sigmoid" if ends_in == "sigmoid" else None)
    model = keras.Sequential([keras.Input((2,)), head])
    model.set_weights(WEIGHTS)
    inputs = keras.Input((2,))
    if ends_in == "layer":
        return keras.Sequential([model, keras.layers.Activation("sigmoid")])
    if ends_in == "operation":
        return keras.Model(inputs, keras.ops.sigmoid(model(inputs)))
    return keras.Model(inputs, model(inputs))


@pytest.mark.parametrize("ends_in", ["sigmoid", "logit", "layer", "operation"])
@pytest.mark.parametrize("shaped", [TARGETS, TARGETS[:, np.newaxis].astype("float32"), np.eye(2)[TARGETS]])
def test_a_classifier_of_one_output_is_measured_as_one_of_two_classes(ends_in, shaped):
    measured = evaluation.evaluate(binary(ends_in=ends_in), dataset(shaped), labels=["cat", "dog"])
    probabilities = 1 / (1 + np.exp(-LOGITS))
    answers = LOGITS > 0
    assert (measured["task"], [row["label"] for row in measured["classes"]]) == ("single_label", ["cat", "dog"])
    assert measured["accuracy"] == (answers == TARGETS).mean()
    assert measured["loss"] == pytest.approx(log_loss(TARGETS, probabilities), rel=1e-5)
    assert measured["brier"] == pytest.approx(np.square(probabilities - TARGETS).mean(), rel=1e-4)
    assert measured["classes"][1]["roc_auc"] == pytest.approx(roc_auc_score(TARGETS, probabilities))
    assert measured["confusion"][0] == [(~answers & (TARGETS == 0)).sum(), (answers & (TARGETS == 0)).sum()]


def test_predictions_of_a_sigmoid_have_two_columns_even_where_it_saturates():
    certain = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, activation="sigmoid")])
    certain.set_weights([WEIGHTS[0] * 1000, WEIGHTS[1]])
    found = evaluation.predict(certain, dataset(TARGETS))
    assert (found.outputs.shape, found.labels) == ((60, 2), ("0", "1"))
    assert np.isfinite(found.outputs).all()
    assert found.probabilities[:, 1] == pytest.approx((INPUTS @ WEIGHTS[0][:, 0] > 0).astype(float), abs=1e-6)


def test_a_model_is_measured_as_its_last_layer_says():
    def ending(*layers):
        return keras.Sequential([keras.Input((2,)), *layers])

    softmax = ending(keras.layers.Dense(3), keras.layers.Softmax())
    expected = log_loss(TARGETS, softmax.predict(INPUTS, verbose=0), labels=range(3))
    assert evaluation.evaluate(softmax, dataset(TARGETS))["loss"] == pytest.approx(expected, rel=1e-5)
    several = ending(keras.layers.Dense(2, activation="sigmoid"))
    found = evaluation.predict(several, dataset((INPUTS > 0).astype("float32")))
    assert found.task == "multi_label"
    assert found.probabilities == pytest.approx(several.predict(INPUTS, verbose=0), abs=1e-6)
    number = ending(keras.layers.Dense(1))
    measured = evaluation.report(number, {"test": dataset(INPUTS[:, 0])}, task="regression", labels=["age"])["test"]
    assert (measured["task"], measured["outputs"][0]["label"]) == ("regression", "age")


@pytest.mark.parametrize(
    ("ends_in", "targets", "options", "message"),
    [
        (
            "sigmoid",
            TARGETS,
            {"labels": ["dog"]},
            "name both classes of a classifier with one output.* Received: 1: dog",
        ),
        ("sigmoid", TARGETS, {"from_logits": True}, "its last layer ends in a sigmoid. Pass from_logits=False"),
        ("logit", TARGETS, {"from_logits": False}, r"probabilities in \[0, 1\].* Pass from_logits=True"),
        ("logit", INPUTS[:, 0] * 30, {}, "must be 0 or 1.* If the model predicts a number, pass task='regression'"),
        ("logit", TARGETS, {"task": "binary"}, "unknown task 'binary'"),
        (
            "unknown",
            TARGETS,
            {},
            "not clear whether the model returns logits or probabilities.* Pass from_logits=False",
        ),
        ("two", TARGETS, {}, "one tensor of shape .batch, outputs.. Received: 2 tensors"),
    ],
)
def test_what_a_model_of_one_output_leaves_open_is_refused(ends_in, targets, options, message):
    model = binary(ends_in="sigmoid" if ends_in in ("unknown", "two") else ends_in)
    if ends_in == "unknown":
        model = keras.Sequential([model, keras.layers.Reshape((1,))])
    elif ends_in == "two":
        model = keras.Model(model.inputs, [model.outputs[0], model.outputs[0]])
    with pytest.raises(InputError, match=message):
        evaluation.evaluate(model, dataset(targets), **options)


def test_a_predictor_traces_a_model_once_for_all_datasets():
    calls = []

    class Noted(keras.layers.Layer):
        def call(self, inputs):
            calls.append(inputs.shape)
            return inputs

    inputs = keras.Input((2,))
    predict = evaluation.predictor(keras.Model(inputs, Noted()(inputs)), task="regression", labels=["x", "y"])
    values, built = np.float32([[1, 2], [3, 4], [5, 6]]), len(calls)
    predict(tf.data.Dataset.from_tensor_slices((values, values)).batch(2))
    count = len(calls)
    assert count == built + 1  # although the last batch is smaller
    other = predict(tf.data.Dataset.from_tensor_slices((values + 1, values)).batch(2))
    assert len(calls) == count
    np.testing.assert_array_equal(other.outputs, values + 1)


def test_a_model_of_one_batch_size_is_measured_on_batches_of_that_size():
    inputs = keras.Input(batch_shape=(20, 2))
    layer = keras.layers.Dense(1)
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights(WEIGHTS)
    batches = tf.data.Dataset.from_tensor_slices((INPUTS, TARGETS)).batch(20)
    assert evaluation.evaluate(model, batches)["accuracy"] == ((LOGITS > 0) == TARGETS).mean()
