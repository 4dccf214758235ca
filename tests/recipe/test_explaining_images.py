import json

import numpy as np
import pytest
import untrained

from kerastrain import recipe
from kerastrain.errors import InputError
from kerastrain.recipe.inputs import Input
from kerastrain.recipe.picture_names import picture_names


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return untrained.made_once(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["cat.jpg", "dog.png"], ["cat", "dog"]),
        (["day1/0.png", "day2/0.png", "cat.jpg"], ["day1_0", "day2_0", "cat"]),
        (["/a/x/0.png", "/b/x/0.png"], ["a_x_0", "b_x_0"]),
        (["/d/cat.jpg", "/d/cat.png"], ["cat_jpg", "cat_png"]),
        (["/a_b/0.png", "/a/b/0.png", "/c/0.png"], ["a_b_0", "b_0", "c_0"]),
        (["/a_b/0.png", "/a/b/0.png", "/x/a/b/0.png"], ["a_b_0", "a_b_0_2", "x_a_b_0"]),
        (["/d/Cat.jpg", "/e/cat.jpg"], ["d_Cat", "e_cat"]),
    ],
)
def test_every_picture_has_a_name_of_its_own(paths, names):
    assert picture_names(paths) == names


def test_pictures_of_equal_names_are_kept_apart_and_none_is_replaced(place, runs):
    paths = [untrained.picture(place / "day1/0.png", "red"), untrained.picture(place / "day2/0.png", "blue")]
    drawn = lambda **options: [
        path.name
        for path in recipe.explain_images(runs(), paths, method="saliency", score=0, out=place / "out", **options)
    ]
    assert drawn() == ["day1_0_saliency.png", "day2_0_saliency.png"]
    before = {path.name: path.read_bytes() for path in (place / "out").glob("*.png")}
    assert before["day1_0_saliency.png"] != before["day2_0_saliency.png"]
    with pytest.raises(FileExistsError, match="day1_0_saliency.png' and 1 more exists already and is not overwritten"):
        drawn()
    assert drawn(label="green") == ["day1_0_saliency_green.png", "day2_0_saliency_green.png"]
    assert drawn(replace=True) == ["day1_0_saliency.png", "day2_0_saliency.png"]
    assert {path.name: path.read_bytes() for path in (place / "out").iterdir()}.items() >= before.items()
    assert not (runs().directory / "explanations").exists()


def test_a_broken_image_costs_only_its_own_picture(place, runs):
    path = untrained.picture(place / "one.png", "red")
    (place / "bad.png").write_bytes(b"")
    faults = []
    drawn = list(
        recipe.explain_images(
            runs(task="multi_label"),
            ["bad.png", path, path],
            label="green",
            method="saliency",
            score=0,
            out=place / "out",
            on_fault=faults.append,
        )
    )
    assert [item.name for item in drawn] == ["one_saliency_green.png"]
    assert faults == ["cannot read 'bad.png' as an image: the file is empty."]


def index(folder):
    return json.loads((folder / "index.json").read_text())


def test_the_index_says_what_each_picture_shows(place, runs):
    paths = [untrained.picture(place / "red" / "0.png", "red"), untrained.picture(place / "x.png", "green")]
    notes = []
    inputs = [paths[0], Input(str(paths[1]), "line 2 of 'a.csv'", target="blue")]
    drawn = list(
        recipe.explain_images(runs(), inputs, method="occlusion", score=1, out=place / "out", on_note=notes.append)
    )
    content = index(place / "out")
    first, second = content["explanations"]
    assert [first["file"], second["file"]] == [path.name for path in drawn] == ["0_occlusion.png", "x_occlusion.png"]
    assert (first["input"], first["row"], first["true"]) == (str(paths[0]), "", "red")
    assert (second["row"], second["true"]) == ("line 2 of 'a.csv'", "blue")
    predictions = [item.scores[0] for item in recipe.predict(runs(), paths, top=1)]
    assert [(item["predicted"], item["explained"]) for item in (first, second)] == [
        (one, one) for one, _ in predictions
    ]
    np.testing.assert_allclose(
        [item["probability"] for item in (first, second)], [value for _, value in predictions], rtol=1e-5
    )
    assert (first["method"], first["reason"]) == ("occlusion", "it was asked for.")
    assert set(first["scores"]) == {"deletion", "insertion", "random_deletion", "random_insertion"}
    assert second["scores"] is None
    summary = content["methods"]["occlusion"]
    assert (summary["images"], summary["sanity"]["shares"]) == (1, [0.25, 0.5, 0.75, 1.0])
    assert summary["deletion"] == first["scores"]["deletion"]
    assert content["sheets"] == ["contact_sheet_occlusion.png"]
    assert (place / "out" / "contact_sheet_occlusion.png").is_file()
    assert [note.split(" ")[0] for note in notes] == ["method", "deletion", "rank", "contact"]


def test_a_picture_of_another_image_is_never_replaced(place, runs):
    first, second = untrained.picture(place / "day1/0.png", "red"), untrained.picture(place / "day2/0.png", "blue")

    def drawn(path, **options):
        options = {"method": "saliency", "score": 0, "out": place / "out", **options}
        return [item.name for item in recipe.explain_images(runs(), [path], **options)]

    assert drawn(first) == ["0_saliency.png"]
    before = (place / "out/0_saliency.png").read_bytes()
    assert drawn(second, replace=True) == ["0_saliency_2.png"]
    assert (place / "out/0_saliency.png").read_bytes() == before
    assert drawn(second, replace=True) == ["0_saliency_2.png"]
    with pytest.raises(FileExistsError, match="0_saliency_2.png' exists already"):
        drawn(second)
    assert sorted(item["input"] for item in index(place / "out")["explanations"]) == [str(first), str(second)]
    assert len(index(place / "out")["sheets"]) == 3


def test_the_numbers_of_a_regression_are_explained_without_probabilities(place, runs):
    path, notes = untrained.picture(place / "red" / "x.png", "red"), []
    run = runs(task="regression", labels=["price", "red"])
    list(recipe.explain_images(run, [path], label="red", score=2, out=place / "out", on_note=notes.append))
    [item] = index(place / "out")["explanations"]
    [prediction] = recipe.predict(run, [path])
    assert (item["predicted"], item["probability"], item["true"], item["scores"]) == ("red", None, None, None)
    assert item["number"] == pytest.approx(dict(prediction.scores)["red"], rel=1e-4)
    assert not any(note.startswith("deletion") for note in notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "gradcan"}, "unknown method 'gradcan'.*Did you mean 'gradcam'"),
        ({"label": "gren"}, "Did you mean 'green'"),
        ({"score": -1}, "`score` must be at least 0. Received: -1"),
        ({"layer": "convolution"}, "unknown feature map layer|unknown layer|has none"),
        ({"method": "saliency", "layer": "x"}, "`layer` names feature maps"),
    ],
)
def test_what_cannot_be_explained_is_refused_before_a_picture_is_drawn(place, runs, options, message):
    with pytest.raises(InputError, match=message):
        list(recipe.explain_images(runs(), [untrained.picture(place / "x.png", "red")], out=place / "out", **options))
    assert not (place / "out").exists()


def test_a_damaged_index_is_named(place, runs):
    (place / "out").mkdir()
    (place / "out/index.json").write_text("{")
    with pytest.raises(InputError, match="index.json' is damaged"):
        list(
            recipe.explain_images(
                runs(), [untrained.picture(place / "x.png", "red")], method="saliency", out=place / "out"
            )
        )
