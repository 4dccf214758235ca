"""What the commands say about `data.fold=all`, before TensorFlow starts."""

import re

import commands
import pytest

from kerastrain import config


@pytest.fixture
def kerastrain(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "search.yaml").write_text("space: {fit.head_epochs: [1, 2]}\n")
    (tmp_path / "run").mkdir()
    own = config.load(overrides=["data.folds=3", "data.fold=all"])
    (tmp_path / "run/config.yaml").write_text(config.dump(own))
    call = commands.runner(monkeypatch, capsys)

    def printed(*arguments, code=0):
        return call(*map(str, arguments), code=code)[1 if code else 0]

    return printed


def test_check_prints_the_sizes_of_all_folds(kerastrain):
    printed = kerastrain("check", "data.folds=3", "data.fold=all", "data.test_fraction=0")
    assert "formats: []" in printed
    rows = re.findall(r"^ +(\d) +([\d,]+) +([\d,]+) *$", printed, re.MULTILINE)
    assert rows == [("0", "1,198", "599"), ("1", "1,198", "599"), ("2", "1,198", "599")]
    assert (
        "data.fold=all trains 3 runs, one after the other. None is exported unless export.formats names formats"
        in printed
    )


def test_check_says_that_one_of_several_folds_is_trained(kerastrain):
    said = "one fold: fold 2 of 3 is the validation part; data.fold=all trains a model for each fold"
    assert said in kerastrain("check", "data.folds=3", "data.fold=2")


@pytest.mark.parametrize(
    "arguments",
    [
        ("find", "learning-rate"),
        ("find", "backbone"),
        ("find", "batch-size"),
        ("find", "memory"),
        ("tune", "search.yaml"),
        ("data", "preview"),
        ("data", "scan"),
    ],
)
def test_what_trains_once_refuses_all_folds(kerastrain, arguments):
    said = kerastrain(*arguments, "data.folds=3", "data.fold=all", code=2)
    assert said == (
        "kerastrain: `data.fold` must be the number of a fold here. Received: all, which is for `kerastrain train`, `kerastrain "
        "check` and kt.recipe.run_folds. Set data.fold=0.\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("evaluate", "run"),
        ("predict", "run", "photo.png"),
        ("explain", "run", "photo.png"),
        ("export", "run"),
        ("compress", "run"),
        ("check", "--from", "run"),
        ("check", "model.from_run=run"),
    ],
)
def test_what_needs_one_model_names_the_folds_and_the_final_command(kerastrain, arguments):
    said = kerastrain(*arguments, code=2)
    assert re.search(
        r"kerastrain: give a run with one model. Received: '(.*run)', a cross-validation of 3 folds, each of them a run with its "
        r"own model. Give one of these, such as '\1/fold_0', or train the final model: kerastrain train \1/config.yaml "
        r"data.folds=null data.fold=0 data.validation_fraction=0.1 export.formats=null\n",
        said,
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["data.fold=all"],
            "fold: all trains a run for each of several folds. Received: folds null. Set their number, such as",
        ),
        (["data.folds=3", "data.fold=al"], "must be a whole number of at least 0, or all. Received: 'al'."),
        (
            ["data.folds=3", "data.fold=all", "evaluation.sets=[test]"],
            "evaluation.sets must contain validation for data.fold=all",
        ),
    ],
)
def test_a_config_that_cannot_be_meant_is_refused(kerastrain, overrides, message):
    assert message in kerastrain("check", *overrides, code=2)
