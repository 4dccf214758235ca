"""Changes of all kinds put into one callable, and the table of their names.

Takes names and strengths; gives an `Augmentation`, a pure function of a batch and its seeds.
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
from kerastrain.data.augmentation.transforms import Change, GeometricTransform, Mix, PhotometricTransform, TextTransform
from kerastrain.data.examples import Examples
from kerastrain.errors import InputError, unknown

Own = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def augment(*names: str | Own, **arguments: Mapping[str, float]) -> "Augmentation":
    """The named changes as one, in a fixed order whatever the order of the names.

    The order is that of `AUGMENTATIONS`, with functions of your own before MixUp and CutMix; where both of these are named,
    each pair gets one of them, either with the same chance. Each change draws from its own stream: adding one
    leaves what the others draw unchanged. Leave "flip" out where mirror images are other things, as with digits.

    Args:
        *names: names of `AUGMENTATIONS` at their default strengths, or functions (example, seed int64 (2,)) -> example of
            the same shape, that take an image float32 (height, width, 3) in [0, 255] or a text.
        **arguments: for a name, the arguments to change, such as `noise={"stddev": 4}`; naming it here is enough.

    Returns:
        Augmentation, for `batches(augment=...)`.

    Raises:
        InputError: an unknown name or argument, a strength out of its range, or changes of images and of texts together.

    Example:
        >>> change = augment("resized_crop", "mixup", colour={"hue": 0.0})
        >>> images, labels = change(tf.fill((2, 8, 8, 3), 100.0), tf.eye(2), seeds=[[0, 0], [0, 1]])
        >>> images.shape, labels.shape
        (TensorShape([2, 8, 8, 3]), TensorShape([2, 2]))
    """
    wanted = {name: {} for name in names if not callable(name)} | arguments
    for name in wanted:
        if name not in AUGMENTATIONS:
            raise InputError(unknown("augmentation", name, AUGMENTATIONS))
    changes = {stream: _made(name, wanted[name]) for stream, name in enumerate(AUGMENTATIONS) if name in wanted}
    if len({isinstance(change, TextTransform) for change in changes.values()}) > 1:
        raise InputError(
            f"`augment` changes images or texts, not both. Received: {', '.join(wanted)}. Of these, word_dropout is for "
            "texts."
        )
    return Augmentation(changes, tuple(name for name in names if callable(name)))


@dataclasses.dataclass(frozen=True, eq=False)
class Augmentation:
    """Random changes of a batch; made by `augment`.

    What happens to an example depends on the example and its own seed alone, and for MixUp and CutMix on its partner.

    Attributes:
        changes: from streams to changes, in the order in which they are made.
        own: functions (example, seed int64 (2,)) -> example.
    """

    changes: Mapping[int, Change]
    own: tuple[Own, ...] = ()

    def __call__(self, inputs: tf.Tensor, *given: tf.Tensor, seeds: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """The batch, changed.

        Args:
            inputs: uint8 or float32 (b, h, w, 3) in [0, 255], or string (b,) where texts are changed.
            *given: targets float32 (b, n) and weights float32 (b,), as many as there are; MixUp and CutMix blend
                them, all else leaves them alone.
            seeds: int64 (b, 2), for each example a key of the run and the epoch, and its position in the epoch.

        Returns:
            tuple of the inputs, images as float32, and what was given, of the same kind as before.

        Raises:
            InputError: images where texts are changed, the reverse, or targets that cannot be blended.
        """
        inputs, seeds = tf.convert_to_tensor(inputs), tf.convert_to_tensor(seeds, tf.int64)
        self._check_inputs(inputs.dtype == tf.string, inputs.shape)
        if inputs.dtype == tf.string:
            for stream, change in self._of(TextTransform).items():
                inputs = change.change(inputs, seeds, stream)
            return self._by_own(inputs, seeds), *given
        alone = self._of(GeometricTransform) | self._of(PhotometricTransform)
        drawn = philox.uniform(seeds, {stream: change.draws for stream, change in alone.items()})
        images = self._warped(inputs, drawn)
        for stream, change in self._of(PhotometricTransform).items():
            images = change.change(images, drawn[stream])
        images = tf.ensure_shape(self._by_own(images, seeds), inputs.shape)
        if self.mixes:
            return mixed(images, given, seeds, self._patches(pair_seeds(seeds)))
        return images, *given

    @property
    def mixes(self) -> bool:
        """Whether examples are blended with others, and their targets with theirs."""
        return bool(self._of(Mix))

    def check(self, examples: Examples) -> None:
        """Refuses examples that cannot be changed so.

        Raises:
            InputError: images where texts are changed, the reverse, or numbers that would be blended like labels.
        """
        self._check_inputs(examples.dtype == object, (None, *examples.shape))
        if self.mixes and examples.task == "regression":
            raise InputError(
                "mixup and cutmix blend labels, and the number of a blended image is not the blend of the numbers "
                "(https://arxiv.org/abs/2210.05775). Received: examples of task 'regression'. Leave them out."
            )

    def _check_inputs(self, are_texts: bool, shape: tuple) -> None:
        for_texts = bool(self._of(TextTransform))
        if self.changes and for_texts != are_texts:
            one, other = ("images", "texts") if for_texts else ("texts", "images")
            raise InputError(
                f"`augment` was made of changes of {other}. Received: {one}. Name changes of {one}, or none."
            )
        if self.changes and not are_texts and len(shape) != 4:
            raise InputError(
                f"`augment` changes images (batch, height, width, 3). Received: shape {tuple(shape)}. Leave it out."
            )

    def _of(self, kind: type) -> dict[int, Change]:
        return {stream: change for stream, change in self.changes.items() if isinstance(change, kind)}

    def _warped(self, images: tf.Tensor, drawn: Mapping[int, tf.Tensor]) -> tf.Tensor:
        warps = self._of(GeometricTransform)
        if not warps:
            return tf.cast(images, tf.float32)
        height, width = (tf.cast(tf.shape(images)[axis], tf.float32) for axis in (1, 2))
        whole = tf.eye(3)[tf.newaxis]
        for stream, warp in warps.items():
            whole = whole @ warp.matrices(drawn[stream], height, width)
        return resampled(images, whole, stays_inside=all(warp.stays_inside for warp in warps.values()))

    def _by_own(self, inputs: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        for number, function in enumerate(self.own, start=_CHOICE + 1):
            given = (inputs, philox.child(seeds, number))
            inputs = tf.map_fn(lambda pair, function=function: function(*pair), given, fn_output_signature=inputs.dtype)
        if self.own and inputs.dtype != tf.string:
            inputs = tf.clip_by_value(inputs, 0.0, 255.0)
        return inputs

    def _patches(self, seeds: tf.Tensor) -> tf.Tensor:
        """What each example shows of its partner, by a kind of mixing chosen for each pair."""
        mixes = self._of(Mix)
        drawn = philox.uniform(seeds, {stream: mix.draws for stream, mix in mixes.items()} | {_CHOICE: 1})
        patches = tf.stack([mix.patches(drawn[stream]) for stream, mix in mixes.items()], axis=1)
        choice = tf.cast(drawn[_CHOICE][:, 0] * len(mixes), tf.int32)
        return tf.gather(patches, choice, batch_dims=1)


def _made(name: str, arguments: Mapping[str, float]) -> Change:
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
_CHOICE = len(AUGMENTATIONS)  # the stream of what chooses between MixUp and CutMix
