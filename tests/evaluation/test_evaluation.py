import json

import keras
import numpy as np
import pytest
import rich.console
import scipy.stats
import tensorflow as tf
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    log_loss,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)

from kerastrain import evaluation, models
from kerastrain.errors import InputError
from kerastrain.evaluation import intervals

TARGETS = np.array([0, 0, 0, 1, 1, 2])
PROBABILITIES = np.array(
    [[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.1, 0.8, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1], [0.45, 0.35, 0.2]]
)


def identity_model(columns=3):
    return keras.Sequential([keras.Input((columns,)), keras.layers.Identity()])


def batches(inputs, targets, size=4):
    return tf.data.Dataset.from_tensor_slices((np.float32(inputs), targets)).batch(size)


def printed(renderable):
    console = rich.console.Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(renderable)
    return console.export_text()


def test_measure_equals_the_hand_drawn_table():
    measures = evaluation.measure(TARGETS, PROBABILITIES, ["ant", "bee", "cow"])
    assert measures["confusion"] == [[2, 1, 0], [1, 1, 0], [1, 0, 0]]
    ant, bee, cow = measures["classes"]
    assert ant["label"] == "ant"
    assert (ant["precision"], ant["recall"], ant["support"]) == (2 / 4, 2 / 3, 3)
    assert (bee["precision"], bee["recall"], bee["support"]) == (1 / 2, 1 / 2, 2)
    assert ant["f1"] == pytest.approx(4 / 7)
    assert (cow["precision"], cow["recall"], cow["f1"]) == (None, 0.0, 0.0)
    assert measures["accuracy"] == 3 / 6
    assert measures["macro"]["precision"] == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    assert measures["weighted"]["recall"] == pytest.approx(3 / 6)
    assert measures["loss"] == pytest.approx(-np.log([0.7, 0.5, 0.1, 0.7, 0.3, 0.2]).mean())


def test_measure_equals_scikit_learn_on_random_predictions():
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 5, 400)
    logits = rng.normal(size=(400, 5)) + 1.5 * np.eye(5)[targets]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    measures = evaluation.measure(targets, probabilities, list("abcde"))
    predicted = probabilities.argmax(axis=1)
    assert measures["loss"] == pytest.approx(log_loss(targets, probabilities))
    for average in ("macro", "weighted"):
        assert measures[average]["f1"] == pytest.approx(f1_score(targets, predicted, average=average))
        area = roc_auc_score(targets, probabilities, average=average, multi_class="ovr")
        assert measures[average]["roc_auc"] == pytest.approx(area)


def test_measure_says_none_when_a_class_has_no_examples():
    measures = evaluation.measure([0, 1], [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]], ["ant", "bee", "cow"])
    cow = measures["classes"][2]
    assert (cow["precision"], cow["recall"], cow["f1"], cow["roc_auc"], cow["support"]) == (None, None, None, None, 0)
    assert measures["macro"] == dict.fromkeys(evaluation.single_label.SCORES, 1.0)
    json.dumps(measures, allow_nan=False)


def test_measure_gives_no_area_when_all_examples_are_of_one_class():
    measures = evaluation.measure([1, 1], [[0.3, 0.7], [0.6, 0.4]], ["ant", "bee"])
    assert measures["macro"]["roc_auc"] is None
    assert measures["weighted"]["roc_auc"] is None
    assert measures["macro"]["recall"] == 0.5


def test_calibration_equals_the_bins_counted_by_hand():
    probabilities = [[0.95, 0.05], [0.91, 0.09], [0.62, 0.38], [1.0, 0.0]]
    calibration = evaluation.measure([0, 1, 0, 0], probabilities, ["ant", "bee"])["calibration"]
    last = calibration["bins"][-1]
    assert (last["from"], last["to"], last["count"]) == (0.9, 1.0, 3)
    assert last["accuracy"] == pytest.approx(2 / 3)
    assert last["confidence"] == pytest.approx((0.95 + 0.91 + 1) / 3)
    expected = 3 / 4 * abs(2 / 3 - (0.95 + 0.91 + 1) / 3) + 1 / 4 * abs(1 - 0.62)
    assert calibration["error"] == pytest.approx(expected)
    assert sum(entry["count"] for entry in calibration["bins"]) == 4


