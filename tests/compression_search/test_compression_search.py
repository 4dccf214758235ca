import re

import keras
import numpy as np
import pictures
import pytest

from kerastrain import compression_search, config, data, models, run_directory
from kerastrain.compression_search.training import Trainer
from kerastrain.errors import ConfigError


def result(name, validation, kilobytes, gzip=None, test=None):
    def score(value):
        return compression_search.Score(value, value - 0.02, value + 0.02, 400)

    return compression_search.CandidateResult(
        name=name,
        file=f"{name}.tflite",
        steps=(),
        measure="accuracy",
        validation=score(validation),
        test=None if test is None else score(test),
        zeros_fraction=0.0,
        size_bytes=round(1000 * kilobytes),
        gzip_bytes=round(1000 * (gzip or kilobytes)),
        time_ratio=1.0,
        memory_ratio=None,
    )


RESULTS = [
    result("baseline_float32", 0.95, 1000, 900, test=0.5),
    result("baseline_int8", 0.945, 260, 200, test=0.4),
    result("baseline_dynamic", 0.93, 255, 240, test=0.99),
    result("pruned_int8", 0.94, 262, 90, test=0.6),
    result("distilled_int8", 0.90, 60, 50, test=0.99),
]


@pytest.mark.parametrize(
    ("budget", "winner"),
    [
        ({"accuracy_points": 1}, "baseline_int8"),
        ({"accuracy_points": 1, "size": "gzip"}, "pruned_int8"),
        ({"accuracy_points": 2}, "baseline_dynamic"),
        ({"accuracy_points": 0}, "baseline_float32"),
        ({"kilobytes": 300}, "baseline_int8"),
        ({"kilobytes": 255}, "baseline_dynamic"),
        ({"kilobytes": 100, "size": "gzip"}, "pruned_int8"),
        ({"kilobytes": 10}, None),
    ],
)
def test_choose_goes_by_the_validation_part_and_the_size_that_counts(budget, winner):
    choice = compression_search.choose(RESULTS, config.BudgetConfig(**budget))
    assert choice.winner == winner
    assert (winner or "none of 5 files") in choice.reason


def test_what_another_file_beats_in_size_and_accuracy_is_not_kept():
    by_file = compression_search.choose(RESULTS, config.BudgetConfig(accuracy_points=1)).pareto
    assert by_file == ("distilled_int8", "baseline_dynamic", "baseline_int8", "baseline_float32")
    by_gzip = compression_search.choose(RESULTS, config.BudgetConfig(accuracy_points=1, size="gzip")).pareto
    assert by_gzip == ("distilled_int8", "pruned_int8", "baseline_int8", "baseline_float32")


def test_a_validation_part_too_small_for_the_budget_is_told():
    assert "±2.0 points" in compression_search.choose(RESULTS, config.BudgetConfig(accuracy_points=1)).reason
    assert "±" not in compression_search.choose(RESULTS, config.BudgetConfig(accuracy_points=3)).reason


def test_the_steps_that_are_given_are_done_in_the_order_in_which_they_keep_each_other():
    def names(**settings):
        return [
            candidate.name for candidate in compression_search.requested_candidates(config.CompressConfig(**settings))
        ]

    assert names() == ["baseline_float32", "pruned_float32", "pruned_int8"]
    assert names(prune={"fraction": 0}, quantize="dynamic") == ["baseline_float32", "baseline_dynamic"]
    assert names(cluster={}, quantize="float32") == ["baseline_float32", "clustered_float32"]
    assert names(cluster={}, prune={}, prune_channels={}, distill={}, quantize="quantize_aware")[-2:] == [
        "distilled_channel_pruned_pruned_clustered_float32",
        "distilled_channel_pruned_pruned_clustered_qat_int8",
    ]


