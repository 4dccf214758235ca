import math
import re

import keras
import numpy as np
import pytest

from kerastrain import compress, compression_search, config
from kerastrain.compression_search import Candidate
from kerastrain.compression_search.halving import Contest, FellBehind, Rungs
from kerastrain.compression_search.prospects import Prospects
from kerastrain.compression_search.unfinished import Unfinished

PARAMETERS = {(): 1_000_000, ("distill",): 200_000, ("prune_channels",): 600_000}


def result(name, validation, size, gzip):
    score = compression_search.Score(validation, validation - 0.02, validation + 0.02, 400)
    sizes = {"size_bytes": size, "gzip_bytes": gzip}
    return compression_search.CandidateResult(name, f"{name}.tflite", (), "accuracy", score, None, 0.0, **sizes)


FLOAT = result("baseline_float32", 0.9, 4_100_000, 3_700_000)
INT8 = result("baseline_int8", 0.89, 1_100_000, 900_000)


def prospects(**budget):
    return Prospects(config.BudgetConfig(**budget), PARAMETERS.get, zeros_fraction=0.8, clusters=16, guess=0.1)


@pytest.mark.parametrize(
    ("steps", "quantize", "size"),
    [
        (("prune",), "float32", 4_100_000),
        (("quantize_aware",), "int8", 1_100_000),
        ((), "int16x8", 1_100_000),
        (("prune_channels", "prune"), "int8", 0.9 * (1_100_000 - 400_000)),
        (("prune_channels",), "float32", 0.9 * (4_100_000 - 4 * 400_000)),
        (("distill",), "int8", 200_000),
        ((), "float16", None),  # without a file of this format, nothing is known
    ],
)
def test_the_size_of_a_file_follows_from_the_file_of_its_format_and_the_parameters(steps, quantize, size):
    assert prospects(accuracy_points=1).size(Candidate(steps, quantize), [FLOAT, INT8]) == size


def test_zeros_and_shared_values_count_after_gzip_only():
    by_gzip = prospects(accuracy_points=1, size="gzip")
    bits = 8 * 900_000 / 1_100_000
    entropy = -0.8 * math.log2(0.8) - 0.2 * math.log2(0.2)
    pruned, clustered, both = (
        by_gzip.size(Candidate(steps, "int8"), [FLOAT, INT8])
        for steps in (("prune",), ("cluster",), ("prune", "cluster"))
    )
    assert pruned == pytest.approx(900_000 * 0.7 * (entropy + 0.2 * bits) / bits)
    assert clustered == pytest.approx(900_000 * 0.7 * 4 / bits)
    assert both == pytest.approx(900_000 * 0.7 * (entropy + 0.2 * 4) / bits)


def test_what_cannot_win_is_told_and_what_may_win_is_tried():
    points = prospects(accuracy_points=1.5)
    assert points.why_not(Candidate(("prune",), "int8"), [FLOAT, INT8]) == (
        "cannot win: its file would have at least about 1,100 kB, and baseline_int8 with 1,100 is within the budget"
    )
    assert not points.why_not(Candidate(("prune_channels",), "int8"), [FLOAT, INT8])
    assert not prospects(accuracy_points=0.5).why_not(Candidate(("prune",), "int8"), [FLOAT, INT8])
    assert not prospects(accuracy_points=1.5, size="gzip").why_not(Candidate(("prune",), "int8"), [FLOAT, INT8])
    hopeless = result("distilled_int8", 0.45, 200_000, 150_000)  # of no use, though it is within 50 points
    assert not prospects(accuracy_points=50).why_not(Candidate(("prune_channels",), "int8"), [FLOAT, hopeless])

    size = prospects(kilobytes=1200)
    assert size.why_not(Candidate(("prune",), "float32"), [FLOAT, INT8]) == (
        "cannot win: its file would have about 4,100 kB"
    )
    assert not size.why_not(Candidate(("prune",), "int8"), [FLOAT, INT8])
    equal = result("qat_int8", 0.9, 1_100_000, 900_000)
    assert size.why_not(Candidate(("prune",), "int8"), [FLOAT, INT8, equal]) == (
        "not needed: qat_int8 is within the budget and as accurate as the float file"
    )