def test_the_loss_stays_finite_when_a_wrong_answer_is_certain():
    measures = evaluation.measure([0, 1], [[0.0, 1.0], [0.0, 1.0]], ["ant", "bee"])
    assert np.isfinite(measures["loss"])


@pytest.mark.parametrize(
    ("targets", "probabilities", "labels", "message"),
    [
        ([], np.zeros((0, 2)), ["a", "b"], "n >= 1"),
        ([0, 1], [[0.5, 0.5]], ["a", "b"], r"Received: \(2,\), \(1, 2\) and \(2,\)"),
        ([0], [[1.0]], ["a"], "classes >= 2"),
        ([0, 2], [[0.5, 0.5]] * 2, ["a", "b"], "from 0 to 1. Received: int64 from 0 to 2"),
        ([0.0, 1.0], [[0.5, 0.5]] * 2, ["a", "b"], "`targets` must be integers"),
        ([0, 1], [[0.5, 0.5], [np.nan, 1]], ["a", "b"], "1 of 2 rows"),
        ([0, 1], [[3.0, 0.5], [0.5, 0.5]], ["a", "b"], "Apply a softmax first"),
    ],
)
def test_measure_refuses_what_does_not_fit(targets, probabilities, labels, message):
    with pytest.raises(InputError, match=message):
        evaluation.measure(targets, probabilities, labels)


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("one_hot", [True, False])
def test_evaluate_pairs_each_prediction_with_its_label_when_the_data_is_shuffled(replicas, one_hot):
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 27)
    logits = rng.normal(size=(27, 3)) + np.eye(3)[targets]
    encoded = np.eye(3, dtype="float32")[targets] if one_hot else targets
    dataset = batches(logits, encoded, size=13).unbatch().shuffle(27).batch(13)
    devices = [f"CPU:{index}" for index in range(replicas)]
    strategy = tf.distribute.MirroredStrategy(devices, tf.distribute.HierarchicalCopyAllReduce())
    with strategy.scope():
        model = identity_model()
    measures = evaluation.evaluate(model, dataset)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert measures["count"] == 27
    assert measures["loss"] == pytest.approx(log_loss(targets, probabilities), rel=1e-5)
    assert measures["accuracy"] == (logits.argmax(axis=1) == targets).mean()


def test_evaluate_takes_a_softmax_model_when_told_so():
    dataset = batches(PROBABILITIES, TARGETS)
    softmax = evaluation.evaluate(identity_model(), dataset, from_logits=False)
    assert softmax["loss"] == pytest.approx(log_loss(TARGETS, PROBABILITIES), rel=1e-5)
    with pytest.raises(InputError, match="from_logits=False"):
        evaluation.evaluate(identity_model(), dataset)


def test_evaluate_refuses_logits_that_are_called_probabilities():
    with pytest.raises(InputError, match="sum to 1"):
        evaluation.evaluate(identity_model(), batches(PROBABILITIES * 9 - 4, TARGETS), from_logits=False)


def test_evaluate_leaves_the_model_as_it_was():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.BatchNormalization()(keras.layers.Dense(3)(inputs)))
    model.compile(loss="mse", metrics=["accuracy"])
    weights = [np.array(weight) for weight in model.get_weights()]
    compiled = model.get_compile_config()
    evaluation.evaluate(model, batches(PROBABILITIES, TARGETS))
    assert all(np.array_equal(a, b) for a, b in zip(weights, model.get_weights(), strict=True))
    assert model.get_compile_config() == compiled
    assert len(model.layers[1]._inbound_nodes) == 1


def test_report_measures_each_data_set():
    datasets = {"validation": batches(PROBABILITIES[:4] * 9, TARGETS[:4]), "test": batches(PROBABILITIES * 9, TARGETS)}
    measures = evaluation.report(identity_model(), datasets, labels=["ant", "bee", "cow"])
    assert {name: entry["count"] for name, entry in measures.items()} == {"validation": 4, "test": 6}
    assert measures["test"]["classes"][2]["label"] == "cow"


