import io
import json
import logging

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from kerastrain import config as configs
from kerastrain import data
from kerastrain.recipe import fitting, plan, training_data


def written(tmp_path, split, *overrides):
    training_data.write(configs.load(overrides=overrides), split, tmp_path)
    return json.loads((tmp_path / "training_data.json").read_text(encoding="utf-8"))


def test_the_counts_and_the_samples_of_images_are_those_of_training(tmp_path):
    split = data.digits(image_size=(8, 8))
    options = ["data.path=digits", "data.image_size=[8, 8]", "data.augment=[flip]"]
    record = written(tmp_path, split, *options)
    assert record["parts"]["train"] == {"count": len(split.train), "classes": np.bincount(split.train.targets).tolist()}
    assert record["labels"] == [str(digit) for digit in range(10)]
    assert record["augmented"] is True
    first = data.indices(split.train, 24, 0, shuffle=True, seed=0)[:12]
    assert record["samples"] == {"tile": [64, 64], "columns": 6, "labels": [str(split.train.targets[i]) for i in first]}
    sheet = np.asarray(PIL.Image.open(io.BytesIO((tmp_path / "training_samples.png").read_bytes())))
    assert sheet.shape == (128, 384, 3)
    mirrored = 0
    for number, image in enumerate(np.rint(split.train.read(first)).astype(np.uint8)):
        top, left = number // 6 * 64, number % 6 * 64
        tile = sheet[top : top + 64 : 8, left : left + 64 : 8]  # Each pixel was drawn as 8 x 8.
        mirrored += not np.array_equal(tile, image)
        assert np.array_equal(tile, image) or np.array_equal(tile, image[:, ::-1])
    assert 0 < mirrored < 12
    kept = (tmp_path / "training_samples.png").read_bytes()
    written(tmp_path, split, "data.path=digits", "data.image_size=[8, 8]")
    assert (tmp_path / "training_samples.png").read_bytes() == kept, "a resumed run keeps its samples"


def test_samples_are_not_augmented_where_only_the_head_trains(tmp_path):
    split = data.digits(image_size=(8, 8))
    options = ["data.path=digits", "data.image_size=[8, 8]", "data.augment=[flip]", "fit.epochs=0"]
    assert written(tmp_path, split, *options)["augmented"] is False
    first = data.indices(split.train, 24, 0, shuffle=True, seed=0)[0]
    sheet = np.asarray(PIL.Image.open(tmp_path / "training_samples.png"))
    assert np.array_equal(sheet[:64:8, :64:8], np.rint(split.train.read([first])[0]).astype(np.uint8))


def test_texts_and_numbers_have_samples_and_a_histogram(tmp_path):
    texts = np.array([f"text {number} " + "long " * 99 for number in range(20)], object)
    targets = np.linspace(0, 1, 20, dtype="float32")[:, np.newaxis]
    parts = {
        name: data.Examples(inputs=texts, targets=targets, labels=("<age>",), task="regression")
        for name in ("train", "validation")
    }
    split = data.Split(**parts)
    record = written(tmp_path, split, "data.kind=text", "data.path=texts.csv", "data.task=regression")
    assert len(record["texts"]) == 6
    assert all(text.startswith("text ") and text.endswith(" …") and len(text) == 302 for _, text in record["texts"])
    (target,) = record["parts"]["validation"]["targets"]
    assert target["label"] == "<age>"
    assert sum(target["shares"]) == pytest.approx(1)
    assert len(target["middles"]) == 6
    assert not (tmp_path / "training_samples.png").exists()


@pytest.mark.parametrize("strategy", [None, tf.distribute.MirroredStrategy])
def test_penalties_on_weights_are_said_with_their_size_on_any_number_of_devices(strategy, caplog):
    scope = (strategy(["CPU:0", "CPU:1"]) if strategy else tf.distribute.get_strategy()).scope()
    with scope:
        layer = keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.01), kernel_initializer="ones")
        model = keras.Sequential([keras.Input((4,)), layer])
    phase = plan.Phase("fine_tune", 1, 1, 0, 0.1, "constant", {})
    with caplog.at_level(logging.INFO, "kerastrain"):
        fitting._log_penalties(model, phase)
        layer.kernel.assign(np.zeros((4, 3)))
        fitting._log_penalties(model, phase)
    assert [record.getMessage() for record in caplog.records] == [
        "phase fine_tune: the loss includes penalties on weights, 0.12 at its start; data_loss is the loss of the examples alone"
    ]
