"""The store of checkpoints and the state of a model: restored values, and reports of incomplete checkpoints."""

import json
import os
import re

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import checkpoints, optimizers, runtime
from kerastrain.callbacks import callback_state
from kerastrain.errors import InputError
from kerastrain.keras_internals import global_seed
from kerastrain.system import files

# The store.


def test_a_state_comes_back_as_it_was_given(tmp_path):
    best = files.write_text(tmp_path / "best.keras", "epoch 3")
    state = {
        "floats": [np.float32([0.1, np.nan]), np.float64(0.1), 0.1, float("inf")],
        "others": {"bfloat16": tf.constant([1.5], tf.bfloat16), "seed": np.uint32([7, 2**32 - 1]), "flag": True},
        "nothing": None,
        "text": "ü",
        "file": best,
        "files": {"again": best},
    }
    checkpoints.write(tmp_path / "all", state)
    files.write_text(best, "epoch 7")
    stored = checkpoints.latest(tmp_path / "all").read()
    np.testing.assert_array_equal(stored["floats"][0], state["floats"][0])
    assert stored["floats"][1:] == [0.1, 0.1, float("inf")]
    assert stored["others"]["bfloat16"].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(stored["others"]["seed"], state["others"]["seed"])
    assert (stored["others"]["flag"], stored["nothing"], stored["text"]) == (True, None, "ü")
    assert (stored["file"].read_text(), stored["files"]["again"].read_text()) == ("epoch 3", "epoch 3")


def test_the_store_counts_up_and_keeps_the_newest(tmp_path):
    assert checkpoints.latest(tmp_path / "none") is None
    for number in range(12):
        checkpoints.write(tmp_path, {"number": number}, keep=2)
    assert sorted(os.listdir(tmp_path)) == ["000011", "000012"]
    assert checkpoints.latest(tmp_path).outline == {"number": 11}


def shortened(path):
    path.write_bytes(path.read_bytes()[:-1])


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("name", "harm", "fault"),
    [
        ("tensors.data-00000-of-00001", flipped, "has a wrong checksum"),
        ("tensors.data-00000-of-00001", shortened, r"has \d+ of \d+ bytes"),
        ("tensors.index", os.remove, "is missing"),
        ("state.json", flipped, "has a wrong checksum"),
        ("manifest.json", shortened, "manifest.json cannot be read"),
        ("manifest.json", os.remove, "manifest.json cannot be read"),
        ("manifest.json", lambda path: path.write_text("[]"), "manifest.json cannot be read"),
        ("manifest.json", lambda path: path.write_text('{"format": 2}'), "its format is 2, but this version reads 1"),
        ("files/0_best.keras", os.remove, "is missing"),
    ],
)
def test_a_torn_checkpoint_is_told_and_the_one_before_it_is_used(tmp_path, caplog, name, harm, fault):
    best = files.write_text(tmp_path / "best.keras", "good")
    for number in (1, 2):
        checkpoints.write(tmp_path / "all", {"number": number, "values": np.arange(9.0), "best": best})
    harm(tmp_path / "all" / "000002" / name)
    assert checkpoints.latest(tmp_path / "all").outline["number"] == 1
    assert caplog.records[0].levelname == "WARNING"
    assert f"skipped the checkpoint {tmp_path / 'all' / '000002'}, which is incomplete: " in caplog.text
    assert re.search(fault, caplog.text)


def test_the_store_says_what_it_cannot_keep(tmp_path):
    with pytest.raises(TypeError, match=r"Received: builtins.set at 'callbacks/0'"):
        checkpoints.write(tmp_path, {"callbacks": [{1, 2}]})
    assert os.listdir(tmp_path) == []


# The state of a model.


def network(units=3, optimizer="adam", **options):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(units),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(2),
        ]
    )
    model.compile(optimizers.make(optimizer, 0.01, **options), "mse", metrics=["mae"])
    model.optimizer.build(model.trainable_variables)
    return model


def data(steps=3, batch=5):
    random = np.random.default_rng(0)
    x = random.normal(size=(steps * batch, 4)).astype("float32")
    return tf.data.Dataset.from_tensor_slices((x, x[:, :2])).batch(batch)


def everything(model):
    """The values of all variables on all replicas, metrics included."""
    variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    local = tf.distribute.get_strategy().experimental_local_results
    return [replica.numpy() for variable in variables for replica in local(variable.value)]


def through_disk(folder, state):
    checkpoints.write(folder, state)
    return checkpoints.latest(folder).read()


def assert_same(left, right):
    for value, expected in zip(left, right, strict=True):
        np.testing.assert_array_equal(value, expected)


def test_a_model_gets_its_whole_state_back(tmp_path):
    model = network(ema_momentum=0.9)
    model.fit(data(), shuffle=False, verbose=0)
    before, state = everything(model), through_disk(tmp_path, checkpoints.capture(model))
    model.fit(data(), shuffle=False, verbose=0)
    checkpoints.restore(model, state)
    checkpoints.restore_metrics(model, state)
    assert_same(everything(model), before)


