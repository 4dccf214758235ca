"""Epochs of fine-tuning with PyTorch and transformers, in its own environment.

    python fit_torch.py PHOTOS --network MobileNetV2 --precision bfloat16

The network has random weights, channels-last memory and frozen batch-norm statistics, as in fine-tuning; its decoded photos are
in memory. Its loop is that of PyTorch's tutorials.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image
from turns import Turns

SIZE = 224


def network(name, class_count):
    """A network of transformers with random weights."""
    if name == "MobileNetV2":
        config = transformers.MobileNetV2Config(num_labels=class_count, image_size=SIZE)
        return transformers.MobileNetV2ForImageClassification(config)
    return transformers.ResNetForImageClassification(transformers.ResNetConfig(num_labels=class_count))


def photos(folder):
    """(float32 pixels in [-1, 1], int64 classes) of a folder with a folder of photos for each class."""
    classes = sorted(path.name for path in Path(folder).iterdir())
    images, targets = [], []
    for path in sorted(Path(folder).glob("*/*")):
        image = Image.open(path).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        images.append(np.asarray(image, np.float32).transpose(2, 0, 1) / 127.5 - 1)
        targets.append(classes.index(path.parent.name))
    return torch.tensor(np.stack(images)), torch.tensor(targets)


def main():
    """Warms up for an epoch, then trains one in each turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos")
    parser.add_argument("--network", required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args()
    turns = Turns()
    torch.manual_seed(0)
    images, targets = photos(options.photos)
    model = network(options.network, int(targets.max()) + 1).to(memory_format=torch.channels_last).train()
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.eval()
    optimizer, loss_of = torch.optim.AdamW(model.parameters(), 1e-4), torch.nn.CrossEntropyLoss()

    def epoch():
        for rows in torch.randperm(len(images)).split(options.batch_size):
            batch = images[rows].contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bfloat16"):
                loss = loss_of(model(batch).logits, targets[rows])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return float(loss.detach())

    while True:
        turns.wait()
        turns.answer(loss=epoch())


if __name__ == "__main__":
    main()
