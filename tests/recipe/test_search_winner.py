"""The winner of a search as a config file and as a command, from the files of a search that nobody trained."""

import json
import shlex

import pytest

from kerastrain import config
from kerastrain.config import SearchConfig
from kerastrain.config.differences import differences
from kerastrain.errors import InputError
from kerastrain.recipe import search_files, search_winner

SPACE = {
    "optimizer.name": ["adamw", "sgd"],
    "optimizer.learning_rate": {"min": 1e-4, "max": 1e-1, "sampling": "log"},
    "optimizer.momentum": {"min": 0, "max": 0.95, "when": {"optimizer.name": "sgd"}},
    "model.hidden_units": [[], [64], [128, 64]],
    "model.dropout": [0, 0.2],
}
RECIPE = ("fit.epochs=3", "optimizer.weight_decay=0.01", "data.class_weights={1: 2}", "evaluation.sets=[test]")
VALUES = {
    "optimizer.name": "sgd",
    "optimizer.learning_rate": 0.0123456789,
    "optimizer.momentum": 0.9,
    "model.hidden_units": [64],
    "model.dropout": 0.2,
}


def search(folder, *trials, recipe=RECIPE, **settings):
    settings = config.validate({"space": SPACE, **settings}, SearchConfig)
    search_files.write(folder, config.load(overrides=recipe), settings)
    objectives = [
        {"measure": each.measure, "direction": each.direction, "epoch": each.epoch} for each in settings.objectives
    ]
    record = {"objectives": objectives, "trials": trials, "state": "finished"}
    (folder / "trials.json").write_text(json.dumps(record))
    return folder


def trial(point, *scores, values=VALUES):
    return {"point": point, "status": "completed", "scores": scores, "values": values, "measures": {}}


def test_the_file_has_the_searched_keys_first_and_trains_the_winner(tmp_path):
    folder = search(tmp_path / "search", trial(1, 0.5, 0.52), trial(2, 0.9, 0.92))
    path = search_winner.write_best(folder)
    text = path.read_text()
    assert text.startswith("# trial 2: validation.accuracy 0.91 ± 0.014 (mean of 2 seeds")
    keys = [line.strip().split(":")[0] for line in text.splitlines() if not line.startswith("#")]
    assert keys == [
        *("optimizer", "# searched", "name", "learning_rate", "momentum", "# from the recipe", "weight_decay"),
        *("model", "# searched", "hidden_units", "dropout"),
        *("data", "# from the recipe", "class_weights", "fit", "# from the recipe", "epochs", "monitor"),
        *("evaluation", "# from the recipe", "sets"),
        *("runtime", "# from the recipe", "precision", "jit_compile"),  # in which all trials have computed
    ]
    best = config.load(path)
    assert best.optimizer.learning_rate == 0.0123456789
    assert (best.model.hidden_units, best.optimizer.momentum) == ((64,), 0.9)
    # A trial compares epochs by the objective, and so does the training of its winner.
    expected = config.load(
        overrides=[
            *RECIPE,
            "fit.monitor=validation.accuracy",
            *(f"{key}={json.dumps(value)}" for key, value in VALUES.items() if key != "optimizer.name"),
            "optimizer.name=sgd",
        ]
    )
    assert best.model_dump() == config.automatic.unmeasured(expected).model_dump()


def test_the_command_is_the_same_config(tmp_path):
    folder = search(tmp_path / "search", trial(1, 0.5))
    best = search_winner.read_winner(folder)
    words = shlex.split(search_winner.command(best))
    assert words[:2] == ["kerastrain", "train"]
    assert config.load(overrides=words[2:]).model_dump() == best.config.model_dump()
    assert search_winner.command(best) in search_winner.text(best, folder)
    assert best.folders == (folder / "trials/001",)


def test_the_same_split_and_parts_as_in_the_search_also_if_the_seed_was_searched(tmp_path):
    folder = search(
        tmp_path / "search",
        trial(1, 0.5, values={"runtime.seed": 7}),
        space={"runtime.seed": [7, 8]},
        recipe=["runtime.seed=3"],
    )
    best = search_winner.read_winner(folder).config
    assert (best.runtime.seed, best.data.split_seed) == (7, 3)
    plain = search_winner.read_winner(search(tmp_path / "plain", trial(1, 0.5))).config
    assert plain.data.split_seed is None
    assert plain.export.formats == config.load().export.formats


