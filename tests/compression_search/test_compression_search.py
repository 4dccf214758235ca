import dataclasses
import itertools
import logging
import re
import time

import keras
import numpy as np
import pictures
import pytest
from matplotlib.text import Text

from kerastrain import compression_search, config, data, models, run_directory
from kerastrain.compression_search import halving, unfinished
from kerastrain.compression_search import steps as training_steps
from kerastrain.compression_search.progress import OutOfTime, Pace, Watch
from kerastrain.compression_search.training import Trainer
from kerastrain.compression_search.unfinished import Unfinished
from kerastrain.errors import ConfigError, InputError


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
        "distilled_int8": (60, 0.90, blue),
        "baseline_dynamic": (255, 0.93, blue),
        "baseline_int8": (260, 0.945, orange),
        "pruned_int8": (262, 0.94, "#8a94a6"),
        "baseline_float32": (1000, 0.95, blue),
    }
    front, limit = [line for line in axes.lines if len(line.get_xdata()) > 1][-2:]
    np.testing.assert_allclose(front.get_xydata(), [(60, 0.90), (255, 0.93), (260, 0.945), (1000, 0.95)])
    np.testing.assert_allclose(limit.get_ydata(), [0.94, 0.94])  # a point below the float file
    kept = {name: (x, y) for name, (x, y, _) in points.items() if name != "pruned_int8"}
    assert {text.get_text(): text.xy for text in axes.texts} == kept


def test_the_picture_spans_the_files_that_matter_and_its_labels_lie_apart(tmp_path, monkeypatch):
    figures = pictures.saved_figures(monkeypatch)
    crowd = [result(f"pruned_clustered_qat_int8_{number}", 0.94 + number / 2000, 250 + number) for number in range(8)]
    hopeless = [result("distilled_int8", 0.30, 60), result("distilled_float32", 0.32, 80)]
    results = [result("baseline_float32", 0.95, 1000), *crowd, *hopeless]
    budget = config.BudgetConfig(accuracy_points=1)
    compression_search.draw(results, compression_search.choose(results, budget), budget, tmp_path / "pareto.png")
    (axes,) = figures[0].axes
    assert axes.get_ylim()[0] > 0.9
    names = [text.get_text() for text in axes.texts]
    assert set(names) == {
        "baseline_float32",
        *(one.name for one in crowd),
        "distilled_int8 0.300",
        "distilled_float32 0.320",
    }
    renderer = figures[0].canvas.get_renderer()
    boxes = [Text.get_window_extent(text, renderer) for text in axes.texts]  # without the lines to the points
    pairs = itertools.combinations(zip(names, boxes, strict=True), 2)
    assert not [(name, other) for (name, box), (other, other_box) in pairs if box.overlaps(other_box)]


def test_hopeless_files_are_not_kept_and_the_reason_is_told():
    slow = dataclasses.replace(result("baseline_int16x8", 0.951, 270), time_ratio=19.2)
    results = [*RESULTS, slow, result("distilled_float32", 0.365, 50)]
    choice = compression_search.choose(results, config.BudgetConfig(accuracy_points=1), guess=0.1)
    assert choice.pareto == ("distilled_int8", "baseline_dynamic", "baseline_int8", "baseline_float32")
    assert choice.removed == {
        "baseline_int16x8": "it is 19 times as slow as the float file",
        "distilled_float32": "its accuracy of 0.365 is closer to guessing (0.100) than to the float file (0.950)",
        "pruned_int8": "baseline_int8 is not larger and more accurate",
    }
    # Nothing else has 55 kB, so it wins, and the sentence says what it is.
    choice = compression_search.choose(results, config.BudgetConfig(kilobytes=55), guess=0.1)
    assert choice.winner == "distilled_float32"
    assert "It is hardly of use: its accuracy of 0.365 is closer to guessing" in choice.reason
    assert choice.winner in choice.pareto


def examples(targets, task="single_label", labels=("a", "b", "c")):
    return data.Examples(np.asarray(targets), labels, np.zeros((len(targets), 1)), task=task)


def test_the_score_of_guessing_is_that_of_the_best_constant_answer():
    assert compression_search.guess_score(examples([0, 1, 1, 2])) == 0.5
    assert compression_search.guess_score(examples([[1.0, 0, 0], [1, 0, 1]], "multi_label")) == (1 + 1 + 0.5) / 3
    assert compression_search.guess_score(examples([[1.0, 2, 3], [2.0, 3, 4]], "regression")) == 0.0