def test_evaluate_names_the_classes_by_the_labels_that_the_model_carries():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, models.Labels(["ant", "bee", "cow"])(inputs))
    classes = evaluation.evaluate(model, batches(PROBABILITIES * 9, TARGETS))["classes"]
    assert [row["label"] for row in classes] == ["ant", "bee", "cow"]
    classes = evaluation.evaluate(identity_model(), batches(PROBABILITIES * 9, TARGETS))["classes"]
    assert [row["label"] for row in classes] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (lambda: batches(PROBABILITIES, TARGETS).take(0), "'test': `dataset` must hold at least one example"),
        (
            lambda: batches(PROBABILITIES, TARGETS).filter(lambda x, y: False),
            "'test': `dataset` must hold at least one",
        ),
        (lambda: batches(PROBABILITIES, TARGETS).repeat(), "must be finite"),
        (lambda: batches(PROBABILITIES, TARGETS).map(lambda x, y: x), "must yield"),
        (lambda: batches(PROBABILITIES, np.eye(4)[TARGETS]), "4 columns and 3 outputs"),
        (lambda: batches(PROBABILITIES * 9, TARGETS + 1), "from 0 to 2"),
        (lambda: batches(PROBABILITIES, np.ones((6, 3))), "not one-hot"),
        (lambda: batches(PROBABILITIES * np.nan, TARGETS), "diverged"),
    ],
)
def test_report_says_what_is_wrong_with_the_data(dataset, message):
    with pytest.raises(InputError, match=message):
        evaluation.report(identity_model(), {"test": dataset()})


def test_evaluate_refuses_another_type():
    with pytest.raises(TypeError, match="must be a keras.Model. Received: builtins.str"):
        evaluation.evaluate("model.keras", batches(PROBABILITIES, TARGETS))
    with pytest.raises(TypeError, match=r"must be a tf.data.Dataset. Received: builtins.tuple"):
        evaluation.evaluate(identity_model(), (PROBABILITIES, TARGETS))


def test_metrics_equal_scikit_learn_on_logits():
    rng = np.random.default_rng(1)
    targets = rng.integers(0, 4, 300)
    logits = (rng.normal(size=(300, 4)) + np.eye(4)[targets]).astype("float32")
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = {
        "accuracy": (logits.argmax(axis=1) == targets).mean(),
        "f1": f1_score(targets, logits.argmax(axis=1), average="macro"),
        "roc_auc": roc_auc_score(targets, probabilities, average="macro", multi_class="ovr"),
    }
    followed = evaluation.metrics(4, roc_auc=True)
    assert {metric.name for metric in followed} == set(expected)
    for metric in followed:
        for rows in np.array_split(np.arange(300), 7):
            metric.update_state(np.eye(4, dtype="float32")[targets[rows]], logits[rows])
        # The running area is sampled at 200 thresholds, the others are exact.
        assert float(metric.result()) == pytest.approx(
            expected[metric.name], abs=2e-3 if metric.name == "roc_auc" else 1e-6
        )


def test_roc_auc_survives_its_config():
    metric = evaluation.RocAuc(3, num_thresholds=50, name="area")
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert restored.get_config() == metric.get_config()
    assert type(restored) is evaluation.RocAuc


def test_metrics_refuse_one_class():
    with pytest.raises(InputError, match="at least 2. Received: 1"):
        evaluation.metrics(1)


def test_the_table_shows_class_names_as_they_are():
    text = printed(
        evaluation.table(evaluation.measure(TARGETS, PROBABILITIES, ["[red]ant", "bee", "cow"]), title="test")
    )
    assert "[red]ant" in text
    assert "test: 6 examples, accuracy 0.5000" in text
    assert "–" in text  # the precision of the class that is never predicted


def test_the_table_names_the_commonest_mistakes_when_there_are_many_classes():
    labels = [f"kind {index}" for index in range(25)]
    probabilities = np.eye(25)[[3, 3, 3, 4]]
    text = printed(evaluation.table(evaluation.measure([7, 7, 3, 4], probabilities, labels)))
    assert "Most common mistakes" in text
    assert [line.split() for line in text.splitlines() if "kind 7" in line][-1][1:8] == [
        "kind",
        "7",
        "│",
        "kind",
        "3",
        "│",
        "2",
    ]


