import html.parser
import json

import numpy as np
import pytest

from kerastrain import evaluation, explain, report
from kerastrain.data.image_files import quarantine
from kerastrain.errors import InputError
from kerastrain.export import parity
from kerastrain.system import files

HOSTILE = "<script>alert(1)</script>"
HISTORY = """phase,epoch,seconds,learning_rate,loss,val_loss,accuracy,val_accuracy
head,0,1.5,0.001,2.3,1.9,0.3,0.45
head,1,1.4,0.0005,1.6,1.4,0.5,0.6
fine-tuning,0,4.0,0.0001,1.2,nan,0.7,0.75
fine-tuning,1,4.1,0.00005,0.9,0.8,0.8,
"""


def measures(names, count=200):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, len(names), count)
    logits = rng.normal(size=(count, len(names))) + 3 * np.eye(len(names))[truth]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return evaluation.measure(truth, probabilities, names)


@pytest.fixture
def run(tmp_path):
    """A run directory with every file that the report reads."""
    directory = tmp_path / f"run {HOSTILE.replace('/', '')}"
    files.write_text(directory / "config.yaml", f"data:\n  path: '{HOSTILE}'\n")
    files.write_json(directory / "environment.json", {"python": "3.11", "devices": [HOSTILE]})
    files.write_text(directory / "history.csv", HISTORY)
    names = ["$ant^", HOSTILE, "cow & calf", "犬"]
    files.write_json(directory / "metrics.json", {"validation": measures(names), "test": measures(names, 90)})
    files.write_json(directory / "evaluations" / "more.json", measures(names, 50))
    outputs = np.random.default_rng(0).normal(size=(32, 4))
    same = {"outputs": outputs + 1e-6, "size_bytes": 123456, "gzip_bytes": 65432, "kind": "float32"}
    parity.check(outputs, file="model.tflite", **same).save(directory / "exports" / "model.parity.json")
    assets = directory / "exports" / "saved_model" / "assets.extra"
    parity.check(outputs, file="saved_model", **same).save(assets / "parity.json")
    parity.check(outputs, file="hugging_face", **same).save(directory / "exports" / "hugging_face" / "parity.json")
    heatmap = np.linspace(0, 1, 32 * 32, dtype="float32").reshape(1, 32, 32)
    explain.write(np.zeros((1, 32, 32, 3)), heatmap, directory / "explanations" / "a&b_gradcam.png")
    left_out = [quarantine.Quarantined(f"data/{HOSTILE}{number}.png", "empty", f"{HOSTILE}!") for number in range(3)]
    quarantine.write(left_out, directory / "quarantine.csv")
    files.write_text(directory / "checkpoints" / "best.keras", "not listed")
    return directory


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.sources, self.words, self.attributes = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        self.sources += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.words.append(data.strip())


def test_the_page_stands_alone_and_lets_nothing_run(run):
    text = report.write(run).read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in page.tags
    assert HOSTILE not in text
    assert "default-src 'none'" in text
    # One heatmap; the sections that the contents lead to.
    assert [source for source in page.sources if not source.startswith("#")] == [page.sources[-1]]
    assert page.sources[-1].startswith("data:image/png;base64,")
    # Two metrics and the learning rate; of each of three sets ROC, precision and recall, and calibration.
    assert page.attributes.count(("class", "chart")) == 3 + 3 * 3
    assert {source[1:] for source in page.sources[:-1]} <= {value for name, value in page.attributes if name == "id"}


def test_the_page_says_what_the_files_say(run):
    words = Page(report.write(run).read_text(encoding="utf-8")).words
    written = json.loads((run / "metrics.json").read_text())
    assert f"{written['test']['accuracy']:.1%}" in words
    for name in ("$ant^", HOSTILE, "cow & calf", "犬"):
        assert name in words
    assert f"{written['validation']['classes'][2]['recall']:.3f}" in words
    assert str(written["validation"]["confusion"][1][1]) in words
    assert {"Measures: validation", "Measures: test", "Measures: more"} <= set(words)
    assert {"exports/model.tflite", "exports/saved_model", "123 kB", "65.4 kB", "a&b_gradcam.png"} <= set(words)
    assert "exports/hugging_face" in words
    assert "passed: at least 99.0% same, relative difference at most 0.0001" in words
    assert "checkpoints/best.keras" not in words
    assert {"Skipped files", "3 files of the data were not used.", f"data/{HOSTILE}2.png", f"{HOSTILE}!"} <= set(words)