def test_nothing_is_written_before_a_trial_is_complete_or_for_several_objectives(tmp_path):
    running = search(tmp_path / "running", {**trial(1, None), "status": "running"})
    assert search_winner.write_best(running) is None
    several = search(tmp_path / "several", trial(1, 0.5), objective=["validation.accuracy", "model.parameters"])
    assert search_winner.write_best(several) is None
    assert not (several / "best.yaml").exists()


def test_own_hyperparameters_are_in_a_file_of_their_own(tmp_path):
    folder = search(tmp_path / "search", trial(1, 0.5, values={"hp.units": 32, "fit.epochs": 5}))
    text = search_winner.write_best(folder).read_text()
    assert json.loads((folder / "hyperparameters.json").read_text()) == {"units": 32}
    assert "hyperparameters.json has the values" in text
    assert config.load(folder / "best.yaml").fit.epochs == 5


@pytest.mark.parametrize(
    ("recipe", "settings", "message"),
    [
        (
            [],
            {"objective": ["validation.accuracy", "model.parameters"]},
            "several objectives .validation.accuracy, model.param",
        ),
        (["data.folds=3"], {}, "--retrain needs a validation part that is no fold. Received: data.folds=3"),
        (["evaluation.temperature=true"], {}, "the temperature is chosen .* Received: evaluation.temperature=true"),
        (["schedule.plateau_epochs=2"], {}, "Received: schedule.plateau_epochs=2. Remove it"),
        ([], {"space": {"schedule.plateau_epochs": [2, 3]}}, "Received: a space with schedule.plateau_epochs"),
        (["data.kind=chat", "data.path=a.jsonl", "model.backbone=."], {}, "Received: data.kind=chat"),
    ],
)
def test_what_cannot_be_trained_again_is_refused_before_the_search(recipe, settings, message):
    settings = config.validate({"space": SPACE, **settings}, SearchConfig)
    with pytest.raises(InputError, match=message):
        search_winner.check_retrain(config.load(overrides=recipe), settings)


def test_early_stopping_and_a_monitor_are_replaced_by_the_epoch_to_stop_at():
    settings = config.validate({"space": SPACE}, SearchConfig)
    search_winner.check_retrain(
        config.load(overrides=["fit.early_stopping_epochs=3", "fit.monitor=validation.accuracy"]), settings
    )
    with pytest.raises(InputError, match="Received: --build m.py:build"):
        search_winner.check_retrain(config.load(), settings, build="m.py:build")


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["data.kind=text", "data.path=.", "optimizer.learning_rate=0.01"],
        ["data.kind=text", "data.path=.", "model.backbone=keras:transformer", "data.augment=[word_dropout]"],
        [
            "data.augment=[flip, {rotation: {degrees: 15}}]",
            "data.augment.noise=null",
            "schedule={name: step, every: 2 epochs}",
        ],
        [
            "optimizer.layer_rates={'a.b': 2, \"it's\": 0.5}",
            "data.exclude_classes=['1e-3', 'a: b', 'no']",
            "data.columns.separator= ",
        ],
        ["fine_tune.timetable={0: 2, 4: null}", "fit.epochs=9", "runtime.strategy=mirrored", "runtime.devices=2"],
        ["data.kind=chat", "data.path=.", "model.backbone=.", "fine_tune.lora_rank=8", "fit.objective=dpo"],
    ],
)
def test_the_differences_are_the_fewest_keys_of_the_same_config(overrides, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = config.load(overrides=overrides)
    values = differences(whole)
    given = [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in values.items()]
    assert config.load(overrides=given).model_dump() == whole.model_dump()
    for key in values:
        fewer = [text for name, text in zip(values, given, strict=True) if name != key]
        try:
            assert config.load(overrides=fewer).model_dump() != whole.model_dump(), key
        except InputError:
            continue  # It is not even a config without the key.