def tiny_run(folder):
    """A run with a small untrained network for the digits, and its data."""
    split = data.digits(image_size=(8, 8), validation_fraction=0.2, test_fraction=0.0)
    inputs = keras.Input((8, 8, 3))
    logits = keras.layers.Dense(10)(keras.layers.Flatten()(keras.layers.Conv2D(4, 3, activation="relu")(inputs)))
    model = keras.Model(inputs, models.Labels(split.labels)(logits))
    return run_directory.Run(folder, config.load(), model), split


def test_a_candidate_that_fails_costs_that_one_and_its_reason_is_told(tmp_path, monkeypatch, caplog):
    def fail(trainer, model):
        raise RuntimeError("ran out of memory\nand more lines")

    monkeypatch.setitem(training_steps.STEPS, "prune", fail)
    run, split = tiny_run(tmp_path)
    settings = config.CompressConfig(budget={"accuracy_points": 1, "exhaustive": True})
    candidates = [compression_search.Candidate(steps, "float32") for steps in ((), ("prune",), ("prune", "cluster"))]
    candidates.append(compression_search.Candidate((), "dynamic"))
    monkeypatch.setattr(logging.getLogger("kerastrain"), "propagate", True)
    with caplog.at_level("INFO", "kerastrain"):
        results, skipped = compression_search.sweep(run, split, candidates, settings, tmp_path)
    assert [one.name for one in results] == ["baseline_float32", "baseline_dynamic"]
    assert skipped == dict.fromkeys(
        ["pruned_float32", "pruned_clustered_float32"], "it failed with RuntimeError: ran out of memory"
    )
    assert "candidate 4 of 4: baseline_dynamic" in caplog.text
    assert "of 4: pruned_clustered" not in caplog.text  # Nothing is announced that cannot begin.
    with pytest.raises(RuntimeError, match="ran out of memory"):  # without a budget, the steps were asked for
        compression_search.sweep(run, split, candidates[:2], config.CompressConfig(prune={}), tmp_path)


@pytest.mark.slow
def test_a_search_that_ran_out_of_time_and_disk_makes_what_one_without_a_break_makes(tmp_path, monkeypatch):
    run, split = tiny_run(tmp_path)
    kinds = [((), "float32"), ((), "int8"), (("prune",), "int8"), (("prune", "cluster"), "int8")]
    candidates = [compression_search.Candidate(*kind) for kind in kinds]
    epochs = {step: {"epochs": 1} for step in ("prune", "cluster")}

    def sweep(name, minutes=60):
        (tmp_path / name).mkdir(exist_ok=True)
        budget = {"accuracy_points": 0, "size": "gzip", "minutes": minutes}
        settings = config.CompressConfig(budget=budget, **epochs)
        results, skipped = compression_search.sweep(run, split, candidates, settings, tmp_path / name)
        return [dataclasses.replace(result, time_ratio=None, memory_ratio=None) for result in results], skipped

    monkeypatch.setattr(halving, "_FIRST_STEP", 20)  # The trainings here are short.
    results, skipped = sweep("cut", minutes=1e-4)
    assert [one.name for one in results] == ["baseline_float32"]
    assert skipped["pruned_int8"].startswith("not tried: ")
    assert skipped["pruned_int8"].endswith(" of budget.minutes=0.0001 are left")
    with monkeypatch.context() as patch:
        patch.setitem(training_steps.STEPS, "cluster", lambda *_: (_ for _ in ()).throw(OSError("full")))
        with pytest.raises(OSError, match="full"):
            sweep("cut")
    whole = sweep("whole")
    assert sweep("cut") == whole
    scores = Unfinished(tmp_path / "whole").record("halving")
    assert list(scores["pruned"]["scores"]) == ["0.5"]  # A quarter would be before the 20th step.
    assert Unfinished(tmp_path / "cut").record("halving") == scores


def test_a_training_that_will_not_fit_is_stopped_after_a_few_steps():
    pace = Pace(minutes=1.0)
    watch = Watch(pace, "prune", first_step=0, logs_lines=False)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    # The first step, which is traced, takes longer than the others; 10,000 of 10 ms are more than a minute.
    slow = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: time.sleep(0.01))
    model.fit(np.zeros((10_000, 1)), np.zeros((10_000, 1)), batch_size=1, verbose=0, callbacks=[slow, watch])
    assert watch.step_count == 5
    with pytest.raises(
        OutOfTime, match=r"^not tried: it takes about .* minutes, and [0-9]+ seconds of budget.minutes=1 are left$"
    ):
        raise watch.out_of_time


SETTINGS = config.CompressConfig(budget={"accuracy_points": 1}).model_dump(mode="json")
INPUTS = {"model": "1", "data": "2"}