def test_a_long_quarantine_is_cut_and_its_kinds_are_counted(tmp_path):
    files.write_text(tmp_path / "config.yaml", "{}\n")
    kinds = ["leakage"] + ["empty"] * 299
    quarantine.write([quarantine.Quarantined("a.png", kind, "so") for kind in kinds], tmp_path / "quarantine.csv")
    words = Page(report.write(tmp_path).read_text()).words
    assert {"The first 200 skipped files, with the reason", "299", quarantine.KINDS["leakage"]} <= set(words)
    assert words.count("a.png") == 200


def test_the_page_is_the_same_when_written_twice(run):
    first = report.write(run).read_bytes()
    assert report.write(run).read_bytes() == first


def test_a_run_that_only_has_a_config_has_a_page(tmp_path):
    files.write_text(tmp_path / "config.yaml", "{}\n")
    page = Page(report.write(tmp_path).read_text())
    assert "Config and environment" in page.words
    assert not {"Training", "Training data", "Verdict", "Where it fails"} & set(page.words)
    assert not {"img", "svg"} & set(page.tags)


def test_many_classes_become_a_picture(tmp_path):
    files.write_text(tmp_path / "config.yaml", "{}\n")
    files.write_json(tmp_path / "metrics.json", {"test": measures([f"kind {index}" for index in range(40)], 400)})
    page = Page(report.write(tmp_path).read_text())
    assert page.attributes.count(("class", "chart matrix")) == 1
    # Along both sides of the matrix, each with its full text, and in the table of all classes.
    assert page.words.count("kind 39") >= 5
    assert "Classes that are confused are next to each other." in " ".join(page.words)
    assert "The other 15 classes" in page.words


