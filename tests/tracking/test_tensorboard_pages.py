import json

import numpy as np
import tensorflow as tf
from PIL import Image

from kerastrain import tracking
from kerastrain.tracking import figures

CURVE = {"fpr": [0, 0.5, 1], "tpr": [0, 1, 1], "recall": [0, 1], "precision": [1, 0.5]}
MEASURES = {
    "accuracy": 0.75,
    "confusion": [[3, 1], [0, 4]],
    "calibration": {"bins": [{"from": 0, "to": 1, "count": 8, "confidence": 0.7, "accuracy": 0.75}]},
    "curves": {
        "roc": {"classes": [{"label": "<b>", **CURVE}, {"label": "x", "fpr": None, "tpr": None}], "macro": CURVE},
        "precision_recall": {"classes": [], "macro": CURVE, "micro": None},
    },
}


def written(folder):
    """The tensors of the events in a folder by their tags, and the number of the event files."""
    paths = list(folder.glob("events*"))
    events = [event for path in paths for event in tf.compat.v1.train.summary_iterator(str(path))]
    return {each.tag: tf.make_ndarray(each.tensor) for event in events for each in event.summary.value}, len(paths)


def test_tensorboard_gets_measures_pictures_and_the_verdict_once(tmp_path):
    (tmp_path / "metrics.json").write_text(json.dumps({"validation": {"accuracy": 0.5}, "test": MEASURES}))
    (tmp_path / "labels.txt").write_text("<b>\nx\n")
    (tmp_path / "verdict.json").write_text(json.dumps({"findings": [], "sentence": "The run is sound."}))
    (tmp_path / "errors").mkdir()
    Image.fromarray(np.full((4, 6, 3), (200, 10, 30), np.uint8)).save(tmp_path / "errors" / "1.jpg")
    for _ in range(2):  # A resumed run writes the end of a training again.
        folder = tracking.write_tensorboard(tmp_path)
    assert folder == tmp_path / "tensorboard" / "results"
    tensors, count = written(folder)
    assert count == 1
    assert set(tensors) == {"measures/test", "errors/1", "verdict", "measures", "classes"}
    picture = tf.io.decode_png(tensors["errors/1"][2]).numpy()
    assert picture.shape == (4, 6, 3)
    np.testing.assert_allclose(picture[0, 0], [200, 10, 30], atol=3)
    assert tf.io.decode_png(tensors["measures/test"][2]).shape[0] > 300
    assert tensors["verdict"].item().decode() == "verdict: The run is sound."
    assert tensors["classes"].item().decode() == "1: <b>\n\n2: x"
    assert "| test/accuracy | 0.75 |" in tensors["measures"].item().decode()


def test_a_figure_has_a_panel_for_each_kind_of_measure():
    panels = [axes for axes in figures.measures(MEASURES).axes if axes.get_visible() and axes.get_title()]
    assert [axes.get_title() for axes in panels] == ["ROC", "precision and recall", "calibration", "confusion"]
    assert panels[0].get_lines()[1].get_xydata().tolist() == [[0, 0], [0.5, 1], [1, 1]]
    np.testing.assert_allclose(panels[3].images[0].get_array(), [[0.75, 0.25], [0, 1]])
    [scatter] = figures.measures({"scatter": [[[1, 2], [3, 4]], [[9, 9]]]}).axes
    assert scatter.collections[0].get_offsets().tolist() == [[1, 2], [3, 4]]
    assert figures.measures({"accuracy": 0.5}) is None
