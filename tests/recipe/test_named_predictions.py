import logging

import numpy as np
import pytest
import untrained
from PIL import Image

from kerastrain import data, evaluation
from kerastrain.evaluation import predictions
from kerastrain.recipe import evaluating
from kerastrain.system import files


def photos(folder, colours):
    for name in colours:
        (folder / name).mkdir(parents=True)
        for number in range(3):
            size = (8 + 4 * number, 16)
            Image.new("RGB", size, untrained.COLOURS[name]).save(folder / name / f"{number}.png")
    return str(folder)


def kept(run, places, config=None):
    found = {}
    measures = evaluating.evaluate(run, places, config=config, on_predictions=found.__setitem__)
    evaluating.record(run, measures, found)
    return measures


def test_predictions_for_other_data_are_kept_with_names_and_properties(tmp_path):
    run = untrained.images(tmp_path / "run")
    folder = photos(tmp_path / "more", ["blue", "red"])
    files.write_json(run.directory / "metrics.json", {"test": evaluating.evaluate(run, {"own": folder})["own"]})
    measures = kept(run, {"more": folder, "test": folder})
    found = {path.name: predictions.read(path) for path in (run.directory / "predictions").iterdir()}
    assert sorted(found) == ["more.npz", "test (other data).npz"]  # as the report calls them
    more = found["more.npz"]
    assert (more.labels, more.task) == (("blue", "green", "red"), "single_label")
    assert more.keys == ("blue/0.png", "blue/1.png", "blue/2.png", "red/0.png", "red/1.png", "red/2.png")
    assert more.targets.tolist() == [0, 0, 0, 2, 2, 2]
    examples = data.listing(folder, image_size=(8, 8)).examples
    assert np.array_equal(more.digests, data.overlap.digests(examples))
    means = [np.mean(untrained.COLOURS[name]) for name in ("blue", "red")]
    assert more.properties["brightness"] == pytest.approx(np.repeat(means, 3), abs=0.01)
    assert more.properties["shorter side"].tolist() == [8, 12, 16] * 2
    assert more.properties["aspect ratio"].tolist() == [0.5, 0.75, 1.0] * 2
    again = evaluation.measures(more)
    assert {name: measures["more"][name] for name in again} == again


def test_predictions_for_the_parts_of_a_run_are_added_where_they_are_missing(tmp_path, caplog):
    folder = photos(tmp_path / "own", ["blue", "green", "red"])
    overrides = [f"data.path={folder}", "data.test_fraction=0", "data.validation_fraction=0.34"]
    run = untrained.images(tmp_path / "run", overrides=overrides)
    kept(run, {})
    path = run.directory / "predictions" / "validation.npz"
    written = path.read_bytes()
    assert len(predictions.read(path)) == 3
    kept(run, {})
    assert path.read_bytes() == written
    path.unlink()
    path.parent.rmdir()
    path.parent.write_text("in the way")
    with caplog.at_level(logging.WARNING, "kerastrain"), pytest.raises(OSError, match="predictions"):
        kept(run, {})


@pytest.mark.slow
def test_other_data_need_not_have_the_columns_of_slices(tmp_path, caplog):
    (tmp_path / "own.csv").write_text("text,label,camera\ngood,pos,A\nbad,neg,B\n")
    (tmp_path / "other.csv").write_text("text,label\n" + "good,pos\nbad,neg\n" * 3)
    overrides = ["data.columns.slices=[camera]", f"data.path={tmp_path / 'own.csv'}"]
    run = untrained.texts(tmp_path / "run", overrides=overrides)
    with caplog.at_level(logging.INFO, "kerastrain"):
        measures = kept(run, {"other": str(tmp_path / "other.csv"), "own": str(tmp_path / "own.csv")})
    assert "other.csv' has no column camera, so its measures are not divided by it" in caplog.text
    assert measures["other"]["count"] == 6
    assert predictions.read(run.directory / "predictions" / "own.npz").slices["camera"].tolist() == ["A", "B"]
    assert predictions.read(run.directory / "predictions" / "other.npz").properties["words"].tolist() == [1.0] * 6