def test_a_class_without_examples_shows_dashes(tmp_path):
    files.write_text(tmp_path / "config.yaml", "{}\n")
    measured = evaluation.measure([0, 1], [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]], ["ant", "bee", "cow"])
    files.write_json(tmp_path / "metrics.json", {"test": measured})
    words = Page(report.write(tmp_path).read_text()).words
    row = words[words.index("cow") :]
    assert [word for word in row if word][1:7] == ["–", "–", "–", "–", "–", "0"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metrics.json", "{", r"metrics.json` must be JSON"),
        ("metrics.json", "[]", "must be a JSON object. Received: list"),
        ("history.csv", "phase,epoch,loss\nfit,0,high\n", "numbers in its column 'loss'. Received: 'high'"),
        ("history.csv", b"\xff\xfe", "must be UTF-8"),
        ("exports/model.parity.json", "{}", "must contain a parity record with file, .* Missing: file, "),
        ("metrics.json", '{"test": {"loss": 1}}', "must contain measures of 'test' with .* Missing: count, accuracy"),
        ("evaluations/more.json", "{}", "more.json` must contain measures"),
        (
            "errors.json",
            '{"pairs": [{"count": "many"}]}',
            "errors.json` has content that a report cannot show: ValueError",
        ),
        ("training_data.json", '{"kind": "images"}', "the training data with kind, task, parts. Missing: task, parts"),
        (
            "verdict.json",
            '{"findings": [{"kind": "leakage"}]}',
            "must contain findings with kind, sentence. Missing: sentence",
        ),
        ("verdict.json", '{"findings": "none"}', "must contain a list of findings. Received: str"),
        (
            "start.json",
            '{"run": "r", "kept": 3, "new": [], "dropped": []}',
            "cannot show: object of type 'int' has no len",
        ),
        ("config.yaml", "a: [", "`config.yaml` must be YAML. Received: while parsing"),
        ("exports/latency.json", '{"seconds": {"a.tflite": "fast"}}', "latency.json` has content that a report cannot"),
        (
            "quarantine.csv",
            "path,why\na.png,so\n",
            "quarantine.csv` must contain columns with path, .* Missing: kind, reason",
        ),
    ],
)
def test_a_broken_file_is_named_and_nothing_is_written(tmp_path, name, content, message):
    files.write_text(tmp_path / "config.yaml", "{}\n")
    files.write_bytes(tmp_path / name, content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        report.write(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_another_folder_is_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a run directory"):
        report.write(tmp_path / "missing")


def test_page_shows_the_measures_of_every_task(tmp_path):
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, (40, 2))
    many = evaluation.multi_label.measure(truth, random.random((40, 2)), ["<cat>", "dog"])
    ages = random.normal(40, 10, (40, 1))
    numbers = evaluation.regression.measure(ages, ages + random.normal(0, 3, (40, 1)), ["age & more"])
    (tmp_path / "config.yaml").write_text("data: {}\n")
    (tmp_path / "metrics.json").write_text(json.dumps({"many": many, "numbers": numbers}))
    page = Page(report.write(tmp_path).read_text(encoding="utf-8"))
    words = " ".join(page.words)
    for text in ("<cat>", "dog", "age & more", f"{numbers['r2']:.3f}", f"{numbers['outputs'][0]['mae']:.3g}"):
        assert text in words
    for score in (many["macro"]["average_precision"], many["exact"]):
        assert f"{score:.1%}" in words
    assert f"{many['classes'][1]['best_f1']:.3f}" in words
    assert "Confusion" not in words
    assert page.attributes.count(("opacity", "0.55")) == 40
    (tmp_path / "metrics.json").write_text(json.dumps({"many": {**many, "task": "several"}}))
    with pytest.raises(
        InputError, match="unknown task 'several'. Known: language, multi_label, regression, single_label"
    ):
        report.write(tmp_path)


def test_a_compression_of_0_1_has_the_page_of_one_of_today(tmp_path):
    score = {"value": 0.9, "low": 0.8, "high": 0.95, "count": 100}
    row = {"name": "pruned_int8", "file": "pruned_int8.tflite", "steps": ["prune"], "measure": "accuracy"}
    row |= {"validation": score, "test": None, "zeros_fraction": 0.8, "size_bytes": 1000, "gzip_bytes": 300}
    row |= {"time_ratio": None, "memory_ratio": None}
    files.write_text(tmp_path / "config.yaml", "{}\n")
    pages = []
    for results, skipped in (("rungs", "left_out"), ("results", "skipped")):
        record = {
            results: [row],
            skipped: {"qat_int8": "a Hub module is a fixed graph"},
            "choice": None,
            "calibration": [],
        }
        files.write_json(tmp_path / "compressed" / "compression.json", record)
        page = report.write(tmp_path).read_text()
        pages.append(page.split("<h2>Compression</h2>")[1].split("</section>")[0])
    assert pages[0] == pages[1]
    assert {"pruned_int8", "80.0%", "a Hub module is a fixed graph"} <= set(Page(pages[0]).words)


def test_the_page_shows_some_of_many_heatmaps_and_says_how_many_there_are(tmp_path):
    files.write_text(tmp_path / "config.yaml", "data: {}\n")
    for number in range(45):
        files.write_bytes(tmp_path / "explanations" / f"{number:02}.png", b"PNG")
    page = Page(report.write(tmp_path).read_text(encoding="utf-8"))
    assert page.tags.count("img") == 40
    assert "of 45 in the folder" in " ".join(" ".join(page.words).split())


def test_the_page_says_from_what_a_run_was_trained_further(tmp_path):
    files.write_text(tmp_path / "config.yaml", "data: {}\n")
    files.write_json(tmp_path / "start.json", {"run": HOSTILE, "kept": ["a", "b"], "new": ["c"], "dropped": []})
    text = report.write(tmp_path).read_text(encoding="utf-8")
    assert HOSTILE not in text
    assert f"Trained further from {HOSTILE}: 2 labels kept, 1 new (c)." in Page(text).words


def test_the_page_links_to_the_trackers_of_a_run(tmp_path):
    (tmp_path / "config.yaml").write_text("data: {}\n")
    links = {"mlflow": {"run": "a", "link": "https://m/#/runs/<a>"}, "wandb": {"run": "b", "link": "run b"}}
    (tmp_path / "tracking.json").write_text(json.dumps(links))
    page = report.write(tmp_path).read_text()
    assert '<a href="https://m/#/runs/&lt;a&gt;">https://m/#/runs/&lt;a&gt;</a>' in page
    assert '<th scope="row">Weights &amp; Biases</th><td class="words">run b</td>' in page
