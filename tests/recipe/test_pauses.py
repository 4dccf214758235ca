"""A run that pauses after some epochs, and continues in new processes, ends bit-equal to one that never paused."""

import paused_runs
import pytest
from language_folders import lines, write_language_model

from kerastrain import testing


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("pauses")
    testing.colour_folder(place / "colours", count=8)
    testing.saved_model(place / "module", image_size=(16, 16))
    (place / "texts").mkdir()
    for label, word in (("bad", "awful"), ("good", "fine")):
        (place / "texts" / f"{label}.txt").write_text("\n".join(f"a {word} film number {n}" for n in range(20)))
    return place


def settings(place, *overrides):
    return [f"data.path={place}/colours", "fit.global_batch_size=8", "fit.checkpoint_every=1000 steps", *overrides]


def assert_pauses_change_nothing(overrides, folder, pauses, epochs):
    undisturbed = paused_runs.train(overrides, folder / "undisturbed")
    assert [epoch for epoch, _ in undisturbed[2]] == [*range(1, epochs + 1)]
    assert len(undisturbed[1]) == epochs
    paused_runs.assert_equal(undisturbed, paused_runs.train(overrides, folder / "paused", pauses))


@pytest.mark.slow
def test_pauses_within_and_between_phases_change_nothing(place, tmp_path):
    overrides = [f"model.backbone={place}/module", "fit.head_epochs=2", "fit.epochs=2", "optimizer.ema_momentum=0.9"]
    overrides += ["fit.monitor=validation.macro.roc_auc", "schedule.plateau_epochs=1"]
    assert_pauses_change_nothing(settings(place, *overrides), tmp_path, pauses=(2, 3, 4), epochs=4)


DEVICES = ["runtime.strategy=mirrored", "runtime.devices=2", "runtime.all_reduce=hierarchical_copy"]
CASES = {
    "from scratch": (
        ["data.kind=text", "model.backbone=keras:embedding", "model.embedding_dim=4", "fit.epochs=3"],
        (1, 2),
        3,
    ),
    "several devices": (
        [*DEVICES, "fit.head_epochs=1", "fit.epochs=2", "fit.monitor=validation.balanced_accuracy"],
        (1, 2),
        3,
    ),
}


@pytest.mark.chaos
@pytest.mark.parametrize("name", CASES)
def test_pauses_change_nothing(place, tmp_path, name):
    overrides, pauses, epochs = CASES[name]
    source = [f"data.path={place}/texts"] if name == "from scratch" else [f"model.backbone={place}/module"]
    assert_pauses_change_nothing(settings(place, *source, *overrides), tmp_path, pauses, epochs)


@pytest.mark.chaos
def test_pauses_of_a_language_model_change_nothing(tmp_path):
    pytest.importorskip("tokenizers")
    write_language_model(tmp_path / "base", max_position_embeddings=128, num_hidden_layers=1)
    lines(tmp_path / "qa.jsonl", [{"prompt": f"Say {n}.", "response": "Paris is the capital."} for n in range(24)])
    overrides = ["data.kind=chat", f"data.path={tmp_path}/qa.jsonl", f"model.backbone={tmp_path}/base", "fit.epochs=3"]
    overrides += ["fine_tune.lora_rank=4", "fine_tune.lora_dropout=0.1", "fit.monitor=validation.accuracy"]
    assert_pauses_change_nothing(overrides, tmp_path, pauses=(1, 3), epochs=3)
