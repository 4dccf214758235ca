"""The operating point of a run: chosen on its validation predictions, used by predict, and carried by exported files."""

import json

import numpy as np
import pytest
import untrained
from PIL import Image

from kerastrain import config, export, recipe
from kerastrain.errors import ConfigError, InputError
from kerastrain.evaluation import predictions
from kerastrain.evaluation.operating_point import OperatingPoint
from kerastrain.evaluation.predictions import Predictions
from kerastrain.export.metadata import packed_files
from kerastrain.recipe import operating_points, plan, predicting, requirements


def predicted(folder, part, outputs, targets, labels=("ham", "spam"), task="single_label"):
    predictions.write(
        Predictions(np.array(targets), np.array(outputs), labels, task), folder / f"predictions/{part}.npz"
    )


def settings(*overrides):
    return config.load(overrides=["data.kind=text", "data.path=x", *overrides])


@pytest.fixture
def folder(tmp_path):
    outputs = [[0, -2], [0, -1], [0, 1.0], [0, 2]] * 3
    predicted(tmp_path, "validation", outputs, [0, 1, 1, 1] * 2 + [1, 0, 0, 1])
    predicted(tmp_path, "test", outputs[:4], [0, 0, 0, 1])
    (tmp_path / "labels.txt").write_text("ham\nspam\n")
    return tmp_path


def test_it_is_chosen_on_validation_and_measured_on_test(folder):
    record = operating_points.choose(folder, settings("evaluation.threshold=f1", "evaluation.temperature=true"))
    assert record == operating_points.read(folder)
    assert (record["chosen_on"], record["objective"], record["positive"]) == ("validation", "f1", "spam")
    assert list(record["measures"]) == ["validation", "test"]
    test = record["measures"]["test"]
    assert (test["without"]["accuracy"], test["without"]["labels"]["spam"]["precision"]) == (0.75, 0.5)
    assert test["with"]["labels"]["spam"]["recall"] == 1
    # Other test examples would have chosen the same.
    predicted(folder, "test", [[0, 5.0], [0, -5]], [0, 1])
    again = operating_points.choose(folder, settings("evaluation.threshold=f1", "evaluation.temperature=true"))
    assert [again[key] for key in ("temperature", "thresholds")] == [
        record[key] for key in ("temperature", "thresholds")
    ]
    assert again["measures"]["test"]["with"]["accuracy"] == 0


def test_an_unreachable_precision_is_said_with_the_best_one_and_nothing_is_kept(folder, caplog):
    wanted = settings("evaluation.threshold=precision>=0.99")
    sentence = (
        r"precision>=0\.99 is not reached for 'spam' by any threshold\. The best is precision 0\.8333 at recall 0\.625 "
        r"\(threshold 0\.5\)\."
    )
    predicted(folder, "validation", [[0, -2], [0, -1], [0, 1.0], [0, 1]] * 3, [1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 1])
    with pytest.raises(InputError, match=f"no operating point was chosen on validation: {sentence}"):
        operating_points.choose(folder, wanted)
    assert operating_points.read(folder) is None
    operating_points.choose_if_wanted(folder, wanted)  # at the end of a training
    assert "precision>=0.99 is not reached" in caplog.text
    with pytest.raises(InputError, match="which has no predictions of such a part"):
        operating_points.choose(folder / "predictions", wanted)


def test_it_is_not_replaced_silently_nor_chosen_on_other_data(folder):
    f1, recall = settings("evaluation.threshold=f1"), settings("evaluation.threshold=recall>=0.9")
    operating_points.choose(folder, f1)
    operating_points.require_choice(folder, f1, on_other_data=False, replace=False)
    with pytest.raises(
        FileExistsError, match="holds an operating point for f1, and is not overwritten. Use --replace."
    ):
        operating_points.require_choice(folder, recall, on_other_data=False, replace=False)
    operating_points.require_choice(folder, recall, on_other_data=False, replace=True)
    with pytest.raises(InputError, match="the validation part of the run's own data. Received: other data"):
        operating_points.require_choice(folder, f1, on_other_data=True, replace=False)
    with pytest.raises(
        InputError, match="`evaluation.positive`: unknown label 'spma'. Known: ham, spam. Did you mean 'spam'?"
    ):
        positive = settings("evaluation.threshold=f1", "evaluation.positive=spma")
        operating_points.require_choice(folder, positive, on_other_data=False, replace=True)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["evaluation.threshold=precision"], "precision needs a value, such as precision=0.95"),
        (
            ["evaluation.threshold=f1", "evaluation.sets=[test]"],
            "threshold is chosen on the validation part. Received: 'f1'",
        ),
        (["evaluation.temperature=true", "evaluation.sets=[]"], "temperature is chosen on the validation part"),
        (["evaluation.positive=spam"], "positive names the class of a threshold. Received: 'spam'"),
        (["evaluation.temperature=true", "data.task=regression"], "evaluation.temperature is only for classes"),
        (["export.operating_point=true", "data.task=regression"], "export.operating_point is only for classes"),
        (
            ["evaluation.threshold=f1", "data.kind=chat", "model.backbone=x"],
            "evaluation.threshold is for networks that classify",
        ),
    ],
)
def test_check_refuses_what_cannot_be_chosen(overrides, message):
    with pytest.raises(ConfigError) as error:
        config.load(overrides=["data.kind=text", "data.path=x", *overrides])
    assert message in str(error.value)