@pytest.mark.slow
def test_each_replica_gets_its_own_state_back(tmp_path, caplog):
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.HierarchicalCopyAllReduce())
    with strategy.scope():
        model = network()
        model.fit(data(batch=6), shuffle=False, verbose=0)
        averages = strategy.experimental_local_results(model.layers[1].moving_mean.value)
        assert (averages[0].numpy() != averages[1].numpy()).any()
        before, state = everything(model), through_disk(tmp_path, checkpoints.capture(model))
        loss = float(model.metrics[0].result())
        model.fit(data(batch=6), shuffle=False, verbose=0)
        checkpoints.restore(model, state)
        checkpoints.restore_metrics(model, state)
        assert_same(everything(model), before)
    assert not caplog.records
    on_one_device = network()
    on_one_device.fit(data(), shuffle=False, verbose=0)
    checkpoints.restore(on_one_device, state)
    checkpoints.restore_metrics(on_one_device, state)
    np.testing.assert_array_equal(on_one_device.layers[0].kernel.numpy(), before[0])
    assert float(on_one_device.metrics[0].result()) == pytest.approx(loss)
    assert "a training on 2 replicas resumes on 1: from the same weights, but not bit for bit" in caplog.text


def test_masks_of_constraints_and_the_global_seed_are_part_of_the_state(tmp_path):
    class Masked(keras.constraints.Constraint):
        def __init__(self):
            self.mask = keras.Variable(np.float32([[1, 0, 1]]), trainable=False, name="mask")

        def __call__(self, kernel):
            return kernel * self.mask

    model = network()
    model.layers[0].kernel.constraint = Masked()
    keras.random.normal((1,))
    seed = global_seed.get_or_create()[0].numpy()
    state = through_disk(tmp_path, checkpoints.capture(model))
    model.layers[0].kernel.constraint.mask.assign([[0.0, 0.0, 0.0]])
    keras.random.normal((1,))
    checkpoints.restore(model, state)
    assert model.layers[0].kernel.constraint.mask.numpy().tolist() == [[1, 0, 1]]
    np.testing.assert_array_equal(global_seed.get_or_create()[0].numpy(), seed)
    runtime.seed(1)
    assert global_seed.existing() == []
    checkpoints.restore(model, state)
    np.testing.assert_array_equal(global_seed.existing()[0].numpy(), seed)


def test_the_names_that_keras_counts_up_do_not_matter(tmp_path):
    state = through_disk(tmp_path, checkpoints.capture(network()))
    later = network()
    assert later.variables[0].path != state["model"][0]["path"]
    checkpoints.restore(later, state)


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        (
            {"units": 5},
            r"group 'model' the checkpoint has sequential/dense/kernel of shape \(4, 3\), the model "
            r"sequential/dense/kernel of \(4, 5\)",
        ),
        ({"optimizer": "sgd"}, "In the group 'optimizer' the checkpoint has adam/iteration of shape"),
        ({"ema_momentum": 0.9}, "In the group 'optimizer' the checkpoint has "),
    ],
)
def test_another_model_is_told(tmp_path, options, difference):
    state = through_disk(tmp_path, checkpoints.capture(network()))
    with pytest.raises(InputError, match=difference):
        checkpoints.restore(network(**options), state)


def test_a_model_without_state_is_told():
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(InputError, match=f"Received: '{model.name}', which is not. Give it a keras.Input"):
        checkpoints.capture(model)


def test_the_position_counts_the_steps_of_all_epochs():
    position = checkpoints.Position("head", 2, 3, 100)
    assert position.step == 203
    assert str(position) == "step 203 (epoch 3, phase head)"
    assert checkpoints.Position(**json.loads(json.dumps(vars(position)))) == position


# The state of callbacks.


def test_keras_still_has_the_names_of_what_its_callbacks_remember():
    made = {
        keras.callbacks.EarlyStopping: {},
        keras.callbacks.ReduceLROnPlateau: {},
        keras.callbacks.ModelCheckpoint: {"filepath": "a.keras", "save_freq": 2},
        keras.callbacks.SwapEMAWeights: {},
        keras.callbacks.History: {},
    }
    assert set(made) == set(callback_state.KERAS_CALLBACKS)
    for kind, arguments in made.items():
        callback = kind(**arguments)
        callback.set_model(network())
        if kind is not keras.callbacks.SwapEMAWeights:
            callback.on_train_begin()
        names = set(callback_state.KERAS_CALLBACKS[kind]) - {"best_epoch"}
        assert names <= set(vars(callback)), kind


def test_memories_are_told_apart_by_class_and_number():
    class Counter(keras.callbacks.Callback):
        count = 0

        def saved_state(self):
            return {"count": self.count}

        def restore_state(self, state):
            self.count = state["count"]

    first, second, stop = Counter(), Counter(), keras.callbacks.EarlyStopping()
    second.count, stop.wait = 2, 3
    states = callback_state.saved([first, keras.callbacks.TerminateOnNaN(), stop, second])
    assert {name: state for name, state in states.items() if "Counter" in name} == {
        name: {"count": count}
        for name, count in zip(filter(lambda name: "Counter" in name, states), (0, 2), strict=True)
    }
    others = [Counter(), Counter(), Counter(), keras.callbacks.EarlyStopping()]
    callback_state.restore(others, states)
    assert [counter.count for counter in others[:3]] == [0, 2, 0]
    assert others[3].wait == 3