def test_an_unfinished_compression_continues_with_its_own_settings_only(tmp_path):
    old = tmp_path / ".compressed.abcd1234.tmp"
    old.mkdir()
    with pytest.raises(RuntimeError), unfinished.opened(tmp_path, SETTINGS, INPUTS, keeps_on_error=True) as work:
        assert not old.exists()
        work.save("baseline_int8", {"name": "baseline_int8"})
        raise RuntimeError  # in place of a kill
    longer = {**SETTINGS, "budget": {**SETTINGS["budget"], "minutes": 5.0}, "threads": 4}
    with unfinished.opened(tmp_path, longer, INPUTS, keeps_on_error=True) as work:
        assert work.record("baseline_int8") == {"name": "baseline_int8"}
    other = {**SETTINGS, "budget": {**SETTINGS["budget"], "accuracy_points": 2.0}}
    sentence = (
        "a compression can only be resumed with the settings that it was started with. Received: "
        f"budget.accuracy_points=2.0 (in the unfinished one 1.0). Resume it with `kerastrain compress --resume {tmp_path}`, "
        f"or remove '{tmp_path}/compressed.unfinished' to start again."
    )
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
        unfinished.opened(tmp_path, other, INPUTS, keeps_on_error=True).__enter__()
    with pytest.raises(InputError, match="Received: another data than when it was started"):
        unfinished.opened(tmp_path, longer, {**INPUTS, "data": "3"}, keeps_on_error=True).__enter__()
    with (
        unfinished.opened(tmp_path, longer, INPUTS, keeps_on_error=True),
        pytest.raises(InputError, match="^another process is compressing in"),
    ):
        unfinished.opened(tmp_path, longer, INPUTS, keeps_on_error=True).__enter__()
    assert config.validate(unfinished.recorded_settings(tmp_path), config.CompressConfig).budget.minutes == 5.0


def test_a_compression_without_a_budget_that_cannot_be_made_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match="cannot"), unfinished.opened(tmp_path, SETTINGS, INPUTS, keeps_on_error=False):
        raise InputError("cannot")
    assert not list(tmp_path.iterdir())


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

    run = run_directory.Run(tmp_path, config.load(), model)
    settings = config.CompressConfig(budget={"accuracy_points": 1})
    candidates = (compression_search.Candidate((), "float32"), compression_search.Candidate((), "int8"))
    results, skipped = compression_search.sweep(run, split, candidates, settings, tmp_path)
    int8, mixed = results[1:]
    assert not skipped
    assert mixed.name == "baseline_int8_1_in_float"
    assert int8.validation.value < 0.5 < 0.9 < mixed.validation.value
    assert int8.size_bytes < mixed.size_bytes < results[0].size_bytes
    assert compression_search.choose(results, settings.budget).winner == mixed.name

    known, samples = Unfinished(tmp_path).record("calibrated"), run.config.export.samples
    assert compression_search.calibration_table(model, split, [known["count"]], samples=samples) == [known]
    marked = {**known, "agreement": 2.0}
    table = compression_search.calibration_table(model, split, [known["count"]], samples=samples, known=marked)
    assert table == [marked]  # It is not made again.


@pytest.mark.slow
def test_batch_norm_follows_the_layers_that_lose_weights_and_stays_where_they_are_frozen(tmp_path):
    whole = data.digits(image_size=(8, 8), validation_fraction=0.2, test_fraction=0.0)
    split = dataclasses.replace(whole, train=whole.train.subset(range(128)))
    x = inputs = keras.Input((8, 8, 3))
    for name in ("frozen", "learning"):
        x = keras.layers.Conv2D(8, 3, name=name, trainable=name == "learning")(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(name=f"{name}_norm", trainable=False)(x))
    logits = keras.layers.Dense(10)(keras.layers.Flatten()(x))
    model = keras.Model(inputs, models.Labels(split.labels)(logits))
    before = [weight.numpy() for weight in model.weights]
    settings = config.CompressConfig(**{step: {"epochs": 1} for step in ("prune_channels", "prune", "cluster")})
    trainer = Trainer(run_directory.Run(tmp_path, config.load(), model), split, settings, Unfinished(tmp_path))
    for step in ("prune_channels", "prune", "cluster"):
        made = trainer.model((step,))
        mean = made.get_layer("learning_norm").moving_mean
        assert np.abs(mean).max() > 1.0, step  # of pixels up to 255, from 0
        np.testing.assert_array_equal(made.get_layer("frozen_norm").moving_mean, np.zeros(8))
    assert not model.get_layer("learning_norm").trainable
    for now, then in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(now, then)
