import json

import pytest
import untrained
from PIL import Image

from kerastrain import recipe
from kerastrain.errors import InputError
from kerastrain.recipe import evaluating, inputs


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return untrained.images(tmp_path_factory.mktemp("run") / "run")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def photos(folder, colours, count=6):
    for name in colours:
        for number in range(count):
            (folder / name).mkdir(parents=True, exist_ok=True)
            colour = [value + number for value in untrained.COLOURS.get(name, (9, 9, 9))]
            Image.new("RGB", (8, 8), tuple(colour)).save(folder / name / f"{number}.png")
    return str(folder)


def test_one_broken_file_is_named_and_the_rest_is_measured(place, run):
    folder = photos(place / "more", ["red", "blue"])
    (place / "more/red/broken.png").write_text("no image")
    faults = []
    measures = evaluating.evaluate(run, {"more": folder, "gone": "nowhere"}, on_fault=faults.append)
    assert (list(measures), measures["more"]["count"], measures["more"]["accuracy"]) == (["more"], 12, 1.0)
    assert len(faults) == 2
    assert faults[0].startswith(f"more: skipped {folder}/red/broken.png: it is not one of")
    assert faults[1].startswith("gone: no data at 'nowhere'")


def test_more_broken_files_than_allowed_are_refused_unless_a_key_allows_them(place, run):
    folder = photos(place / "more", ["red", "blue"], count=3)
    for number in range(2):
        (place / f"more/red/broken{number}.png").write_text("no image")
    with pytest.raises(InputError, match="unreadable_fraction"):
        evaluating.evaluate(run, {"more": folder})
    allowed = inputs.override(run.config, ["data.unreadable_fraction=0.5"])
    assert evaluating.evaluate(run, {"more": folder}, config=allowed)["more"]["count"] == 6


@pytest.mark.parametrize("make", ["flat", "table", "one"])
def test_data_without_labels_are_answered_with_predict(place, run, make):
    photos(place / "flat/..", ["red"])
    if make == "table":
        (place / "t.csv").write_text("image\nred/0.png\nred/1.png\n")
    name = {"flat": "red", "table": "t.csv", "one": "red/0.png"}[make]
    with pytest.raises((InputError, OSError)) as error:
        evaluating.evaluate(run, {"x": name})
    assert f"To predict examples without labels: `kerastrain predict {run.directory} {name}`." in str(error.value)


def test_an_unknown_label_is_named(place, run):
    with pytest.raises(InputError, match=r"blue, green, red\. Unknown: white\."):
        evaluating.evaluate(run, {"x": photos(place / "x", ["red", "white"])})


def test_fewer_classes_are_enough(place, run):
    assert evaluating.evaluate(run, {"x": photos(place / "x", ["red"])})["x"]["accuracy"] == 1.0


def test_measures_of_other_data_are_not_replaced_under_the_same_name(place, tmp_path_factory):
    run = untrained.images(tmp_path_factory.mktemp("own") / "run")
    first, second = photos(place / "first", ["red", "blue"]), photos(place / "second", ["red", "green"])
    measure = lambda place, **options: evaluating.record(
        run, evaluating.evaluate(run, evaluating.check_names(run, [("new", place)], **options))
    )
    measure(first)
    path = run.directory / "evaluations/new.json"
    with pytest.raises(FileExistsError, match=rf"holds the measures of '{first}', and is not overwritten\. Choose"):
        measure(second)
    measure(first)  # of the same data
    assert json.loads(path.read_text())["data"]["path"] == first
    measure(second, replace=True)
    assert json.loads(path.read_text())["data"]["path"] == second


@pytest.mark.parametrize("names", [["a/b"], [".x"], ["x", "x"]])
def test_names_of_data_sets_are_names_of_files_and_differ(run, names):
    with pytest.raises(InputError, match="name of a file|different names"):
        evaluating.check_names(run, [(name, "data") for name in names])


def test_columns_are_refused_where_there_are_none(place, run):
    changed = inputs.override(run.config, ["data.columns.targets=class"])
    with pytest.raises(InputError, match="`data.columns` is for tables"):
        recipe.evaluate(run, {"x": photos(place / "x", ["red"])}, config=changed)