def test_measures_of_many_labels_equal_scikit_learn():
    random = np.random.default_rng(0)
    logits = random.normal(size=(60, 4))
    targets = (logits + random.normal(size=(60, 4)) > [0.0, 0.5, 1.5, 9.0]).astype("float32")
    probabilities = 1 / (1 + np.exp(-logits))
    measured = evaluation.multi_label.measure(targets, probabilities, "abcd")
    predicted = probabilities >= 0.5
    occurs = targets.any(axis=0)
    assert occurs.tolist() == [True, True, True, False]
    assert measured["loss"] == pytest.approx(np.mean([log_loss(targets[:, i], probabilities[:, i], labels=[0, 1])
                                                      for i in range(4)]))  # fmt: skip
    assert measured["accuracy"] == pytest.approx((predicted == targets).mean())
    assert measured["exact"] == pytest.approx((predicted == targets).all(axis=1).mean())
    for index, row in enumerate(measured["classes"][:3]):
        assert row["f1"] == pytest.approx(f1_score(targets[:, index], predicted[:, index]))
        assert row["roc_auc"] == pytest.approx(roc_auc_score(targets[:, index], probabilities[:, index]))
        precise = average_precision_score(targets[:, index], probabilities[:, index])
        assert row["average_precision"] == pytest.approx(precise)
        at_best = f1_score(targets[:, index], probabilities[:, index] >= row["best_threshold"])
        column = probabilities[:, index]
        scores = [f1_score(targets[:, index], column >= threshold) for threshold in column]
        assert row["best_f1"] == pytest.approx(at_best) == pytest.approx(max(scores))
    last = measured["classes"][3]
    assert (last["recall"], last["average_precision"], last["roc_auc"], last["support"]) == (None, None, None, 0)
    for score in ("f1", "average_precision", "roc_auc"):
        mean = np.mean([row[score] for row in measured["classes"][:3]])
        assert measured["macro"][score] == pytest.approx(mean)
    json.dumps(measured, allow_nan=False)


def test_measures_of_numbers_equal_scikit_learn():
    random = np.random.default_rng(0)
    targets = random.normal([40.0, 0.0], [10.0, 1.0], (700, 2))
    predictions = targets + random.normal([2.0, 0.0], [5.0, 0.1], (700, 2))
    measured = evaluation.regression.measure(targets, predictions, ["age", "height"])
    for index, row in enumerate(measured["outputs"]):
        assert row["mae"] == pytest.approx(mean_absolute_error(targets[:, index], predictions[:, index]))
        assert row["rmse"] == pytest.approx(root_mean_squared_error(targets[:, index], predictions[:, index]))
        assert row["r2"] == pytest.approx(r2_score(targets[:, index], predictions[:, index]))
        assert row["bias"] == pytest.approx((predictions - targets)[:, index].mean())
    assert measured["r2"] == pytest.approx(r2_score(targets, predictions))
    assert [len(pairs) for pairs in measured["scatter"]] == [500, 500]
    assert measured["scatter"][1][0] == [targets[0, 1], predictions[0, 1]]
    constant = evaluation.regression.measure(np.ones((3, 1)), np.zeros((3, 1)), ["one"])
    assert (constant["r2"], constant["outputs"][0]["mae"]) == (None, 1.0)
    json.dumps(constant, allow_nan=False)


@pytest.mark.parametrize("task", ["multi_label", "regression"])
def test_evaluate_measures_what_the_model_says(task):
    random = np.random.default_rng(0)
    outputs = random.normal(size=(50, 2)).astype("float32")
    targets = (outputs > 0.3).astype("float32") if task == "multi_label" else outputs * 2
    inputs = keras.Input((2,))
    labelled = keras.Model(inputs, models.Labels(["x", "y"], task)(inputs))
    dataset = tf.data.Dataset.from_tensor_slices((outputs, targets)).batch(16)
    for model, options in ((labelled, {}), (identity_model(2), {"task": task, "labels": ["x", "y"]})):
        measured = evaluation.evaluate(model, dataset, **options)
        if task == "multi_label":
            expected = evaluation.multi_label.measure(
                targets, np.exp(-np.logaddexp(0, -outputs.astype("float64"))), "xy"
            )
        else:
            expected = evaluation.regression.measure(targets, outputs, "xy")
        assert measured == expected
        assert "x" in printed(evaluation.table(measured, title="test"))
    with pytest.raises(InputError, match="as many columns as the model has outputs. Received: 3 columns and 2 outputs"):
        evaluation.evaluate(labelled, tf.data.Dataset.from_tensor_slices((outputs, np.zeros((50, 3)))).batch(16))


