"""The verdict of a run in its files, and what other data add to it."""

import json

import numpy as np
import pytest
import untrained
from PIL import Image

from kerastrain import config as configs
from kerastrain import data, diagnosis, models, recipe
from kerastrain.recipe import diagnosing, evaluating, head_features, plan, run_records, stages
from kerastrain.recipe.backbone_features import BackboneFeatures


def photos(folder, *, count, scale=1.0, seed=0):
    random = np.random.default_rng(seed)
    for name, colour in untrained.COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = (np.array(colour) + random.normal(0, 12, (8, 8, 3))) * scale
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("diagnosed")
    path = photos(folder / "photos", count=60)
    run = untrained.images(folder / "run", overrides=[f"data.path={path}", "data.validation_fraction=0.5"])
    # After an epoch of which the loss was above that of a guess.
    (run.directory / "history.csv").write_text(
        "phase,epoch,learning_rate,data_loss,val_data_loss\nhead,1,0.01,2.0,0.5\nhead,2,0.001,9.5,0.4\n"
    )
    split = recipe.load_data(run.config, run.image_size, labels=models.labels(run.model))
    diagnosing.diagnose(BackboneFeatures(run.model, run.config), run.config, split, run.directory)
    return run


def test_the_verdict_of_a_run_names_findings_and_settings_that_its_config_accepts(run):
    verdict = diagnosing.read(run.directory)
    assert [finding["kind"] for finding in verdict["findings"]] == ["unstable_rate", "too_little_data"]
    first, second = verdict["findings"]
    assert first["sentence"] == (
        "The learning rate is too high: in phase head the training loss rose to 9.5, above the 1.1 of a guess."
    )
    assert first["try"] == [{"key": "optimizer.learning_rate", "value": 0.001, "why": "a tenth of the rate"}]
    assert second["evidence"]["count"] == 18
    assert verdict["sentence"] == "Found: learning rate too high, too little data."
    assert {"leakage", "shift", "overfitting", "underfitting"} <= set(verdict["sound"])
    for change in first["try"] + second["try"]:
        changed = configs.load(run.directory / "config.yaml", [diagnosis.setting(change["key"], change["value"])])
        assert changed != run.config


@pytest.mark.slow
def test_features_from_the_training_of_the_head_are_not_computed_again(run, tmp_path, monkeypatch):
    split = recipe.load_data(run.config, run.image_size, labels=models.labels(run.model))
    (phase,) = plan.phases(configs.validate(configs.override(run.config.model_dump(mode="json"), ["fit.epochs=0"])), 18)
    for views in (1, 2):
        changes = [f"fit.head_views={views}", "fit.epochs=0", "data.augment.flip.probability=0.5"]
        config = configs.validate(configs.override(run.config.model_dump(mode="json"), changes))
        kept = BackboneFeatures(run.model, config)
        stage = stages.staged(run.model, config, split, phase)
        kept.keep(stage)
        with monkeypatch.context() as patch:
            patch.setattr(head_features, "inference_model", lambda model: pytest.fail("traced again"))
            whole = run_records.record(kept, config, split, run.directory)
            recipe.measure(run.model, config, split, features=kept)
            patch.setattr(data.features, "precompute", lambda *values, **options: pytest.fail("computed again"))
            found = run_records.record(kept, config, split, run.directory)
        expected = run_records.record(BackboneFeatures(run.model, config), config, split, run.directory)
        for name, part in [*found.parts.items(), *whole.parts.items()]:
            np.testing.assert_allclose(part.features, expected.parts[name].features, atol=1e-5)
            np.testing.assert_allclose(part.outputs, expected.parts[name].outputs, atol=1e-5)


@pytest.mark.slow
def test_other_data_are_compared_with_those_of_the_run(run, tmp_path):
    before = diagnosing.read(run.directory)["findings"]
    dark, same = photos(tmp_path / "dark", count=40, scale=0.4, seed=1), photos(tmp_path / "same", count=80, seed=2)
    places = {"dark": str(dark), "test": str(same)}
    measures = evaluating.evaluate(run, places)
    assert measures["test"]["findings"] == []
    (shift,) = measures["dark"]["findings"]
    assert (shift["kind"], shift["part"]) == ("shift", "dark")
    assert shift["sentence"].startswith("'dark' is unlike the validation part: ")
    assert [change["key"] for change in shift["try"]] == ["data.augment.colour"]
    for _ in range(2):  # the second time replaces the first
        evaluating.record(run, measures)
        findings = diagnosing.read(run.directory)["findings"]
        assert [finding["kind"] for finding in findings] == ["unstable_rate", "shift", "too_little_data"]
    assert json.loads((run.directory / "evaluations/dark.json").read_text())["findings"] == [shift]
    assert [finding for finding in findings if finding["part"] != "dark"] == before


@pytest.mark.slow
def test_a_run_of_an_earlier_version_is_diagnosed_when_it_is_evaluated(run, tmp_path):
    (run.directory / diagnosing.FILE).unlink()
    (run.directory / diagnosing.SAMPLES_FILE).unlink()
    few = photos(tmp_path / "few", count=1, scale=0.4, seed=1)
    (finding,) = evaluating.evaluate(run, {"few": str(few)})["few"]["findings"]
    assert finding["sentence"].startswith("'few' has 3 examples, too few: its accuracy of 1.000 is only known to ± 0.")
    assert diagnosing.read(run.directory) is None
    evaluating.evaluate(run, {})
    assert diagnosing.read(run.directory)["findings"][0]["kind"] == "unstable_rate"
    (run.directory / diagnosing.FILE).write_text("{broken")
    assert diagnosing.read(run.directory) is None
