import numpy as np
import pytest
import rich.console
from scipy import stats

from kerastrain.evaluation import measuring, slices, tables
from kerastrain.evaluation.predictions import Predictions


def printed(renderable):
    console = rich.console.Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(renderable)
    return console.export_text()


def predicted(count=400, worse="<b>old</b>", wrong=(0.1, 0.4), seed=0, **columns):
    random = np.random.default_rng(seed)
    cameras = random.choice(["new", worse, "(missing)"], count, p=[0.6, 0.3, 0.1])
    targets = random.integers(0, 3, count)
    is_wrong = random.random(count) < np.where(cameras == worse, wrong[1], wrong[0])
    answers = np.where(is_wrong, (targets + 1) % 3, targets)
    return Predictions(
        targets, np.eye(3)[answers] * 5, ("a", "b", "c"), "single_label", slices={"camera": cameras} | columns
    )


def test_the_slice_with_more_mistakes_is_found_by_an_exact_test():
    predictions = predicted()
    found = slices.measure(predictions)
    first, *others = found
    assert (first["by"], first["value"], first["worse"]) == ("camera", "<b>old</b>", True)
    assert [row["worse"] for row in others] == [False, False]
    inside = predictions.slices["camera"] == "<b>old</b>"
    correct = predictions.outputs.argmax(axis=1) == predictions.targets
    assert (first["count"], first["accuracy"], first["rest"]) == (
        inside.sum(),
        pytest.approx(correct[inside].mean()),
        pytest.approx(correct[~inside].mean()),
    )
    table = [[(~correct & rows).sum(), (correct & rows).sum()] for rows in (inside, ~inside)]
    single = stats.fisher_exact(table, alternative="greater").pvalue
    assert first["p"] == pytest.approx(3 * single)  # Holm: the smallest of three
    low, high = first["interval"]
    assert low < first["accuracy"] < high < first["rest"]
    shown = printed(tables.table(measuring.measures(predictions), title="test"))
    assert "Worse than the rest, by more than chance" in shown
    assert "<b>old</b>" in shown


def test_chance_is_rarely_called_a_worse_slice():
    alarms = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        columns = {f"column {number}": random.choice(list("abcdef"), 300) for number in range(5)}
        predictions = predicted(300, wrong=(0.2, 0.2), seed=seed, **columns)
        alarms += any(row["worse"] for row in slices.measure(predictions))
    assert alarms <= 3  # 15 if each slice were tested alone
    shown = printed(tables.table(measuring.measures(predicted(wrong=(0.2, 0.2)))))
    assert "Worse" not in shown


def test_numbers_are_divided_into_quarters_and_named_by_their_range():
    ages = np.arange(400)
    rooms = np.arange(400) % 3
    found = slices.measure(
        predicted(
            age=np.where(ages < 390, ages.astype(str), "(missing)"), room=rooms.astype(str), name=ages.astype(str) + "x"
        )
    )
    by_age = {row["value"]: row["count"] for row in found if row["by"] == "age"}
    assert by_age == {"0 to 97": 98, "98 to 194": 97, "195 to 291": 97, "292 to 389": 98, "(missing)": 10}
    assert {row["value"] for row in found if row["by"] == "room"} == {"0", "1", "2"}
    assert not [row for row in found if row["by"] == "name"]  # each value has one example


def test_properties_are_divided_into_quarters_and_a_constant_into_none():
    brightness = np.linspace(0, 255, 400)
    predictions = predicted()
    targets, outputs = predictions.targets, predictions.outputs.copy()
    outputs[:100] = np.eye(3)[(targets[:100] + 1) % 3]  # the dark ones are all wrong
    properties = {"brightness": brightness, "aspect ratio": np.ones(400), "broken": np.full(400, np.nan)}
    found = slices.measure(Predictions(targets, outputs, "abc", "single_label", properties=properties))
    assert [(row["by"], row["value"], row["worse"]) for row in found][0] == ("brightness", "0 to 63.27", True)
    assert [row["by"] for row in found] == ["brightness"] * 4


@pytest.mark.parametrize("task", ["regression", "multi_label"])
def test_slices_of_other_tasks_are_tested_by_ranks(task):
    random = np.random.default_rng(0)
    sites = random.choice(["north", "south"], 600)
    noise = random.normal(size=(600, 2)) * np.where(sites == "south", 3, 1)[:, np.newaxis]
    if task == "regression":
        targets = random.normal(size=(600, 2)) * [1, 100]
        outputs = targets + noise * [1, 100]
        scores = (np.abs(outputs - targets).astype("float32") / targets.astype("float32").std(axis=0)).mean(axis=1)
    else:
        targets = random.integers(0, 2, (600, 2))
        outputs = targets * 2 - 1 + noise
        scores = ((outputs >= 0) == targets).mean(axis=1)
    found = slices.measure(Predictions(targets, outputs, ("x", "y"), task, slices={"site": sites}))
    worst, name = found[0], "error" if task == "regression" else "accuracy"
    assert (worst["value"], worst["worse"], found[1]["worse"]) == ("south", True, False)
    inside = sites == "south"
    assert worst[name] == pytest.approx(scores[inside].mean(), rel=1e-4)
    side = "greater" if task == "regression" else "less"
    expected = stats.mannwhitneyu(scores[inside], scores[~inside], alternative=side).pvalue
    assert worst["p"] == pytest.approx(2 * expected, rel=1e-2)
    assert worst["interval"][0] < worst[name] < worst["interval"][1]


def test_predictions_without_slices_have_none():
    assert "slices" not in measuring.measures(Predictions(np.array([0, 1]), np.eye(2), "ab", "single_label"))
    few = measuring.measures(predicted(4))
    assert few["slices"] == []