def test_the_parameters_that_channel_pruning_leaves_are_known_before_it_trains():
    x = inputs = keras.Input((8, 8, 3))
    for filters in (32, 64):
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(keras.layers.Conv2D(filters, 3)(x)))
    model = keras.Model(inputs, keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(x)))
    counted = compress.remaining_parameters(model, 0.5)
    # The same count by hand, from the channels that remain: 16 of 32 and 48 of 64.
    convolutions = 3 * 9 * 16 + 16 + 16 * 9 * 48 + 48
    assert counted == convolutions + 4 * (16 + 48) + 48 * 4 + 4
    assert counted < model.count_params()


def contest(folder, sizes=(("prune", 100.0), ("cluster", 100.0), ("distill", 50.0), ("quantize_aware", 100.0))):
    sizes = {(step,): (size, 40.0 if step == "quantize_aware" else size) for step, size in sizes}
    limits = {"reference": 0.9, "required": 0.88, "guess": 0.1}
    return Contest(Unfinished(folder), **limits, sizes=sizes.__getitem__)


def test_a_training_far_from_the_budget_is_stopped_also_after_an_interruption(tmp_path):
    one = contest(tmp_path)
    assert one.rungs("distilled", 100) == {25: 0.25, 50: 0.5}
    assert one.rungs("distilled", 60) == {30: 0.5}  # A quarter would be too early.
    assert one.rungs("pruned", 100) == {50: 0.5}
    one.add(("distill",), 0.25, 0.2, done="25 of 100 steps")
    assert one.rungs("distilled", 100) == {50: 0.5}
    sentence = "stopped after 50 of 100 steps: its score of 0.450 is 43.0 points below the budget and far from it"
    with pytest.raises(FellBehind, match=f"^{re.escape(sentence)}$"):
        one.add(("distill",), 0.5, 0.45, done="50 of 100 steps")
    with pytest.raises(FellBehind, match=f"^{re.escape(sentence)}$"):
        contest(tmp_path).require_not_stopped("distilled")
    contest(tmp_path).require_not_stopped("pruned")


def test_the_worse_half_is_stopped_but_not_for_a_larger_file_nor_within_the_budget(tmp_path):
    one = contest(tmp_path)
    one.add(("prune",), 0.5, 0.85, done="50 of 100 steps")
    one.add(("distill",), 0.5, 0.7, done="50 of 100 steps")  # smaller than the one that is better
    with pytest.raises(FellBehind, match="and 2 of 2 other trainings were better there$"):
        contest(tmp_path).add(("cluster",), 0.5, 0.6, done="50 of 100 steps")
    one.add(("quantize_aware",), 0.5, 0.6, done="50 of 100 steps")  # leads to a smaller file than all others
    (tmp_path / "records/halving.json").unlink()
    one.add(("prune",), 0.5, 0.89, done="50 of 100 steps")
    one.add(("cluster",), 0.5, 0.88, done="50 of 100 steps")  # worse, and within the budget


def test_a_training_is_measured_at_its_rungs_and_ends_where_it_falls_behind(tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    measured = iter([0.5, 0.2])
    weights = []

    def score(given):
        weights.append(given.get_weights()[0].item())
        return next(measured)

    rungs = Rungs(contest(tmp_path), ("prune",), score, first_step=0)
    ones = np.ones((200, 1))
    with pytest.raises(FellBehind, match="^stopped after 100 of 200 steps: "):
        model.fit(ones, 2 * ones, batch_size=1, shuffle=False, verbose=0, callbacks=[rungs])
    assert len(set(weights)) == 2
    assert model.optimizer.iterations == 100
    assert Unfinished(tmp_path).record("halving")["pruned"]["scores"] == {"0.25": 0.5, "0.5": 0.2}
