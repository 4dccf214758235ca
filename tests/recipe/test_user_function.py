import json
import sys

import keras
import numpy as np
import processes
import pytest

import kerastrain as kt
from kerastrain.config import SearchConfig
from kerastrain.errors import InputError
from kerastrain.recipe import (
    search_requirements,
    search_space,
    trial_config,
    tuning,
    user_function,
    user_function_program,
    user_model,
)
from kerastrain.system import isolated_imports
from kerastrain.tuning import hyperparameters
from kerastrain.tuning.assignments import Assignment
from kerastrain.tuning.space import Choices, Condition, Interval

MODEL = """
import keras

from own_layers import flatten


def build(hp):
    kind = hp.Choice("kind", ["mlp", "cnn"])
    inputs = keras.Input((28, 28, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    with hp.conditional_scope("kind", ["cnn"]):
        if kind == "cnn":
            for index in range(hp.Int("layers", 1, 2)):
                x = keras.layers.Conv2D(hp.Int(f"filters_{index}", 4, 8, step=4), 5, strides=3)(x)
    x = flatten(x)
    with hp.conditional_scope("kind", ["mlp"]):
        if kind == "mlp":
            x = keras.layers.Dense(hp.Int("units", 16, 32, step=16), activation="relu")(x)
    model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x))
    rate = hp.Float("rate", 1e-4, 1e-2, sampling="log")
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", ["accuracy"])
    return model


def number(hp):
    return hp.Int("units", 1, 2)


def not_compiled(hp):
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])


def no_input(hp):
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def fails(hp):
    raise KeyError("missing\\nsecond line")
"""


@pytest.fixture
def model_file(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "own_layers.py").write_text("import keras\n\n\ndef flatten(x):\n    return keras.layers.Flatten()(x)\n")
    path = tmp_path / "model.py"
    path.write_text(MODEL)
    return path


def discovered(path, name):
    """What the program of `user_function.discover` finds, in this process, where TensorFlow is imported already."""
    result = path.with_name("result.json")
    user_function_program.main(str(path), name, str(result))
    found = json.loads(result.read_text())
    if found["error"] is not None:
        raise InputError(found["error"])
    return user_function.UserFunction(
        str(path), name, user_function._sha256(path), found["hyperparameters"], found["input_shape"]
    )


def test_every_hyperparameter_is_found_with_its_conditions(model_file, tmp_path):
    function = discovered(model_file, "build")
    cnn, layers = Condition("hp.kind", ("cnn",)), Interval(1, 2, integer=True)
    assert dict(function.space.parameters) == {
        "hp.kind": Choices(("mlp", "cnn")),
        "hp.units": Interval(16, 32, integer=True, step=16, when=(Condition("hp.kind", ("mlp",)),)),
        "hp.rate": Interval(1e-4, 1e-2, "log"),
        "hp.layers": Interval(1, 2, integer=True, when=(cnn,)),
        "hp.filters_0": Interval(4, 8, integer=True, step=4, when=(cnn,)),
        "hp.filters_1": Interval(4, 8, integer=True, step=4, when=(cnn,)),
    }
    assert layers.values == range(1, 3)
    assert function.input_shape == [None, 28, 28, 3]
    user_function.write(tmp_path, function)
    assert user_function.read(tmp_path) == function
    assert user_function.read(tmp_path / "elsewhere") is None
    function.require_unchanged()
    model_file.write_text(MODEL + "\n")
    with pytest.raises(InputError, match="has changed since the search began"):
        function.require_unchanged()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("number", "model.py:number must return a keras.Model. Received: builtins.int. Return the compiled model."),
        ("not_compiled", "model.py:not_compiled must return a compiled model."),
        ("no_input", "model.py:no_input must return a model with a known input."),
        ("fails", "model.py:fails raised KeyError: 'missing\\nsecond line' (line 40)"),
        (
            "bild",
            "unknown function 'bild'. Known: build, fails, flatten, no_input, not_compiled, number. Did you mean 'build'?",
        ),
    ],
)
def test_a_function_that_makes_no_models_is_one_sentence(model_file, name, sentence):
    with pytest.raises(InputError) as error:
        discovered(model_file, name)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_imported_names_the_line(model_file):
    model_file.write_text("import keras\n\nrate = 1 / 0\n")
    with pytest.raises(InputError, match=r"importing .*model.py raised ZeroDivisionError: division by zero \(line 3\)"):
        discovered(model_file, "build")
    model_file.write_text("import keras\ndef build(hp:\n")
    with pytest.raises(InputError, match=r"raised SyntaxError: .* \(line 2\)"):
        discovered(model_file, "build")


