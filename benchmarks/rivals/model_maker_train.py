"""Trains a classifier with MediaPipe Model Maker and exports its int8 file, as in its guide; run in its own environment.

    python model_maker_train.py PHOTOS BACKBONE OUT --epochs 10

PHOTOS holds `train` and `validation` with a folder of images for each class, BACKBONE a reusable SavedModel that takes images
in [0, 1]: Model Maker would download the same network from TF Hub. Writes OUT/model.tflite.
"""

import argparse
import functools
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from mediapipe_model_maker import image_classifier, quantization
from mediapipe_model_maker.python.vision.image_classifier import model_spec

LEARNING_RATE, BATCH_SIZE = 0.08, 32  # 0.01 for its optimizer, which multiplies by the batch size over 256


class Backbones:
    """Stands in for Model Maker's table of networks to download, with one from a folder."""

    def __init__(self, folder):
        self.LOCAL = functools.partial(model_spec.ModelSpec, uri=folder, name="efficientnet_lite0")

    def get(self, spec):
        """A new specification, as `SupportedModels.get` returns it."""
        return spec()


def main():
    """Trains, and exports a file that is quantized with the training photos."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos")
    parser.add_argument("backbone")
    parser.add_argument("out")
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    train, validation = (
        image_classifier.Dataset.from_folder(os.path.join(options.photos, part)) for part in ("train", "validation")
    )
    model_spec.SupportedModels = Backbones(options.backbone)
    settings = image_classifier.HParams(
        epochs=options.epochs,
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        do_data_augmentation=False,
        export_dir=options.out,
    )
    classifier = image_classifier.ImageClassifier.create(
        train,
        validation,
        image_classifier.ImageClassifierOptions(supported_model=model_spec.SupportedModels.LOCAL, hparams=settings),
    )
    classifier.export_model(quantization_config=quantization.QuantizationConfig.for_int8(train))


if __name__ == "__main__":
    main()
