"""Which weights of one kernel stay: 0/1 masks by magnitude, alone, in blocks or m of every n.

Takes and gives tensors; works in graphs, under XLA and on replicas. Must not know of models or schedules.
"""

import dataclasses
import re

import tensorflow as tf

from kerastrain.errors import InputError


@dataclasses.dataclass(frozen=True)
class Pattern:
    """The shape of what is pruned together.

    Args:
        block: (rows, columns) of the kernel seen as a matrix (inputs, outputs); (1, 1) for single weights.
        zeros: int, how many of every `group` weights along the input channels are zero; 0 where blocks are pruned.
        group: int, the size of such a group.
    """

    block: tuple[int, int] = (1, 1)
    zeros: int = 0
    group: int = 0

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """The pattern for "1x1" (single weights), "1x4" (blocks of rows x columns) or "2:4" (zeros of every so many).

        Raises:
            InputError: `text` has neither form.

        Example:
            >>> Pattern.parse("2:4")
            Pattern(block=(1, 1), zeros=2, group=4)
        """
        if match := re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text):
            return cls(block=(int(match[1]), int(match[2])))
        match = re.fullmatch(r"([1-9]\d*):([1-9]\d*)", text)
        if match and int(match[1]) < int(match[2]):
            return cls(zeros=int(match[1]), group=int(match[2]))
        raise InputError(
            f"`pattern` must be ROWSxCOLUMNS or ZEROS:GROUP. Received: {text!r}. Use '1x1' for single weights, '1x4' for "
            "blocks, '2:4' for two zeros of every four."
        )

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a kernel of `shape` divides into whole blocks or groups."""
        if self.group:
            return shape[-2] % self.group == 0
        rows, columns = self.block
        return tf.TensorShape(shape[:-1]).num_elements() % rows == 0 and shape[-1] % columns == 0

    def mask(self, kernel: tf.Tensor, fraction: tf.Tensor | float) -> tf.Tensor:
        """The mask that zeroes the smallest of `kernel`: see `block_mask` and `group_mask`."""
        return group_mask(kernel, self.zeros, self.group) if self.group else block_mask(kernel, fraction, self.block)


def block_mask(kernel: tf.Tensor, fraction: tf.Tensor | float, block: tuple[int, int] = (1, 1)) -> tf.Tensor:
    """Zeroes exactly round(fraction * blocks) blocks, those of the smallest sum of magnitudes.

    Args:
        kernel: floating-point tensor (..., inputs, outputs) of a static shape, seen as the matrix (rows, outputs).
        fraction: float32 scalar in [0, 1].
        block: (rows, columns), dividing the matrix.

    Returns:
        tensor of `kernel`'s shape and dtype, of 0 and 1; of equal blocks, the later ones are zeroed.

    Example:
        >>> block_mask(tf.constant([[3.0, -1.0], [0.5, 2.0]]), 0.5).numpy().tolist()
        [[1.0, 0.0], [0.0, 1.0]]

    Reference: Zhu and Gupta 2017, https://arxiv.org/abs/1710.01878, section 3.
    """
    outputs = kernel.shape[-1]
    rows = kernel.shape.num_elements() // outputs
    tiles = (rows // block[0], block[0], outputs // block[1], block[1])
    scores = tf.reshape(tf.reduce_sum(tf.reshape(tf.abs(tf.cast(kernel, tf.float32)), tiles), axis=(1, 3)), (-1,))
    count = scores.shape[0]
    kept = count - tf.cast(tf.round(tf.cast(fraction, tf.float32) * count), tf.int32)
    order = tf.argsort(scores, direction="DESCENDING", stable=True)
    keep = tf.scatter_nd(order[:, None], tf.cast(tf.range(count) < kept, kernel.dtype), (count,))
    keep = tf.broadcast_to(tf.reshape(keep, (tiles[0], 1, tiles[2], 1)), tiles)
    return tf.reshape(keep, kernel.shape)


def group_mask(kernel: tf.Tensor, zeros: int, group: int) -> tf.Tensor:
    """Zeroes the `zeros` smallest of every `group` weights that follow each other along the input channels.

    Input channels lie innermost in the files of TFLite, and along them the sparse units of accelerators multiply.

    Args:
        kernel: floating-point tensor (..., inputs, outputs) of a static shape, inputs a multiple of `group`.
        zeros: int, 0 < zeros < group.
        group: int.

    Returns:
        tensor of `kernel`'s shape and dtype, of 0 and 1; of equal weights, the later ones are zeroed.

    Reference: Mishra et al. 2021, https://arxiv.org/abs/2104.08378.
    """
    rank = len(kernel.shape)
    swap = [*range(rank - 2), rank - 1, rank - 2]
    inner = tf.transpose(tf.abs(tf.cast(kernel, tf.float32)), swap)
    largest = tf.math.top_k(tf.reshape(inner, (-1, group)), group - zeros).indices
    keep = tf.reduce_sum(tf.one_hot(largest, group), axis=1)
    return tf.cast(tf.transpose(tf.reshape(keep, inner.shape), swap), kernel.dtype)