def test_files_cannot_carry_what_is_not_chosen(folder):
    with pytest.raises(
        InputError, match="export.operating_point needs an operating point. Received: evaluation.threshold null"
    ):
        requirements.require(settings("export.operating_point=true"))
    requirements.require(settings("export.operating_point=true", "evaluation.temperature=true"))
    with pytest.raises(
        InputError, match="without operating_point.json. Choose one: `kerastrain evaluate .* --threshold f1`"
    ):
        operating_points.require_for_export(folder, settings("export.operating_point=true"))


def test_check_refuses_a_threshold_for_many_classes():
    with pytest.raises(
        InputError, match="`evaluation.threshold`: f1 chooses a threshold between two classes, or .* of 3"
    ):
        plan.check_labels(settings("evaluation.threshold=f1"), ("a", "b", "c"))
    plan.check_labels(settings("evaluation.threshold=f1", "data.task=multi_label"), ("a", "b", "c"))
    plan.check_labels(settings("evaluation.threshold=accuracy>=0.9"), ("a", "b", "c"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = untrained.images(tmp_path_factory.mktemp("run") / "run")
    path = run.directory.parent / "photo.png"
    Image.new("RGB", (8, 8), (200, 90, 30)).save(path)
    return run, str(path)


def test_predict_uses_it_unless_it_is_told_not_to(run):
    run, path = run
    [plain] = recipe.predict(run, [path], top=None)
    logits = predicting.outputs(run.model, np.array([Image.open(path)], np.uint8))[0].astype(float)
    (run.directory / "operating_point.json").write_text('{"temperature": 2.0, "thresholds": {}, "reject_below": 0.99}')
    [prediction] = recipe.predict(run, [path], top=None, embeddings=True)
    expected = np.exp(logits / 2) / np.exp(logits / 2).sum()
    assert sorted(score for _, score in prediction.scores) == pytest.approx(sorted(expected))
    assert (prediction.labels, plain.labels) == ((), ("red",))
    np.testing.assert_allclose(prediction.embedding, logits, rtol=1e-5)  # the head passes the features on
    [without] = recipe.predict(run, [path], top=None, operating_point=None)
    assert without == plain
    (run.directory / "operating_point.json").unlink()


def test_embeddings_have_a_row_for_each_input(run, tmp_path):
    run, path = run
    faults = []
    rows = recipe.embed(run, [path, tmp_path / "gone.png", path], on_fault=faults.append)
    assert (rows.shape, rows.dtype, len(faults)) == ((3, 3), np.float32, 1)
    assert np.isnan(rows[1]).all()
    np.testing.assert_array_equal(rows[0], rows[2])
    assert recipe.embed(run, []).shape == (0, 3)
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        recipe.embed(run, [tmp_path / "gone.png"])


@pytest.mark.slow
def test_exported_files_carry_it_and_return_its_probabilities(run, tmp_path):
    model, images = run[0].model, np.array([Image.open(run[1])] * 2, np.float32)
    point = OperatingPoint(2.0, reject_below=0.6)
    options = {"samples": images, "activation": "softmax", "operating_point": point}
    export.tflite(model, tmp_path / "model.tflite", **options)
    logits = model.predict(images, verbose=0)[:1].astype(float)
    expected = np.exp(logits / 2) / np.exp(logits / 2).sum()
    np.testing.assert_allclose(export.litert.run(tmp_path / "model.tflite", images[:1]), expected, rtol=1e-5)
    content = {"temperature": 2.0, "thresholds": {}, "reject_below": 0.6, "outputs": "probabilities"}
    assert json.loads(packed_files((tmp_path / "model.tflite").read_bytes())["operating_point.json"]) == content
    assert json.loads((tmp_path / "model.operating_point.json").read_text()) == content
    # A file of logits returns those of the model, and one without an operating point has none beside it.
    export.tflite(model, tmp_path / "model.tflite", **{**options, "activation": None}, replace=True)
    np.testing.assert_allclose(export.litert.run(tmp_path / "model.tflite", images[:1]), logits, rtol=1e-5)
    assert json.loads((tmp_path / "model.operating_point.json").read_text())["outputs"] == "logits"
    export.tflite(model, tmp_path / "model.tflite", samples=images, replace=True)
    assert not (tmp_path / "model.operating_point.json").exists()


@pytest.mark.slow
def test_a_file_with_another_temperature_than_its_model_is_refused(run, tmp_path, monkeypatch):
    """The reference is divided outside of the graph."""
    import keras

    rescaling = keras.layers.Rescaling
    monkeypatch.setattr(keras.layers, "Rescaling", lambda scale, **options: rescaling(2 * scale, **options))
    options = {"samples": np.array([Image.open(run[1])], np.float32), "activation": "softmax"}
    with pytest.raises(export.ParityError, match="does not match its model"):
        export.tflite(run[0].model, tmp_path / "model.tflite", operating_point=OperatingPoint(3.0), **options)
