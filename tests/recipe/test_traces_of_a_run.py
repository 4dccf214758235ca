"""What a run traces and loads: each graph and each module once."""

import collections

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kerastrain import config, recipe, testing
from kerastrain.hub import modules
from kerastrain.hub.layer import HubLayer


@pytest.fixture
def calls(monkeypatch):
    """Counts in how many graphs of Keras's functions the module becomes part, and how often a module is loaded."""
    counts = collections.Counter()
    call, load = HubLayer.call, modules.load

    def counted_call(self, inputs, training=None):
        # Keras computes shapes in graphs of their own, which are small and thrown away.
        is_traced = tf.inside_function() and not tf.compat.v1.get_default_graph().name.startswith("scratch_graph")
        counts["traced"] += is_traced
        return call(self, inputs, training=training)

    def counted_load(*arguments, **options):
        counts["loaded"] += 1
        return load(*arguments, **options)

    monkeypatch.setattr(HubLayer, "call", counted_call)
    monkeypatch.setattr(modules, "load", counted_load)
    return counts


def photos(folder):
    random = np.random.default_rng(0)
    for name, colour in (("red", (200, 30, 30)), ("blue", (40, 50, 210))):
        (folder / name).mkdir(parents=True)
        for number in range(30):
            pixels = np.array(colour) + random.normal(0, 12, (8, 8, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("epochs", "traced"),
    [
        (0, 1),  # the features for the head, the evaluation and the diagnosis
        # Those for the head; the steps of fine-tuning and its validation; those of the evaluation and the diagnosis.
        (1, 4),
    ],
)
def test_a_run_loads_its_module_once_and_traces_each_graph_once(tmp_path, calls, epochs, traced):
    overrides = [
        f"data.path={photos(tmp_path / 'photos')}",
        f"model.backbone={testing.saved_model(tmp_path / 'module')}",
    ]
    overrides += ["data.image_size=[8, 8]", "fit.head_epochs=1", f"fit.epochs={epochs}", "export.formats=[]"]
    recipe.run(config.load(overrides=overrides), tmp_path / "run")
    assert (calls["loaded"], calls["traced"]) == (1, traced)
