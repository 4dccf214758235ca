import json
import re

import pytest
import report_run
import yaml

from kerastrain import report
from kerastrain.system import files


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = report_run.write(tmp_path_factory.mktemp("runs") / "hands")
    report.write(folder)
    return folder


def parts(folder):
    """The metadata and the body of a card."""
    text = (folder / "model_card.md").read_text(encoding="utf-8")
    header, body = re.fullmatch(r"---\n(.*?)---\n\n(.*)", text, re.DOTALL).groups()
    return yaml.safe_load(header), body


def test_the_metadata_are_what_the_files_know(run):
    header, _ = parts(run)
    measured = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["validation"]
    assert header["library_name"] == "keras"
    assert header["pipeline_tag"] == "image-classification"
    assert not {"license", "language", "datasets", "base_model"} & set(header), "nobody knows them"
    (card,) = header["model-index"]
    assert card["name"] == "hands"
    first = card["results"][0]
    assert first["task"] == {"type": "image-classification"}
    assert first["dataset"]["split"] == "validation"
    values = {row["type"]: row["value"] for row in first["metrics"]}
    assert values["accuracy"] == pytest.approx(measured["accuracy"], abs=1e-6)
    assert values["f1"] == pytest.approx(measured["macro"]["f1"], abs=1e-6)
    assert {"accuracy", "f1"} <= set(header["metrics"])


def test_hugging_face_reads_the_metadata(run):
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard((run / "model_card.md").read_text(encoding="utf-8"))
    header, _ = parts(run)
    known = {*hub.ModelCardData().__dict__, "model-index"}
    assert set(header) <= known
    assert card.data.model_name == "hands"
    results = {(row.dataset_split, row.metric_type): row.metric_value for row in card.data.eval_results}
    expected = header["model-index"][0]["results"]
    assert results == {(row["dataset"]["split"], m["type"]): m["value"] for row in expected for m in row["metrics"]}
    again = hub.ModelCard(str(card))
    assert again.data.to_dict() == card.data.to_dict()


def test_the_body_has_what_is_known_and_asks_for_the_rest(run):
    _, body = parts(run)
    headings = re.findall(r"^## (.*)$", body, re.MULTILINE)
    assert headings == ["Intended use", "Training data", "Training", "Evaluation", "Limits", "Files"]
    assert body.count("The author must add") == 3
    assert "Read from `" in body
    assert f"fingerprint `{'ab' * 32}`" in body
    assert "- train: 300 examples" in body
    assert "It overfits" in body
    assert re.search(r"^\| Accuracy \| [\d.]+% \| [\d.]+% to [\d.]+% \|$", body, re.MULTILINE)
    assert re.search(r"^\| class 2 \|( [\d.]+ \|){5} 75 \|$", body, re.MULTILINE)
    outside = re.sub(r"```.*?```|`[^`\n]*`", "", body, flags=re.DOTALL)
    assert not re.search(r"<script|<img|onerror=(?!&)", outside), "a hostile name is text"


def test_a_card_of_a_run_without_measures_says_so(tmp_path):
    files.write_text(tmp_path / "config.yaml", "data: {kind: text, path: reviews, task: regression}\n")
    report.write(tmp_path)
    header, body = parts(tmp_path)
    assert header == {"library_name": "keras", "tags": ["keras", "tensorflow", "kerastrain"]}
    assert "Not measured." in body
    assert "Read from `reviews`." in body