def test_a_function_that_is_not_there_is_told_without_a_process(model_file, tmp_path):
    with pytest.raises(
        InputError, match=r"a function is named FILE.py:FUNCTION, such as model.py:build. Received: model.py."
    ):
        user_function.discover("model.py")
    with pytest.raises(
        InputError, match=r"no file '.*modl.py'. unknown file 'modl.py'. Known: .*Did you mean 'model.py'"
    ):
        user_function.discover(f"{tmp_path}/modl.py:build")


@pytest.mark.slow
def test_a_model_of_a_point_trains_and_has_the_measures_of_the_others(model_file, tmp_path):
    function = discovered(model_file, "build")
    config = kt.config.load(overrides=["fit.epochs=2", "runtime.seed=3"])
    search = kt.config.validate({"space": {"fit.global_batch_size": [64]}}, SearchConfig)
    space = search_space.check(config, search, build_space=function.space)
    point = {
        "fit.global_batch_size": 64,
        "hp.kind": "cnn",
        "hp.layers": 2,
        "hp.filters_0": 4,
        "hp.filters_1": 8,
        "hp.rate": 1e-2,
    }
    assert space.active(point).keys() == point.keys()
    values, own = user_function.split(point)
    assert values == {"fit.global_batch_size": 64}

    def load_data(config, image_size):
        assert image_size == (28, 28)
        rng = np.random.default_rng(0)
        targets = rng.integers(0, 10, 96)
        images = np.uint8(rng.integers(0, 60, (96, 28, 28, 3)) + 19 * targets[:, None, None, None])
        labels = tuple("0123456789")
        return kt.data.Split(*(kt.data.Examples(targets, labels, images) for _ in range(3)))

    prepared = user_model.prepare(function, own, config, load_data=load_data)
    model, epochs = prepared.build(), []
    assert [layer.filters for layer in model.layers if isinstance(layer, keras.layers.Conv2D)] == [4, 8]
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-2)
    best = user_model.fit(
        model,
        prepared.config,
        prepared.split,
        tmp_path,
        on_epoch=lambda epoch, logs: epochs.append(epoch) or "continue",
    )
    assert epochs == [1, 2]
    outputs = model.predict(np.float32(prepared.split.validation.inputs), verbose=0)
    targets = prepared.split.validation.targets
    truth = outputs[np.arange(96), targets]
    assert best.logs["val_accuracy"] == pytest.approx((outputs.argmax(axis=1) == targets).mean())
    assert best.logs["val_data_loss"] == pytest.approx(float(-np.log(truth).mean()), rel=1e-4)


@pytest.mark.parametrize(
    ("loss", "plain"),
    [
        ("mse", "MeanSquaredError"),
        ("binary_crossentropy", "BinaryCrossentropy"),
        (keras.losses.sparse_categorical_crossentropy, "CategoricalCrossentropy"),
        (keras.losses.Huber(), "Huber"),
    ],
)
def test_a_loss_is_an_object_for_one_hot_targets(loss, plain):
    assert type(user_model._loss(loss)).__name__ == plain


