"""The commands for a finished run, on runs that were never trained."""

import csv
import json

import commands
import pytest
import untrained
from PIL import Image


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a run of images, one of texts, photos and files of texts; each test adds files of other names."""
    place = tmp_path_factory.mktemp("finished")
    untrained.images(place / "images")
    untrained.texts(place / "texts")
    for folder, colour in (("day1", "red"), ("day2", "blue")):
        for number in range(6):
            (place / folder / colour).mkdir(parents=True, exist_ok=True)
            value = tuple(channel + number for channel in untrained.COLOURS[colour])
            Image.new("RGB", (8, 8), value).save(place / folder / colour / f"{number}.png")
    (place / "bad.png").write_text("no image")
    (place / "news.csv").write_text("title,text,label\nA,good,pos\nB,bad,neg\nC,,neg\n")
    return place


@pytest.fixture
def kerastrain(place, monkeypatch, capsys):
    """A function that runs a command, and returns what it prints and what it says on stderr."""
    monkeypatch.chdir(place)
    return commands.runner(monkeypatch, capsys)


def test_predict_goes_on_past_a_broken_file_with_exit_code_1(kerastrain):
    printed, said = kerastrain("predict", "images", "day1", "bad.png", "gone.png", "--top", "1", "--json", code=1)
    answers = json.loads(printed)
    assert [answer["input"] for answer in answers] == [f"day1/red/{number}.png" for number in range(6)]
    assert {name for answer in answers for name in answer["labels"]} == {"red"}
    assert "'day1': 6 images" in said
    assert "kerastrain: cannot read 'bad.png' as an image: it is not one of" in said
    assert "kerastrain: no image at 'gone.png': there is no such file." in said


def test_nothing_but_broken_files_ends_with_exit_code_2(kerastrain, place):
    for arguments in (["predict", "images", "bad.png"], ["explain", "images", "bad.png", "--out", "no"]):
        _, said = kerastrain(*arguments, code=2)
        assert said.count("cannot read 'bad.png'") == 1
    kerastrain("predict", "images", "bad.png", "--out", "no.csv", code=2)
    assert not (place / "no.csv").exists()
    assert not (place / "no").exists()


def test_predict_reads_the_rows_of_a_table_and_names_them(kerastrain):
    printed, said = kerastrain("predict", "texts", "news.csv", "so good", "--json", "--top", "1", code=1)
    found = [(answer["input"], answer.get("row")) for answer in json.loads(printed)]
    assert found == [("good", "line 2 of 'news.csv'"), ("bad", "line 3 of 'news.csv'"), ("so good", None)]
    assert "kerastrain: line 4 of 'news.csv': column 'text' is empty." in said
    printed, _ = kerastrain("predict", "texts", "data.path=news.csv", "data.columns.input=title", "--json")
    assert [answer["input"] for answer in json.loads(printed)] == ["A", "B", "C"]


def test_the_name_of_a_missing_file_is_not_classified(kerastrain):
    _, said = kerastrain("predict", "texts", "nwes.csv", code=2)
    assert said == "kerastrain: there is no file 'nwes.csv'. To classify these characters as a text, use --text.\n"
    printed, _ = kerastrain("predict", "texts", "--text", "nwes.csv", "-", "--json", stdin="one\ntwo\n")
    assert [answer["input"] for answer in json.loads(printed)] == ["nwes.csv", "one", "two"]


def test_predict_writes_a_table_and_does_not_replace_it(kerastrain, place):
    printed, _ = kerastrain("predict", "images", "day1", "day2/blue/0.png", "--out", "table.csv")
    assert printed.endswith("7 predictions written to table.csv\n")
    rows = list(csv.DictReader((place / "table.csv").open()))
    assert [row["prediction"] for row in rows] == ["red"] * 6 + ["blue"]
    assert sum(float(rows[0][f"probability_{name}"]) for name in ("blue", "green", "red")) == pytest.approx(1)
    _, said = kerastrain("predict", "images", "day1", "--out", "table.csv", code=2)
    assert "'table.csv' exists already and is not overwritten" in said
    kerastrain("predict", "images", "day2", "--out", "table.csv", "--replace")
    assert {row["prediction"] for row in csv.DictReader((place / "table.csv").open())} == {"blue"}
    assert (
        "--out must name a .csv or .jsonl file, or be -"
        in kerastrain("predict", "images", "day1", "--out", "x.json", code=2)[1]
    )


@pytest.mark.slow
def test_explain_keeps_pictures_of_equal_names_apart(kerastrain, place):
    arguments = ["explain", "images", "day1/red/0.png", "day2/blue/0.png", "--method", "saliency", "--out", "pictures"]
    printed, said = kerastrain(*arguments, "bad.png", code=1)
    assert printed.splitlines()[-2:] == ["pictures/red_0_saliency.png", "pictures/blue_0_saliency.png"]
    assert "cannot read 'bad.png'" in said
    assert "exists already and is not overwritten. Use --replace, or --out" in kerastrain(*arguments, code=2)[1]
    kerastrain(*arguments, "--replace")
    assert "unknown method 'gradcan'" in kerastrain("explain", "images", "bad.png", "--method", "gradcan", code=2)[1]


@pytest.mark.slow
def test_explain_prints_which_words_of_texts_speak_for_and_against(kerastrain, place):
    (place / "films.txt").write_text("good film\n\nbad one\n")
    printed, said = kerastrain("explain", "texts", "films.txt", "--text", "so good", "--label", "pos")
    lines = printed.splitlines()
    assert lines[0].startswith("pos 9")
    assert lines[0].endswith("%: so good")
    assert [line.split(" +")[0] for line in lines[1:3]] == ["  for     good", "  against -"]
    assert lines[3].startswith(
        "  occlusion, because a word is part of many n-grams, whose weights depend on each other: a "
    )
    assert lines[4].startswith("  without the word that speaks most for the answer 2")
    assert lines[5].startswith("line 1 of 'films.txt': pos 9")
    assert lines[-1] == "3 texts explained in texts/explanations/texts.html"
    assert "explaining 3 texts by occlusion, because a word is part of many n-grams" in said
    assert "\x1b" not in printed
    records = [json.loads(line) for line in (place / "texts/explanations/texts.jsonl").read_text().splitlines()]
    assert [(record["input"], record.get("row"), record["label"]) for record in records] == [
        ("so good", None, "pos"),
        ("good film", "line 1 of 'films.txt'", "pos"),
        ("bad one", "line 3 of 'films.txt'", "pos"),
    ]
    assert [word["word"] for word in records[0]["words"]] == ["so", "good"]
    assert records[0]["words"][1]["value"] > 1 > abs(records[0]["words"][0]["value"])
    kerastrain("explain", "texts", "--text", "so good", "--label", "pos")  # joins the others, once
    assert len((place / "texts/explanations/texts.jsonl").read_text().splitlines()) == 3
    assert 'class="explained"' in (place / "texts/report.html").read_text()

    printed, _ = kerastrain(
        "explain", "texts", "--text", "so good", "--out", "words", "--method", "integrated_gradients"
    )
    [record] = [json.loads(line) for line in (place / "words/texts.jsonl").read_text().splitlines()]
    complete, total = record["completeness"], sum(word["value"] for word in record["words"])
    assert (record["method"], complete["reached"], "reason" in record) == ("integrated_gradients", True, False)
    assert complete["total"] == pytest.approx(total) == pytest.approx(complete["difference"], abs=1e-3)
    sentence = (
        f"integrated gradients: the values add up to {total:+.2f}: the log-odds of the text less those of one whose"
    )
    assert f"  {sentence} embeddings are zeros (8 steps)" in printed
    assert f"I{sentence[1:]} embeddings are zeros (8 steps)." in (place / "words/texts.html").read_text()
    again = ["explain", "texts", "--text", "so good", "--out", "words"]
    assert "'words/texts.html' exists already and is not overwritten" in kerastrain(*again, code=2)[1]
    kerastrain(*again, "--replace")
    assert "'films.txt' is a file. Give a folder" in kerastrain(*again[:-1], "films.txt", code=2)[1]
    for option, sentence in (
        (["--method", "gradcam"], "unknown method for texts 'gradcam'. Known: auto, integrated_gradients, occlusion."),
        (["--label", "pso"], "unknown label 'pso'. Known: neg, pos. Did you mean 'pos'?"),
        (["--pair", "x"], "--pair is only for a run of pairs of texts"),
    ):
        printed, said = kerastrain("explain", "texts", "--text", "so good", *option, code=2)
        assert (printed, sentence in said) == ("", True), said


def test_evaluate_takes_the_keys_of_the_data_and_names_what_it_skips(kerastrain, place):
    (place / "mixed").mkdir()
    for folder, colour in (("day1", "red"), ("day2", "blue")):
        (place / "mixed" / colour).symlink_to(place / folder / colour)
    (place / "mixed/green").mkdir()
    (place / "mixed/green/broken.png").write_text("no image")
    assert "unreadable_fraction" in kerastrain("evaluate", "images", "mixed", "data.unreadable_fraction=0", code=2)[1]
    printed, said = kerastrain("evaluate", "images", "data.path=mixed", code=1)
    assert "mixed: 12 examples, accuracy 1.0000" in printed
    assert "kerastrain: mixed: skipped mixed/green/broken.png: it is not one of" in said
    record = json.loads((place / "images/evaluations/mixed.json").read_text())
    assert (record["count"], record["data"]["path"]) == (12, str(place / "mixed"))
    _, said = kerastrain("evaluate", "images", "--data", "mixed=day1", code=2)
    assert "'images/evaluations/mixed.json' holds the measures of" in said
    assert "Write --data field=day1." in kerastrain("evaluate", "images", "field=day1", code=2)[1]
    assert "Received: 'a' twice" in kerastrain("evaluate", "images", "--data", "a=x", "--data", "a=y", code=2)[1]


@pytest.mark.parametrize("run", ["images/model.keras", "images/config.yaml"])
def test_a_file_of_a_run_stands_for_the_run(kerastrain, run):
    assert json.loads(kerastrain("predict", run, "day1/red/0.png", "--json")[0])


@pytest.mark.parametrize(
    ("override", "answer"),
    [
        ("columns.input=title", "Did you mean 'data.columns.input'"),
        ("data.columns.inptu=title", "Did you mean 'input'"),
        ("data.kind=images", "`data.kind` belongs to the trained model"),
        ("fit.epochs=3", "`fit.epochs` belongs to the trained model"),
    ],
)
def test_a_wrong_key_is_answered_before_tensorflow_starts(kerastrain, override, answer):
    for command in ("predict", "evaluate"):
        _, said = kerastrain(command, "texts", "news.csv", override, code=2)
        assert answer in said


def test_predict_without_an_input_says_what_to_give(kerastrain):
    assert "give at least one input" in kerastrain("predict", "texts", code=2)[1]


def test_check_refuses_what_training_further_would(kerastrain):
    _, said = kerastrain("check", "--from", "images", "data.path=day1", "model.hidden_units=[8]", code=2)
    assert "`model.hidden_units` must be that of the run to start from" in said
