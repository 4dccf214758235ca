import base64
import html
import io
import re

import numpy as np
import PIL.Image
import report_run

from kerastrain import report
from kerastrain.report import charts, confusion, data_views, measure_views, training_views
from kerastrain.system import files

HISTORY = [
    {
        "phase": "head",
        "epoch": "1",
        "seconds": "2",
        "loss": "1.9",
        "data_loss": "1.9",
        "val_loss": "nan",
        "learning_rate": "0",
    },
    {
        "phase": "fine_tune",
        "epoch": "1",
        "seconds": "3",
        "loss": "1.07",
        "data_loss": "0.29",
        "val_loss": "",
        "learning_rate": "",
    },
]


def page(folder):
    return report.write(folder).read_text(encoding="utf-8")


def words(text):
    return " ".join(html.unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", text, flags=re.DOTALL)).split())


def test_every_file_of_a_run_has_its_words(tmp_path):
    files.write_bytes(tmp_path / "secret.png", secret := report_run.picture(9, 9))
    text = page(report_run.write(tmp_path / "run"))
    assert "<script" not in text
    assert base64.b64encode(secret).decode() not in text, "only pictures of the run are shown"
    shown = words(text)
    for sentence in (
        "overfitting , validation, 90% sure: gap 0.3",
        "Try fit.epochs=20 :",
        "Checked without a finding: leakage,",
        "validation accuracy",
        "95 % interval",
        "penalties on weights, 0.78 in the last epoch",
        "Training images as the model gets them, augmented",
        "Temperature 1.3",
        "validation accuracy 90.0% 90.0%",
        "validation accepted 100.0% 80.0%",
        "9 of 60 examples of the test part are wrong.",
        "probability 0.99 , loss 4.5",
        "Label error: 4",
        "Of the examples 3 to leave out: data_check/proposals.csv.",
        "proposed b, proposal look",
        "Checked without a finding: blurred.",
        "predicted b 70.0%, true",
        "gradcam 1 0.2 – 0.7 – 0.1",
        "All others p",
        "float32 123 kB 65.4 kB 4.2 ms 100.0%",
        "the seed is 7",
    ):
        assert sentence.replace(" ,", ",") in shown.replace(" ,", ","), sentence
    assert text.count("background") > 3
    assert 'class="alarm"' in text


def test_a_slice_that_is_worse_comes_first():
    better, worse = (
        {"by": "site", "value": "a", "accuracy": 0.9, "p": 0.5},
        {"by": "site", "value": "b", "accuracy": 0.2},
    )
    rows = measure_views._slices({"slices": [better, {**worse, "p": 0.01, "worse": True, "interval": [0.1, 0.3]}]})
    assert [(row["value"], row["score"], row["interval"]) for row in rows] == [
        ("b", "20.0%", "10.0% to 30.0%"),
        ("a", "90.0%", ""),
    ]


def test_the_loss_is_drawn_with_and_without_penalties():
    titles = dict(training_views.panels(HISTORY))
    assert list(titles) == ["loss", "learning rate"]
    loss = words(titles["loss"])
    assert "training, with penalties on weights" in loss
    assert "fine_tune epoch 1: 0.29" in loss
    assert "fine_tune epoch 1: 1.07" in loss
    assert round(training_views.summary(HISTORY)["penalty"], 6) == 0.78
    equal = [{**row, "data_loss": row["loss"]} for row in HISTORY]
    assert "penalties" not in words(dict(training_views.panels(equal))["loss"])
    assert training_views.summary(equal)["penalty"] is None


def test_a_training_of_one_epoch_is_a_point():
    drawn = dict(training_views.panels(HISTORY[:1]))["loss"]
    assert drawn.count("<circle") == 1
    assert 'r="3.5"' in drawn
    assert "M" not in re.findall(r'<path d="([^"]*)" class="line', drawn)


def test_a_chart_puts_numbers_at_their_places():
    drawn = charts.lines(
        [charts.Line("<a>", [0, 1, 2, 3], [0, 1, None, 0.5]), charts.Line("b", [], [])],
        x_title="x",
        y_title="y",
        x_range=(0, 4),
        y_range=(0, 1),
    )
    places = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', drawn)
    left, right, top, bottom = 46, 332, 16, 174
    step = (right - left) / 4
    expected = [(left, bottom), (left + step, top), (left + 3 * step, (top + bottom) / 2)]
    assert np.allclose(np.array(places, float), expected, atol=0.06)
    assert len(re.findall(r'class="line ', drawn)) == 1, "there is a gap after the second point"
    assert re.findall(r"<text[^>]*>([\d.]+)</text>", drawn) == [
        "0",
        "0.2",
        "0.4",
        "0.6",
        "0.8",
        "1",
        "0",
        "1",
        "2",
        "3",
        "4",
    ]
    assert "<a>" not in drawn
    assert charts.lines([charts.Line("", [1], [None])], x_title="", y_title="") == ""


def test_classes_that_are_confused_are_neighbours():
    labels = [f"c{number}" for number in range(40)]
    counts = np.diag(np.full(40, 5))
    for row, column in ((0, 39), (7, 20), (20, 7)):
        counts[row, column] = 4
    view = confusion.view(counts, labels)
    order = [view["labels"].index(name) for name in ("c0", "c39", "c7", "c20")]
    assert abs(order[0] - order[1]) == abs(order[2] - order[3]) == 1
    assert view["sorted"]
    assert view["mistakes"][0] == (4, "c0", "c39", 4 / 9)
    assert view["picture"].count("<rect") == 43
    few = confusion.view([[3, 1], [0, 2]], ["b", "a"])
    assert few["rows"] == [[(3, 0.75), (1, 0.25)], [(0, 0.0), (2, 1.0)]]
    assert few["labels"] == ["b", "a"]


def test_of_very_many_classes_those_with_mistakes_are_shown():
    counts = np.diag(np.full(200, 5))
    counts[3, 150] = 2
    view = confusion.view(counts, [f"c{number}" for number in range(200)])
    assert view["left_out"] == 80
    assert {"c3", "c150"} <= set(view["labels"])


def test_large_pictures_are_made_smaller():
    content = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (900, 1200, 3), dtype="uint8")
    PIL.Image.fromarray(noise).save(content, "PNG")
    kind, data = data_views.as_data(content.getvalue()).split(",")
    assert kind == "data:image/jpeg;base64"
    with PIL.Image.open(io.BytesIO(base64.b64decode(data))) as opened:
        assert opened.size == (800, 600)
    assert (
        data_views.as_data(small := report_run.picture()) == f"data:image/png;base64,{base64.b64encode(small).decode()}"
    )


