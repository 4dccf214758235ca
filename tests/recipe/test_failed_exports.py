"""A format that fails at the end of a run costs only itself, and the run is finished with other formats."""

import json

import numpy as np
import pytest

from kerastrain import config, export, recipe, run_directory, testing
from kerastrain.errors import InputError
from kerastrain.recipe import results


@pytest.mark.slow
def test_a_run_whose_export_fails_keeps_its_model_and_is_finished_with_other_formats(tmp_path, monkeypatch):
    def fails(session, path, **options):
        raise InputError("this format cannot be written.")

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(export.Session, "saved_model", fails)
    testing.colour_folder(tmp_path / "data", count=20)
    module = testing.saved_model(tmp_path / "module", image_size=(32, 32))
    settings = config.load(
        overrides=[
            f"data.path={tmp_path / 'data'}",
            f"model.backbone={module}",
            "fit.head_epochs=1",
            "fit.epochs=0",
            "export.formats=[saved_model, tflite_float32]",
        ]
    )
    run = tmp_path / "a run"
    with pytest.raises(InputError) as caught:
        recipe.run(settings, run)
    assert str(caught.value) == (
        "this format cannot be written. The model is trained and saved. Finish the run without saved_model: kerastrain train "
        f"--resume '{run}' export.formats='[tflite_float32]'"
    )
    assert (run / "exports" / "model_float32.tflite").is_file()
    assert (run / "report.html").is_file()
    assert not (run / "finished.json").exists()
    trained, history = (run / "model.keras").read_bytes(), (run / "history.csv").read_bytes()
    measures = json.loads((run / "metrics.json").read_text())

    own = config.load(
        run / "config.yaml",
        ["export.formats=[tflite_float32]", "export.samples=8", "evaluation.sets=[validation, test]"],
    )
    result = recipe.resume(run, own)
    assert [path.name for path in result.exports] == ["model_float32.tflite"]
    assert (run / "finished.json").exists()
    assert ((run / "model.keras").read_bytes(), (run / "history.csv").read_bytes()) == (trained, history)
    assert json.loads((run / "metrics.json").read_text()) == measures
    assert run_directory.load(run).config.export.formats == ("tflite_float32",)
    assert np.isfinite(result.measures["test"]["loss"])


def test_the_errors_of_all_formats_are_told(caplog):
    results.raise_first({})
    with pytest.raises(InputError, match="first"):
        results.raise_first({"onnx": InputError("first"), "keras": InputError("second")})
    assert caplog.messages == ["not exported to keras: second"]
    with pytest.raises(OSError, match="full"):
        results.raise_first({"onnx": OSError("full"), "keras": OSError("full")})
    assert len(caplog.messages) == 1
