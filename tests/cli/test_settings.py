"""Arguments that are a config file, an override, or neither."""

import sys

import pytest

from kerastrain import cli
from kerastrain.cli import settings


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "lr=0.1").mkdir(parents=True)
    (tmp_path / "flowers").mkdir()
    for name in ("runs/lr=0.1/config.yaml", "lr=0.1.yaml", "recipe.yaml"):
        (tmp_path / name).write_text("fit: {epochs: 2}")
    (tmp_path / "rows.csv").write_text("path,label\n")
    return tmp_path


def refused(capsys, monkeypatch, *arguments):
    """Returns the error message of arguments that lead to exit code 2."""
    monkeypatch.setattr(sys, "argv", ["kerastrain", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    return capsys.readouterr().err.strip().removeprefix("kerastrain: ")


def test_a_path_with_an_equals_sign_is_a_file(place):
    assert settings.divide(["runs/lr=0.1/config.yaml", "fit.epochs=3"]) == ("runs/lr=0.1/config.yaml", ["fit.epochs=3"])
    assert settings.divide(["lr=0.1.yaml"]) == ("lr=0.1.yaml", [])
    assert settings.divide([str(place / "runs/lr=0.1/config.yaml")])[1] == []
    rates = ["optimizer.layer_rates.conv/kernel=0.1", "data.path=a=b/c.yaml"]
    assert settings.divide(rates) == (None, rates)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "3"], "check has no option --epochs. Settings are written without dashes: fit.epochs=3."),
        (["--lr=3"], "check has no option --lr. Settings are written without dashes: optimizer.learning_rate=3."),
        (
            ["--batch-size", "8"],
            "check has no option --batch-size. Settings are written without dashes: fit.global_batch_size=8.",
        ),
        (["--plt", "a.png"], "check has no option --plt. Did you mean --plot?"),
        (["fit.epochs", "3"], "`fit.epochs` is no config file, and a setting needs a value. Write fit.epochs=3."),
        (["fit.epochs", "=", "3"], "`fit.epochs` is no config file, and a setting needs a value. Write fit.epochs=3."),
        (["fit.epochs=", "3"], "`fit.epochs=` has no value. Write fit.epochs=3 without a space."),
        (
            ["data.class_weights={a: 2,", "b:", "1}", "fit.epochs=3"],
            "the shell divided an override at its spaces. Put quotes around it: 'data.class_weights={a: 2, b: 1}'",
        ),
        (["epochs"], "`epochs` is no config file, and a setting needs a value. Write fit.epochs=VALUE."),
        (["flowers"], "'flowers' is a folder and no config file. For data write data.path=flowers"),
        (["runs/lr=0.1"], "'runs/lr=0.1' is the folder of a run. Give its config: runs/lr=0.1/config.yaml."),
        (["rows.csv"], "'rows.csv' is no config file, which ends in .yaml. For data write data.path=rows.csv"),
        (["recipe"], "there is no config file 'recipe'. Did you mean recipe.yaml?"),
        (
            ["runs/x=1/none.yaml"],
            "there is no config file 'runs/x=1/none.yaml'. Settings are written section.key=value, such as "
            "data.path=flowers.",
        ),
    ],
)
def test_what_is_neither_is_answered_with_what_was_meant(place, capsys, monkeypatch, arguments, message):
    assert refused(capsys, monkeypatch, "check", *arguments) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["export.sample=8"],
            "export.sample: unknown key 'sample'. Known: formats, operating_point, probabilities, ",
        ),
        (["samples=x"], "export.samples: must be a whole number of at least 8, or null. Received: 'x'."),
        (["--samples", "8"], "export has no option --samples. Settings are written without dashes: export.samples=8."),
        (["keras"], "a setting needs a value, such as samples=100, and a format is an option. Write --format keras."),
        (
            ["--format", "kers"],
            "export.formats: unknown value 'kers'. Known: adapter, hugging_face, keras, onnx, saved_model, ",
        ),
    ],
)
def test_the_keys_of_an_export_are_written_with_or_without_their_section(
    place, capsys, monkeypatch, arguments, message
):
    (place / "run").mkdir()
    (place / "run" / "config.yaml").write_text("data:\n  path: digits\n")
    assert message in refused(capsys, monkeypatch, "export", "run", *arguments)


@pytest.mark.parametrize("command", [["train"], ["find", "memory"], ["data", "scan"], ["tune", "search.yaml"]])
def test_every_command_with_settings_answers_an_option_with_its_key(place, capsys, monkeypatch, command):
    message = refused(capsys, monkeypatch, *command, "--path", "flowers")
    assert message == (
        f"{command[0] if len(command) == 1 or command[0] == 'tune' else command[1]} has no option --path. "
        "Settings are written without dashes: data.path=flowers."
    )


def test_an_override_may_be_longer_than_a_path():
    space = f"data.exclude_classes=[{','.join(['a' * 50] * 100)}]"
    assert settings.divide([space]) == (None, [space])