def test_counts_of_many_classes_are_columns_and_samples_are_cut_from_their_sheet():
    sheet = io.BytesIO()
    pixels = np.zeros((8, 24, 3), "uint8")
    pixels[:, 8:16] = 200
    PIL.Image.fromarray(pixels).save(sheet, "PNG")
    parts = {"train": {"count": 60, "classes": [10] * 6}, "test": {"count": 6, "classes": [1] * 6}}
    record = {"kind": "images", "task": "single_label", "parts": parts, "labels": list("abcdef")}
    record["samples"] = {"tile": [8, 8], "columns": 3, "labels": ["a", "<b>"]}
    view = data_views.training_data(record, sheet.getvalue())
    assert view["rows"][0] == ("a", [10, 1], [10 / 11, 1 / 11])
    assert view["charts"] == []
    label, second = view["samples"][1]
    with PIL.Image.open(io.BytesIO(base64.b64decode(second.split(",")[1]))) as opened:
        assert np.array_equal(opened, pixels[:, 8:16])
    assert label == "<b>"
    many = {"parts": {"train": {"count": 40, "classes": [1] * 40}}, "labels": [f"<{n}>" for n in range(40)]}
    (chart,) = data_views.training_data({**record, **many, "samples": {}}, b"")["charts"]
    assert chart.count("<rect") == 40
    assert "<0>" not in chart
