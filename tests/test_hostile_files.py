"""Files that were made to harm whoever opens them: each is refused or harmless, and nothing runs."""

import json
import zipfile

import h5py
import keras
import numpy as np
import pytest

from kerastrain import config, data, evaluation, models, report
from kerastrain.cli import main
from kerastrain.errors import ConfigError, InputError
from kerastrain.evaluation import tables


@pytest.fixture
def model_file(tmp_path):
    """Writes a `.keras` file whose config was changed by a function."""
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="dense")]).save(tmp_path / "good.keras")

    def write(change, weights=None):
        with zipfile.ZipFile(tmp_path / "good.keras") as good, zipfile.ZipFile(tmp_path / "bad.keras", "w") as bad:
            for name in good.namelist():
                content = good.read(name)
                if name == "config.json":
                    content = json.dumps(change(json.loads(content))).encode()
                bad.writestr(name, weights if weights and name == "model.weights.h5" else content)
        return tmp_path / "bad.keras"

    return write


def replaced_layer(layer):
    def change(config):
        config["config"]["layers"][1] = layer
        return config

    return change


def program(mark):
    """A layer that would make the file `mark`, in each of the ways that a config could name code."""
    command = f"open({str(mark)!r}, 'w').close()"
    lambda_layer = keras.layers.Lambda(eval(f"lambda x: {command}"), name="dense")
    called = {"module": "os", "class_name": "system", "config": {"command": f"touch {mark}"}, "registered_name": None}
    builtin = {"module": "builtins", "class_name": "exec", "config": {"source": command}, "registered_name": None}
    utility = {
        "module": "keras.utils",
        "class_name": "get_file",
        "config": {"fname": str(mark), "origin": "file:///etc/hostname"},
        "registered_name": None,
    }
    registered = {**called, "registered_name": "kerastrain>Labels"}
    activation = {
        "module": "keras.layers",
        "class_name": "Dense",
        "config": {"name": "dense", "units": 1, "activation": {**called, "class_name": "function", "config": "system"}},
        "registered_name": None,
    }
    return {
        "lambda": keras.saving.serialize_keras_object(lambda_layer),
        "os.system": called,
        "builtins.exec": builtin,
        "keras.utils.get_file": utility,
        "registered name": registered,
        "activation": activation,
    }


@pytest.mark.parametrize("way", program("mark"))
def test_a_config_that_names_code_is_refused(model_file, tmp_path, way):
    path = model_file(replaced_layer(program(tmp_path / "mark")[way]))
    with pytest.raises(InputError, match=r"bad\.keras' cannot be opened as a Keras model"):
        models.load(path)
    assert not (tmp_path / "mark").exists()


def test_another_suffix_does_not_open_another_door(model_file, tmp_path):
    for name in ("model.h5", "model.pkl", "model"):
        (tmp_path / name).write_bytes(b"\x80\x04cos\nsystem\n")
        with pytest.raises(InputError, match=r"must name a \.keras file"):
            models.load(tmp_path / name)


def test_weights_that_point_outside_or_claim_too_much_are_refused(model_file, tmp_path):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["0"] = np.zeros((2, 1), "float32")
    for attack in ("external", "huge"):
        with h5py.File(tmp_path / "weights.h5", "w") as file:
            group = file.create_group("layers/dense/vars")
            group["1"] = np.zeros(1, "float32")
            if attack == "external":
                group["0"] = h5py.ExternalLink(str(secret), "0")
            else:
                group.create_dataset("0", (10**7, 10**7), "float32", chunks=(1000, 1000))
        path = model_file(lambda config: config, weights=(tmp_path / "weights.h5").read_bytes())
        with pytest.raises(InputError, match="cannot be opened as a Keras model"):
            models.load(path)


def test_yaml_makes_no_objects(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    for tag in ("!!python/object/apply:os.system ['touch mark']", "!!python/name:os.system", "!!python/module:os"):
        recipe.write_text(f"fit:\n  epochs: {tag}\n")
        with pytest.raises(ConfigError, match="not valid YAML"):
            config.load(recipe)
        with pytest.raises(ConfigError, match="not valid YAML"):
            config.load(overrides=[f"fit.epochs={tag}"])


def test_yaml_that_multiplies_itself_is_refused(tmp_path):
    lines = ['a0: &a0 ["x", "x", "x", "x", "x", "x", "x", "x", "x"]']
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    (tmp_path / "recipe.yaml").write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="not valid YAML: its aliases stand for more than 1,000,000 values"):
        config.load(tmp_path / "recipe.yaml")


HOSTILE = "<script>alert(1)</script>\x1b[2J[red]\u202egpj"


def test_a_hostile_class_name_is_harmless_in_the_terminal(capsys):
    from rich.console import Console

    truth, shares = np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    measured = evaluation.measure(truth, shares, [HOSTILE, "b"])
    Console(width=300).print(tables.table(measured, title=HOSTILE))
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\u202e" not in printed
    assert "[red]" in printed


def test_a_label_that_is_a_page_is_text_in_the_report(tmp_path):
    (tmp_path / "config.yaml").write_text(config.dump(config.load()))
    (tmp_path / "labels.txt").write_text("<script>alert(1)</script>\nb\n")
    measured = evaluation.measure(np.array([0, 1]), np.eye(2), ["<script>alert(1)</script>", "b"])
    (tmp_path / "metrics.json").write_text(json.dumps({"<img src=x onerror=alert(1)>": measured}))
    (tmp_path / "history.csv").write_text("phase,epoch,loss\n<b>head</b>,0,1.0\n<b>head</b>,1,0.5\n")
    (tmp_path / "log.txt").write_text("2026-01-01 00:00:00 <iframe src=x>\n")
    page = report.write(tmp_path).read_text()
    for tag in ("<script>alert", "<img src=x", "<b>head", "<iframe"):
        assert tag not in page


def test_data_is_split_by_nothing_that_a_name_can_steer(tmp_path):
    for name in ("..", "$(touch mark)", "a;touch mark"):
        folder = tmp_path / "data" / f"class {name}"
        folder.mkdir(parents=True)
        for number in range(4):
            pixels = np.full((8, 8, 3), 40 * number + len(name))
            keras.utils.save_img(folder / f"{number}.png", pixels, scale=False)
    split = data.image_folder(tmp_path / "data", image_size=(8, 8), validation_fraction=0.25)
    assert split.labels == ("class $(touch mark)", "class ..", "class a;touch mark")
    assert not (tmp_path / "mark").exists()


def test_a_hostile_argument_is_harmless_in_the_error(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["kerastrain", "check", f"data.path=/nowhere/{HOSTILE}"])
    with pytest.raises(SystemExit) as stopped:
        main()
    told = capsys.readouterr().err
    assert stopped.value.code == 2
    assert "\\x1b[2J" in told
    assert "\x1b" not in told
