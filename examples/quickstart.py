"""The whole workflow on plain `keras.Model`s, without a config: data, model, two training phases, evaluation, export.

    python examples/quickstart.py [FOLDER]

FOLDER contains one folder of images per class; the default is scikit-learn's digits. Prints the test measures and writes
`quickstart/model.tflite`, compared with the model.
"""

import sys

import keras
from rich.console import Console

import kerastrain as kt

BATCH, HEAD_EPOCHS, EPOCHS = 32, 20, 3


def main(folder=None):
    keras.utils.set_random_seed(0)
    backbone = kt.backbones.load("kerastrain:fractal_small")
    options = {"image_size": backbone.image_size, "validation_fraction": 0.2, "test_fraction": 0.1}
    split = kt.data.image_folder(folder, **options) if folder else kt.data.digits(**options)
    model = kt.models.image_classifier(backbone, labels=split.labels, dropout=0.2)

    # Train the head on features that the frozen backbone computes once.
    features, head = kt.models.split_at_backbone(model)
    train, validation = (kt.data.features.precompute(features, part) for part in (split.train, split.validation))
    fit(head, train, validation, 5e-3, HEAD_EPOCHS)

    # Fine-tune the whole model with a lower learning rate and augmented images; batch-norm statistics stay frozen.
    kt.models.unfreeze(model)
    fit(model, split.train, split.validation, 5e-4, EPOCHS, augment=kt.data.augment("resized_crop", "colour", "noise"))

    measures = kt.evaluation.evaluate(model, kt.data.batches(split.test, 64))
    Console().print(kt.evaluation.table(measures, title="test"))
    print(
        kt.export.tflite(
            model,
            "quickstart/model.tflite",
            quantize="int8",
            samples=split.test,
            representative=split.train,
            replace=True,
        )
    )


def fit(model, train, validation, learning_rate, epochs, augment=None):
    steps = kt.data.steps_per_epoch(train, BATCH)
    schedule = kt.schedules.make("cosine", learning_rate, steps=epochs * steps, warmup_steps=steps // 2)
    model.compile(
        optimizer=kt.optimizers.make("adamw", schedule, global_clip_norm=1.0),
        loss=kt.models.loss(model),
        metrics=["accuracy"],
    )
    model.fit(
        kt.data.batches(train, BATCH, shuffle=True, epochs=epochs, augment=augment),
        epochs=epochs,
        steps_per_epoch=steps,
        shuffle=False,
        validation_data=kt.data.batches(validation, BATCH),
        verbose=2,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
