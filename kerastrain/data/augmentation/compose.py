"""Composes augmentations into one callable, and holds the table of their names.

Takes names and strengths; returns an `Augmentation`, a pure function of a batch and its seeds.
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping

import tensorflow as tf

from kerastrain.data.augmentation import philox
from kerastrain.data.augmentation.geometric import crop, flip, resampled, resized_crop, rotation
from kerastrain.data.augmentation.mixing import cutmix, mixed, mixup, pair_seeds
from kerastrain.data.augmentation.photometric import blur, colour, erasing, noise
from kerastrain.data.augmentation.policies import augmix, randaugment
from kerastrain.data.augmentation.text import word_dropout
from kerastrain.data.augmentation.transforms import (
    GeometricTransform,
    Mix,
    PhotometricTransform,
    TextTransform,
    Transform,
)
from kerastrain.data.examples import Examples
from kerastrain.errors import InputError, unknown

UserFunction = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def augment(*names: str | UserFunction, **arguments: Mapping[str, float]) -> "Augmentation":
    """Composes augmentations, in a fixed order that does not depend on the order of the names.

    The order is that of `AUGMENTATIONS`, with your own functions before MixUp and CutMix. If both of these are named, each
    pair of examples gets one of them, with equal probability. Each augmentation draws from its own stream, so that adding
    one does not change what the others draw. Omit "flip" where a mirror image has another label, as with digits.

    Args:
        *names: names of `AUGMENTATIONS` at their default strengths, or functions (example, seed int64 (2,)) -> example of
            the same shape, whose example is an image float32 (height, width, 3) in [0, 255] or a text.
        **arguments: from a name to the arguments that differ from their defaults, such as `noise={"stddev": 4}`; a name
            given here need not be in `names`.

    Returns:
        Augmentation, for `batches(augment=...)`.

    Raises:
        InputError: a name or an argument is unknown, a strength is out of its range, or augmentations of images and of
            texts are combined.

    Example:
        >>> change = augment("resized_crop", "mixup", colour={"hue": 0.0})
        >>> images, labels = change(tf.fill((2, 8, 8, 3), 100.0), tf.eye(2), seeds=[[0, 0], [0, 1]])
        >>> images.shape, labels.shape
        (TensorShape([2, 8, 8, 3]), TensorShape([2, 2]))
    """
    strengths = {name: {} for name in names if not callable(name)} | arguments
    for name in strengths:
        if name not in AUGMENTATIONS:
            raise InputError(unknown("augmentation", name, AUGMENTATIONS))
    transforms = {
        stream: _transform(name, strengths[name]) for stream, name in enumerate(AUGMENTATIONS) if name in strengths
    }
    if len({isinstance(transform, TextTransform) for transform in transforms.values()}) > 1:
        raise InputError(
            f"`augment` changes images or texts, not both. Received: {', '.join(strengths)}. Of these, word_dropout is for "
            "texts."
        )
    return Augmentation(transforms, tuple(name for name in names if callable(name)))


@dataclasses.dataclass(frozen=True, eq=False)
class Augmentation:
    """Random changes of a batch, created by `augment`.

    The result for an example depends only on the example and its seed, and with MixUp and CutMix on its partner.

    Attributes:
        transforms: from streams, int in [0, 2**32), to transforms, in the order in which they are applied.
        functions: the user's functions (example, seed int64 (2,)) -> example.
    """

    transforms: Mapping[int, Transform]
    functions: tuple[UserFunction, ...] = ()

    def __call__(self, inputs: tf.Tensor, *targets_and_weights: tf.Tensor, seeds: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Augments a batch.

        Args:
            inputs: uint8 or float32 (b, h, w, 3) in [0, 255], or string (b,) for augmentations of texts.
            *targets_and_weights: targets float32 (b, n), then weights float32 (b,), as far as there are any. Only MixUp
                and CutMix change them.
            seeds: int64 (b, 2), for each example a key of the run and the epoch, and its position in the epoch.

        Returns:
            tuple of the inputs, of the same shape, images as float32 in [0, 255], and `targets_and_weights`, of the same
            dtypes and shapes.

        Raises:
            InputError: the inputs are images but the augmentations are for texts, or the reverse, or the targets cannot
                be blended.
        """
        inputs, seeds = tf.convert_to_tensor(inputs), tf.convert_to_tensor(seeds, tf.int64)
        self._check_inputs(inputs.dtype == tf.string, inputs.shape)
        if inputs.dtype == tf.string:
            for stream, transform in self._of(TextTransform).items():
                inputs = transform.change(inputs, seeds, stream)
            return self._with_user_functions(inputs, seeds), *targets_and_weights
        of_single_images = self._of(GeometricTransform) | self._of(PhotometricTransform)
        draws = philox.uniform(seeds, {stream: transform.num_draws for stream, transform in of_single_images.items()})
        images = self._resampled(inputs, draws)
        for stream, transform in self._of(PhotometricTransform).items():
            images = transform.change(images, draws[stream])
        images = tf.ensure_shape(self._with_user_functions(images, seeds), inputs.shape)
        if self.mixes:
            return mixed(images, targets_and_weights, seeds, self._patches(pair_seeds(seeds)))
        return images, *targets_and_weights

    @property
    def mixes(self) -> bool:
        """Whether examples and their targets are blended with others."""
        return bool(self._of(Mix))

    def check(self, examples: Examples) -> None:
        """Checks that examples can be augmented.

        Args:
            examples: Examples.

        Raises:
            InputError: the examples are images but the augmentations are for texts, or the reverse, or MixUp or CutMix
                would blend the targets of a regression, or images with numbers beside them.
        """
        self._check_inputs(examples.dtype == object, (None, *examples.shape))
        if self.mixes and examples.task == "regression":
            raise InputError(
                "mixup and cutmix blend labels, but the target of a blended image is not the blend of two numbers "
                "(https://arxiv.org/abs/2210.05775). Received: examples of task 'regression'. Omit both."
            )

        if self.mixes and examples.numbers is not None:
            raise InputError(
                "mixup and cutmix blend images, but not the numbers beside them. Received: examples with "
                f"{', '.join(examples.number_names)}. Omit both."
            )

    def _check_inputs(self, are_texts: bool, shape: tuple) -> None:
        for_texts = bool(self._of(TextTransform))
        if self.transforms and for_texts != are_texts:
            kind, received = ("text", "image") if for_texts else ("image", "text")
            raise InputError(
                f"`augment` consists of {kind} augmentations. Received: {received}s. Name {received} augmentations, or "
                "none."
            )
        if self.transforms and not are_texts and len(shape) != 4:
            raise InputError(
                f"`augment` changes images (batch, height, width, 3). Received: shape {tuple(shape)}. Omit it."
            )

    def _of(self, kind: type) -> dict[int, Transform]:
        return {stream: transform for stream, transform in self.transforms.items() if isinstance(transform, kind)}

    def _resampled(self, images: tf.Tensor, draws: Mapping[int, tf.Tensor]) -> tf.Tensor:
        transforms = self._of(GeometricTransform)
        if not transforms:
            return tf.cast(images, tf.float32)
        height, width = (tf.cast(tf.shape(images)[axis], tf.float32) for axis in (1, 2))
        product = tf.eye(3)[tf.newaxis]
        for stream, transform in transforms.items():
            product = product @ transform.matrices(draws[stream], height, width)
        return resampled(images, product, stays_inside=all(transform.stays_inside for transform in transforms.values()))

    def _with_user_functions(self, inputs: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        for stream, function in enumerate(self.functions, start=_CHOICE + 1):
            pairs = (inputs, philox.derived_seeds(seeds, stream))
            inputs = tf.map_fn(lambda pair, function=function: function(*pair), pairs, fn_output_signature=inputs.dtype)
        if self.functions and inputs.dtype != tf.string:
            inputs = tf.clip_by_value(inputs, 0.0, 255.0)
        return inputs

    def _patches(self, seeds: tf.Tensor) -> tf.Tensor:
        """The patches of MixUp or CutMix, chosen for each pair; see `Mix`."""
        mixes = self._of(Mix)
        draws = philox.uniform(seeds, {stream: mix.num_draws for stream, mix in mixes.items()} | {_CHOICE: 1})
        patches = tf.stack([mix.patches(draws[stream]) for stream, mix in mixes.items()], axis=1)
        choice = tf.cast(draws[_CHOICE][:, 0] * len(mixes), tf.int32)
        return tf.gather(patches, choice, batch_dims=1)


def _transform(name: str, arguments: Mapping[str, float]) -> Transform:
    known = inspect.signature(AUGMENTATIONS[name]).parameters
    for argument in arguments:
        if argument not in known:
            raise InputError(unknown(f"argument of augmentation {name!r}", argument, known))
    return AUGMENTATIONS[name](**arguments)


AUGMENTATIONS = {
    "flip": flip,
    "crop": crop,
    "resized_crop": resized_crop,
    "rotation": rotation,
    "colour": colour,
    "randaugment": randaugment,
    "augmix": augmix,
    "blur": blur,
    "erasing": erasing,
    "noise": noise,
    "mixup": mixup,
    "cutmix": cutmix,
    "word_dropout": word_dropout,
}
_CHOICE = len(AUGMENTATIONS)  # The stream that chooses between MixUp and CutMix.
