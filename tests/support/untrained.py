"""Runs that were never trained: a config and a model, which is all that predict, explain and evaluate need."""

import json
import zipfile

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from kerastrain import config, models
from kerastrain.run_directory import Run

COLOURS = {"blue": (30, 40, 210), "green": (30, 180, 40), "red": (200, 30, 30)}


def images(folder, *, task="single_label", labels=("blue", "green", "red"), overrides=()):
    """A run whose model answers with the brightness of the channels in another order, so that it is right on `COLOURS`."""
    inputs = keras.Input((8, 8, 3))
    maps = keras.layers.Conv2D(3, 1, name="channels")(inputs)
    network = keras.Model(inputs, maps)
    network.get_layer("channels").set_weights([np.eye(3)[:, ::-1].reshape(1, 1, 3, 3) / 25, np.zeros(3)])
    if task == "regression":
        model = models.image_regressor(network, labels=labels, mean=10.0, stddev=2.0)
    else:
        options = {"labels": labels, "multi_label": task == "multi_label", "dropout": 0.0}
        model = models.image_classifier(network, image_size=(8, 8), **options)
    head = model.get_layer("outputs" if task == "regression" else "logits")
    head.set_weights([np.eye(3, len(labels)), np.zeros(len(labels))])
    values = [f"data.task={task}", "data.image_size=[8, 8]", "model.dropout=0", "model.backbone=own.keras", *overrides]
    return _written(folder, config.load(overrides=values), model)


def texts(folder, *, overrides=()):
    """A run whose model tells texts with "good" from others."""
    model = models.text_classifier(labels=["neg", "pos"], texts=["good bad film"], embedding_dim=4)
    backbone = model.get_layer("backbone")
    embeddings = np.zeros(backbone.get_layer("words").embeddings.shape)
    embeddings[backbone.get_layer("tokens").get_vocabulary().index("good"), 0] = 1
    backbone.get_layer("words").set_weights([embeddings])
    model.get_layer("logits").set_weights([np.eye(4, 2)[:, ::-1] * 3, np.array([1.0, 0.0])])
    values = ["data.kind=text", f"data.path={folder.parent}", *overrides]
    return _written(folder, config.load(overrides=values), model)


def strings(texts):
    """Texts as a model takes them."""
    return tf.constant(list(texts))


def card(folder, labels, *, task="single_label", overrides=()):
    """The files of a run that answer without TensorFlow: its config, and a model.keras with no weights."""
    kind = "text" if "data.kind=text" in overrides else "images"
    shape = [None] if kind == "text" else [None, 8, 8, 3]
    layers = [
        {"class_name": "InputLayer", "config": {"batch_shape": shape}},
        {"class_name": "Labels", "config": {"labels": list(labels), "task": task}},
    ]
    folder.mkdir(parents=True)
    backbone = [] if kind == "text" else ["model.backbone=kerastrain:fractal_small"]
    settings = config.load(overrides=[f"data.task={task}", *backbone, *overrides])
    (folder / "config.yaml").write_text(config.dump(settings))
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        archive.writestr("config.json", json.dumps({"config": {"layers": layers}}))
    return folder


def _written(folder, settings, model):
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config.dump(settings))
    model.save(folder / "model.keras")
    return Run(folder, settings, model)


def made_once(folder):
    """A function that makes a run in a folder, by `images` or another function here, once for each of its arguments."""
    made = {}

    def run(kind="images", **options):
        key = json.dumps([kind, options])
        if key not in made:
            made[key] = globals()[kind](folder / str(len(made)), **options)
        return made[key]

    return run


def picture(path, colour):
    """Writes a picture of one of `COLOURS`; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), COLOURS[colour]).save(path)
    return path
