"""Epochs of fine-tuning with `kerastrain.recipe.fit`, which is what `kerastrain train` calls.

    python fit_own.py PHOTOS --network MobileNetV2 --weights FILE --batch-size 16

What kerastrain chooses by measuring is chosen before the first turn, for a run of STEPS steps, as 10 epochs of 2,000 photos have
in batches of 16.
"""

import argparse
import os
import tempfile
from pathlib import Path

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}

from turns import Turns

from kerastrain import config, recipe

STEPS = 1250


def main():
    """Trains an epoch in each turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos")
    parser.add_argument("--network", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--set", nargs="+", default=(), metavar="KEY=VALUE")
    options = parser.parse_args()
    turns = Turns()
    count = sum(path.is_file() for path in Path(options.photos).glob("*/*"))
    epochs = -(-STEPS // -(-count // options.batch_size))
    settings = config.load(
        overrides=[
            f"data.path={options.photos}",
            "data.image_size=[224, 224]",
            "data.train_on_validation=true",
            "data.test_fraction=0",
            "evaluation.sets=[]",
            "export.formats=[]",
            "data.augment=null",
            f"model.backbone=keras:{options.network}",
            f"model.weights={options.weights}",
            "fit.head_epochs=0",
            f"fit.epochs={epochs}",
            f"fit.global_batch_size={options.batch_size}",
            "optimizer.fine_tune_fraction=0.01",
            *options.set,
        ]
    )
    prepared = recipe.prepare(settings)
    chosen = {"precision": prepared.config.runtime.precision, "jit_compile": prepared.config.runtime.jit_compile}

    def on_epoch(number, logs):
        turns.answer(loss=float(logs["loss"]), chosen=chosen)
        turns.wait()
        return "continue"

    with tempfile.TemporaryDirectory() as folder:
        turns.wait()
        recipe.fit(prepared.build(), prepared.config, prepared.split, Path(folder), on_epoch=on_epoch)


if __name__ == "__main__":
    main()