def test_the_logits_of_a_sparse_loss_stay_logits():
    loss = user_model._loss(keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert loss.get_config()["from_logits"]
    with pytest.raises(InputError, match=r"a loss of Keras, or a keras.losses.Loss. Received: the function own."):

        def own(y_true, y_pred):
            return y_pred

        user_model._loss(own)


def test_hyperparameters_of_one_name_under_two_values_are_one():
    keras_tuner = isolated_imports.keras_tuner()

    def build(hp):
        name = hp.Choice("name", ["sgd", "adam", "lion"])
        for value in ("adam", "sgd"):
            with hp.conditional_scope("name", [value]):
                hp.Float("rate", 0.1, 0.9, sampling="reverse_log")
        hp.Fixed("fixed", 3)
        hp.Boolean("on", default=True)
        hp.Int("one", 1, 1)
        with hp.name_scope("own"):
            hp.Choice("order", [3, 1, 2], default=2)
        return name

    record = hyperparameters.discover(keras_tuner, build)
    space = hyperparameters.from_keras_tuner(record)
    assert dict(space.parameters) == {
        "name": Choices(("sgd", "adam", "lion")),
        "rate": Interval(0.1, 0.9, "reverse_log", when=(Condition("name", ("adam", "sgd")),)),
        "fixed": Choices((3,)),
        "on": Choices((True, False)),
        "one": Choices((1,)),
        "own/order": Choices((2, 3, 1)),
    }
    values = {"name": "sgd", "rate": 0.5, "fixed": 3, "on": False, "one": 1, "own/order": 1}
    hp = hyperparameters.in_keras_tuner(keras_tuner, record, values)
    assert build(hp) == "sgd"
    assert hp.values == values, "and nothing else was registered"

    def twice(hp):
        hp.Choice("name", ["sgd", "adam"])
        hp.Int("units", 1, 4, parent_name="name", parent_values=["sgd"])
        hp.Int("units", 1, 8, parent_name="name", parent_values=["adam"])

    with pytest.raises(
        InputError, match=r"'units' with different ones under different conditions. Give each its own name"
    ):
        hyperparameters.from_keras_tuner(hyperparameters.discover(keras_tuner, twice))


@pytest.mark.chaos
def test_the_command_searches_a_function_and_its_best_model_is_kept(model_file):
    place = model_file.parent
    settings = [
        "algorithm=grid",
        "trials=2",
        "fit.epochs=1",
        "space.fit.global_batch_size=[128]",
        "constraints=[hp.units < 32]",
    ]
    refused = processes.kerastrain(place, "tune", *settings, "--build", "model.py:build", code=2)
    assert "algorithm: grid needs a step or a list of choices for every key. Received: space.hp.rate" in refused.stderr
    settings[0] = "algorithm=random"
    done = processes.kerastrain(place, "tune", *settings, "--build", "model.py:build", "--out", "search")
    assert "models      " in done.stdout
    assert "kerastrain train" not in done.stdout, "which has no such model"
    assert "model       search/trials/00" in done.stdout
    search = place / "search"
    assert user_function.read(search) == discovered(model_file, "build")
    trials = json.loads((search / "trials.json").read_text())
    for trial in trials["trials"]:
        assert trial["status"] == "completed"
        assert trial["values"].get("hp.units") in (None, 16)
    values = json.loads((search / "hyperparameters.json").read_text())
    best = keras.models.load_model(search / f"trials/{trials['best']:03d}" / "model.keras")
    assert float(best.optimizer.learning_rate) == pytest.approx(values["rate"])
    resumed = processes.kerastrain(place, "tune", "--resume", "search", code=2)
    assert f"If you trust it, add --build {model_file}:build" in resumed.stderr


@pytest.mark.slow
def test_a_function_that_ends_its_process_is_told(model_file):
    model_file.write_text("import os\n\nos._exit(3)\n")
    with pytest.raises(InputError, match="ended its process with code 3"):
        user_function.discover(f"{model_file}:build")


def test_a_search_that_is_resumed_runs_no_function_that_the_user_does_not_name(model_file, tmp_path, monkeypatch):
    function, search = discovered(model_file, "build"), tmp_path / "search"
    search.mkdir()
    assert user_function.require_same(search, None) is None
    with pytest.raises(InputError, match=r"has no function. Received: --build .*model.py:build. Remove it."):
        user_function.require_same(search, function)
    user_function.write(search, function)
    with pytest.raises(
        InputError, match=r"must be named again. Received: none. If you trust it, add --build .*model.py:build"
    ):
        user_function.require_same(search, None)
    with pytest.raises(InputError, match=r"a search is resumed with its own function. Received: --build .*:fails."):
        user_function.require_same(search, f"{model_file}:fails")
    monkeypatch.chdir(tmp_path)
    assert (
        user_function.require_same(search, "model.py:build") == user_function.require_same(search, function) == function
    )
    model_file.write_text("raise SystemExit")
    with pytest.raises(InputError, match="has changed since the search began"):
        user_function.require_same(search, "model.py:build")


def test_a_search_with_a_function_needs_no_backbone_and_has_its_epochs(model_file, tmp_path):
    function = discovered(model_file, "build")
    config = kt.config.load(overrides=["fit.epochs=4", "model.backbone=keras:NASNetLarge"])
    search = kt.config.validate({"algorithm": "hyperband"}, SearchConfig)
    space = search_requirements.require(config, search, tmp_path / "search", function=function)
    assert space.order == function.space.order
    assert tuning.settings_of(config, search, function).max_epochs == 4
    values = {"fit.global_batch_size": 16, "hp.kind": "mlp"}
    own = trial_config.of_trial(config, trial_config.objectives(search), Assignment("001", 1, 0, values, None))
    assert own.fit.global_batch_size == 16
    for overrides, text in (
        (["fit.epochs=1"], {}),
        ([], {"objective": "export.tflite_int8.bytes", "algorithm": "random"}),
    ):
        with pytest.raises(
            InputError, match=r"hyperband needs trials of at least 2 epochs. Received: 1|files are exported only"
        ):
            search_requirements.require(
                kt.config.load(overrides=overrides),
                kt.config.validate({"algorithm": "hyperband", **text}, SearchConfig),
                tmp_path / "search",
                function=function,
            )
    language = kt.config.load(overrides=["data.kind=chat", "data.path=qa.jsonl", "model.backbone=x"])
    with pytest.raises(
        InputError, match=r"a function makes models of images or texts. Received: --build .*data.kind=chat"
    ):
        search_requirements.require(language, search, tmp_path / "search", function=function)