def test_every_way_of_the_ladder_is_another_file_and_the_float_file_comes_first():
    names = [candidate.name for candidate in compression_search.CANDIDATES]
    assert len(set(names)) == len(names)
    assert names[0] == "baseline_float32"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"budget": {}}, "either accuracy_points or kilobytes. Received: neither"),
        ({"budget": {"accuracy_points": 1, "kilobytes": 2}}, "Received: both"),
        ({"budget": {"kilobytes": 300}, "quantize": "int8"}, "tries every number format"),
        ({"budget": {"kilobytes": 0}}, "budget.kilobytes"),
        ({"cluster": {"clusters": 1}}, "cluster.clusters"),
        ({"distll": {}}, "Did you mean 'distill'"),
    ],
)
def test_settings_that_contradict_each_other_are_one_sentence(values, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        config.validate(values, config.CompressConfig)


def test_the_picture_is_drawn(tmp_path, monkeypatch):
    figures = pictures.saved_figures(monkeypatch)
    budget = config.BudgetConfig(accuracy_points=1)
    choice = compression_search.choose(RESULTS, budget)
    path = compression_search.draw(RESULTS, choice, budget, tmp_path / "pareto.png")
    assert pictures.pixels(path).shape == (720, 1350, 3)  # inches at 150 dots
    blue, orange = "#1f5fbf", "#c2410c"
    assert pictures.shows(path, blue)
    assert pictures.shows(path, orange)
    (axes,) = figures[0].axes
    points = {
        line.get_label(): (*line.get_xydata()[0], line.get_color()) for line in axes.lines if line.get_marker() == "o"
    }
    assert points == {
        "1  distilled_int8": (60, 0.90, blue),
        "2  baseline_dynamic": (255, 0.93, blue),
        "3  baseline_int8": (260, 0.945, orange),
        "4  pruned_int8": (262, 0.94, "#8a94a6"),
        "5  baseline_float32": (1000, 0.95, blue),
    }
    front, limit = [line for line in axes.lines if len(line.get_xdata()) > 1][-2:]
    np.testing.assert_allclose(front.get_xydata(), [(60, 0.90), (255, 0.93), (260, 0.945), (1000, 0.95)])
    np.testing.assert_allclose(limit.get_ydata(), [0.94, 0.94])  # a point below the float file
    assert {text.get_text(): text.xy for text in axes.texts} == {name[0]: (x, y) for name, (x, y, _) in points.items()}


@pytest.mark.slow
def test_layers_stay_in_float_where_int8_breaks_the_budget(tmp_path):
    """One input of a dense layer is small and its weights are large, so int8 has no steps for the other weights."""
    split = data.digits(image_size=(16, 16), validation_fraction=0.2, test_fraction=0.0)
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(inputs)
    x = keras.layers.Conv2D(16, 3, strides=2, activation="relu")(x)
    x = keras.layers.Conv2D(16, 3, strides=2, activation="relu", name="small")(x)
    x = keras.layers.Dense(32, activation="relu", name="large")(keras.layers.Flatten()(x))
    model = keras.Model(inputs, models.Labels(split.labels)(keras.layers.Dense(10)(x)))
    model.compile(keras.optimizers.Adam(3e-3), models.loss(model))
    model.fit(data.batches(split.train, 32, shuffle=True, seed=0, epochs=6), shuffle=False, verbose=0)
    small, large, factor = model.get_layer("small"), model.get_layer("large"), np.where(np.arange(16) == 0, 1000.0, 1.0)
    small.set_weights([weight / factor for weight in small.get_weights()])
    kernel, bias = large.get_weights()
    large.set_weights([kernel * np.tile(factor, len(kernel) // 16)[:, None], bias])

    run = run_directory.Run(tmp_path, config.Config(), model)
    settings = config.CompressConfig(budget={"accuracy_points": 1})
    candidates = (compression_search.Candidate((), "float32"), compression_search.Candidate((), "int8"))
    results, skipped = compression_search.sweep(run, split, candidates, settings, tmp_path)
    int8, mixed = results[1:]
    assert not skipped
    assert mixed.name == "baseline_int8_1_in_float"
    assert int8.validation.value < 0.5 < 0.9 < mixed.validation.value
    assert int8.size_bytes < mixed.size_bytes < results[0].size_bytes
    assert compression_search.choose(results, settings.budget).winner == mixed.name


@pytest.mark.slow
def test_batch_norm_follows_the_layers_that_lose_weights_and_stays_where_they_are_frozen(tmp_path):
    split = data.digits(image_size=(8, 8), validation_fraction=0.2, test_fraction=0.0)
    x = inputs = keras.Input((8, 8, 3))
    for name in ("frozen", "learning"):
        x = keras.layers.Conv2D(8, 3, name=name, trainable=name == "learning")(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(name=f"{name}_norm", trainable=False)(x))
    logits = keras.layers.Dense(10)(keras.layers.Flatten()(x))
    model = keras.Model(inputs, models.Labels(split.labels)(logits))
    before = [weight.numpy() for weight in model.weights]
    settings = config.CompressConfig(**{step: {"epochs": 1} for step in ("prune_channels", "prune", "cluster")})
    trainer = Trainer(run_directory.Run(tmp_path, config.Config(), model), split, settings)
    for step in ("prune_channels", "prune", "cluster"):
        made = trainer.model((step,))
        mean = made.get_layer("learning_norm").moving_mean
        assert np.abs(mean).max() > 1.0, step  # of pixels up to 255, from 0
        np.testing.assert_array_equal(made.get_layer("frozen_norm").moving_mean, np.zeros(8))
    assert not model.get_layer("learning_norm").trainable
    for now, then in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(now, then)
