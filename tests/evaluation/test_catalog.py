"""The catalog has exactly the measures that `metrics.json` has."""

import math
import typing

import numpy as np
import pytest
from scipy import special

from kerastrain import evaluation
from kerastrain.config import results
from kerastrain.errors import InputError
from kerastrain.evaluation import catalog, multi_label, regression, single_label

LABELS = ("v1.0 cat", "classes.f1", "dog", "猫", "e", "f")
DESCRIPTIONS = ("count", "support", "best_threshold", "bias", "mean", "stddev")


def measured(kind):
    random = np.random.default_rng(0)
    if kind == "single_label":
        return single_label.measure(random.integers(0, 6, 60), random.dirichlet(np.ones(6), 60), LABELS)
    if kind == "multi_label":
        return multi_label.measure(random.integers(0, 2, (60, 6)), random.random((60, 6)), LABELS)
    return regression.measure(random.random((60, 6)), random.random((60, 6)), LABELS)


def numbers(value, path=""):
    """Paths of all numbers in the measures; rows of classes are named by their labels."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in ("intervals", "curves", "bins", "confusion", "scatter", *DESCRIPTIONS):
                yield from numbers(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for row in value:
            yield from numbers(row, f"{path}.{row['label']}")
    elif isinstance(value, float | int):
        yield path, value


@pytest.mark.parametrize("kind", ["single_label", "multi_label", "regression"])
def test_the_catalog_has_every_number_of_the_measures(kind):
    measures = measured(kind)
    expected = dict(numbers(measures))
    assert catalog.flat(measures) == expected
    names = {name.replace(catalog.CLASS, label) for name in catalog.names(kind) for label in LABELS}
    assert names == set(expected)
    for name, value in expected.items():
        catalog.check(f"validation.{name}", kind, LABELS)
        assert catalog.scalar(measures, name) == catalog.scalar(measures, f"validation.{name}") == value


@pytest.mark.parametrize(
    ("objective", "direction", "scale"),
    [
        ("validation.loss", "min", "loss"),
        ("validation.accuracy", "max", "share"),
        ("validation.macro.roc_auc", "max", "share"),
        ("validation.calibration.error", "min", "loss"),
        ("validation.brier", "min", "loss"),
        ("validation.kappa", "max", "at_most_one"),
        ("validation.r2", "max", "at_most_one"),
        ("validation.outputs.loss.mae", "min", "loss"),
        ("validation.classes.loss.f1", "max", "share"),
        ("validation.perplexity", "min", "loss"),
        ("validation.preference.margin", "max", "loss"),
        ("model.parameters", "min", "loss"),
        ("export.tflite_int8.bytes", "min", "loss"),
        ("export.tflite_int8.milliseconds", "min", "loss"),
    ],
)
def test_directions_and_scales(objective, direction, scale):
    assert catalog.direction(objective) == direction
    assert catalog.scale(objective) == scale


@pytest.mark.parametrize(
    ("objective", "kind", "message"),
    [
        ("accuracy", "single_label", "such as validation.accuracy. Received: accuracy."),
        ("test.accuracy", "single_label", "compared on the validation part: .*Use validation.accuracy"),
        ("train.loss", "single_label", "compared on the validation part"),
        ("validation.macro_f1", "single_label", "unknown measure .*Did you mean 'validation.macro.f1'"),
        ("validation.mae", "single_label", "is a measure of regression. Received: it for single_label"),
        ("validation.accuracy", "regression", "is a measure of single_label and multi_label"),
        (
            "validation.classes.cow.f1",
            "single_label",
            "validation.classes.cow.f1: unknown class 'cow'. Known: a.b, cat, d, dog.",
        ),
        ("validation.classes.dog.best_f1", "single_label", "is a measure of multi_label"),
        ("validation.outputs.dog.bias", "regression", "unknown measure"),
        ("validation.top_5", "single_label", "needs more than 5 classes. Received: 4"),
        ("validation.count", "single_label", "unknown measure"),
        ("model.size", "single_label", "Did you mean|Known: model.parameters"),
        ("export.tflite_int9.bytes", "single_label", "Did you mean 'export.tflite_int8.bytes'"),
        ("export.saved_model.milliseconds", "single_label", "unknown objective"),
    ],
)
def test_what_no_model_can_be_chosen_by_is_refused(objective, kind, message):
    labels = ("dog", "cat", "a.b", "d")
    with pytest.raises(InputError, match=message):
        catalog.check(objective, kind, labels)


def test_measures_of_classes_are_taken_before_the_classes_are_known():
    catalog.check("validation.classes.a.b c.f1", "single_label")
    assert catalog.class_of("validation.classes.a.b c.f1") == "a.b c"
    catalog.check_monitor("validation.loss", "regression")


@pytest.mark.parametrize(
    ("objective", "kind", "column"),
    [
        ("validation.loss", "single_label", "val_data_loss"),
        ("validation.accuracy", "multi_label", "val_accuracy"),
        ("validation.rmse", "regression", "val_rmse"),
        ("validation.calibration.error", "single_label", "val_calibration_error"),
        ("validation.classes.v1.0 cat.f1", "single_label", "val_classes_v1_0_cat_f1"),
        ("validation.perplexity", "language", None),
        ("validation.preference.accuracy", "preference", "val_accuracy"),
        ("model.parameters", "single_label", None),
    ],
)
def test_the_columns_of_the_history(objective, kind, column):
    catalog.check(objective, kind)
    assert catalog.logged_name(objective, kind) == column
    if column is None:
        with pytest.raises(InputError, match="is not measured after each epoch"):
            catalog.check_monitor(objective, kind)
    else:
        catalog.check_monitor(objective, kind)


def test_an_undefined_measure_is_nan():
    measures = single_label.measure([0, 0], [[0.9, 0.1], [0.8, 0.2]], ["cat", "dog"])
    assert math.isnan(catalog.scalar(measures, "classes.dog.recall"))
    assert catalog.scalar(measures, "classes.cat.recall") == 1
    with pytest.raises(InputError, match="unknown measure 'top_3'"):
        catalog.scalar(measures, "top_3")


def test_the_formats_are_those_of_the_config():
    assert set(catalog.FORMATS) == set(typing.get_args(results.ExportName))


@pytest.mark.parametrize("kind", ["single_label", "multi_label", "regression"])
def test_measures_without_intervals_and_rankings_are_the_same_numbers(kind):
    whole, random = measured(kind), np.random.default_rng(0)
    if kind == "single_label":
        targets, outputs = random.integers(0, 6, 60), np.log(random.dirichlet(np.ones(6), 60))
    elif kind == "multi_label":
        targets, outputs = random.integers(0, 2, (60, 6)), special.logit(random.random((60, 6)))
    else:
        targets, outputs = random.random((60, 6)), random.random((60, 6))
    predictions = evaluation.Predictions(targets, outputs, LABELS, kind)
    short = evaluation.measures(predictions, with_intervals=False, with_rankings=False)
    assert not any(short["intervals"].values())
    of_rankings = ("average_precision", "roc_auc", "best_f1")
    for name, value in catalog.flat(short).items():
        if name.endswith(of_rankings) and kind != "regression":
            assert math.isnan(value)
        else:
            assert value == pytest.approx(catalog.scalar(whole, name), rel=1e-5)