def test_metrics_of_other_tasks_equal_scikit_learn():
    random = np.random.default_rng(0)
    logits = random.normal(size=(64, 3)).astype("float32")
    targets = (logits + random.normal(size=(64, 3)) > 0.3).astype("float32")
    followed = {}
    for task, values in (("multi_label", targets), ("regression", logits * 2)):
        for metric in evaluation.metrics(3, task=task):
            metric = keras.metrics.deserialize(keras.metrics.serialize(metric))
            for rows in np.split(np.arange(64), 4):
                metric.update_state(values[rows], logits[rows])
            followed[metric.name] = float(metric.result())
    assert followed == pytest.approx(
        {
            "accuracy": ((logits > 0) == targets).mean(),
            "f1": f1_score(targets, logits > 0, average="macro"),
            "mae": mean_absolute_error(logits * 2, logits),
            "rmse": root_mean_squared_error((logits * 2).ravel(), logits.ravel()),
            "r2": r2_score(logits * 2, logits),
        },
        rel=1e-5,
    )
    with pytest.raises(InputError, match="unknown task 'many'"):
        evaluation.metrics(3, task="many")
    with pytest.raises(InputError, match="`roc_auc` is only available for task 'single_label'"):
        evaluation.metrics(3, task="regression", roc_auc=True)


@pytest.mark.parametrize(
    ("measure", "arguments", "message"),
    [
        ("multi_label", ([[1, 0]], [[0.5, 0.5, 0.5]], "ab"), r"must be \(n, labels\) .* Received: \(1, 2\), \(1, 3\)"),
        ("multi_label", ([[2, 0]], [[0.5, 0.5]], "ab"), "`targets` must be 0 or 1 for each label"),
        ("multi_label", ([[1, 0]], [[0.5, np.nan]], "ab"), "The model has diverged"),
        ("multi_label", ([[1, 0]], [[0.5, 1.5]], "ab"), "Apply a sigmoid first"),
        ("regression", (np.zeros((0, 1)), np.zeros((0, 1)), "a"), r"must be \(n, outputs\)"),
        ("regression", ([[np.inf]], [[1.0]], "a"), "`targets` must be finite. .* Correct the targets"),
        ("regression", ([[1.0]], [[np.nan]], "a"), "`predictions` must be finite. .* The model has diverged"),
    ],
)
def test_measures_of_other_tasks_tell_what_is_wrong(measure, arguments, message):
    with pytest.raises(InputError, match=message):
        getattr(evaluation, measure).measure(*arguments)


@pytest.mark.parametrize(("correct", "count"), [(0, 7), (9, 10), (178, 179), (50, 50)])
def test_wilson_solves_its_quadratic_equation(correct, count):
    """Wilson's limits are the shares p whose distance to the measured share is z standard errors of p."""
    z, share = scipy.stats.norm.ppf(0.975), correct / count
    # (share - p)² = z² p (1 - p) / count, as a polynomial in p.
    expected = sorted(np.roots([1 + z**2 / count, -2 * share - z**2 / count, share**2]).real)
    assert intervals.wilson(correct, count) == pytest.approx(expected, abs=1e-9)
    assert 0 <= intervals.wilson(correct, count)[0] < intervals.wilson(correct, count)[1] <= 1


def test_wilson_refuses_more_correct_examples_than_there_are():
    with pytest.raises(ValueError, match="must not be greater"):
        intervals.wilson(3, 2)


@pytest.mark.slow
def test_bootstrap_of_a_mean_is_near_the_normal_interval():
    values = np.random.default_rng(1).normal(size=400)
    half = 1.96 * values.std() / 20
    low, high = intervals.bootstrap(lambda chosen: values[chosen].mean(), 400)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)
