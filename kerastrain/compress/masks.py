"""0/1 masks that keep the largest weights of one kernel: single weights, blocks, or m of every n.

Takes and returns tensors; works in graphs, under XLA and on replicas. Must not know of models or schedules.
"""

import dataclasses
import re

import tensorflow as tf

from kerastrain.errors import InputError


@dataclasses.dataclass(frozen=True)
class Pattern:
    """The shape of the weights that are pruned together.

    Args:
        block: (int rows, int columns) of the kernel seen as a matrix (inputs, outputs); (1, 1) for single weights.
        zeros: int >= 0, zeros in every `group` weights along the input channels; 0 if blocks are pruned.
        group: int >= 0, the size of such a group; 0 if blocks are pruned.
    """

    block: tuple[int, int] = (1, 1)
    zeros: int = 0
    group: int = 0

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """Parses "1x1" (single weights), "1x4" (blocks of rows x columns) or "2:4" (zeros in every group).

        Args:
            text: str, the pattern.

        Returns:
            Pattern.

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
        """Whether a kernel divides into whole blocks or groups.

        Args:
            shape: tuple of int, the shape (..., inputs, outputs) of the kernel.
        """
        if self.group:
            return shape[-2] % self.group == 0
        rows, columns = self.block
        return tf.TensorShape(shape[:-1]).num_elements() % rows == 0 and shape[-1] % columns == 0

    def mask(self, kernel: tf.Tensor, fraction: tf.Tensor | float) -> tf.Tensor:
        """Computes the mask of the largest weights: see `block_mask` and `group_mask`.

        Args:
            kernel: floating-point tensor (..., inputs, outputs) of a static shape.
            fraction: float32 scalar in [0, 1], the fraction of zeros; unused for groups.

        Returns:
            tensor of the shape and dtype of `kernel`, of 0 and 1.
        """
        return group_mask(kernel, self.zeros, self.group) if self.group else block_mask(kernel, fraction, self.block)


def block_mask(kernel: tf.Tensor, fraction: tf.Tensor | float, block: tuple[int, int] = (1, 1)) -> tf.Tensor:
    """Zeroes exactly round(fraction * blocks) blocks, those with the smallest sum of magnitudes.

    Args:
        kernel: floating-point tensor (..., inputs, outputs) of a static shape, seen as the matrix (rows, outputs).
        fraction: float32 scalar in [0, 1].
        block: (int rows, int columns), which divide the matrix.

    Returns:
        tensor of the shape and dtype of `kernel`, of 0 and 1; among equal blocks the later ones are zeroed.

    Example:
        >>> block_mask(tf.constant([[3.0, -1.0], [0.5, 2.0]]), 0.5).numpy().tolist()
        [[1.0, 0.0], [0.0, 1.0]]

    Reference: Zhu and Gupta 2017, https://arxiv.org/abs/1710.01878, section 3.
    """
    outputs = kernel.shape[-1]
    rows = kernel.shape.num_elements() // outputs
    tiles = (rows // block[0], block[0], outputs // block[1], block[1])
    scores = tf.reshape(tf.reduce_sum(tf.reshape(tf.abs(tf.cast(kernel, tf.float32)), tiles), axis=(1, 3)), (-1,))
    blocks = scores.shape[0]
    nonzero_blocks = blocks - tf.cast(tf.round(tf.cast(fraction, tf.float32) * blocks), tf.int32)
    order = tf.argsort(scores, direction="DESCENDING", stable=True)
    mask = tf.scatter_nd(order[:, None], tf.cast(tf.range(blocks) < nonzero_blocks, kernel.dtype), (blocks,))
    mask = tf.broadcast_to(tf.reshape(mask, (tiles[0], 1, tiles[2], 1)), tiles)
    return tf.reshape(mask, kernel.shape)


def group_mask(kernel: tf.Tensor, zeros: int, group: int) -> tf.Tensor:
    """Zeroes the `zeros` smallest of every `group` consecutive weights along the input channels.

    Input channels are the innermost axis in TFLite files, and the sparse units of accelerators multiply along it.

    Args:
        kernel: floating-point tensor (..., inputs, outputs) of a static shape, inputs a multiple of `group`.
        zeros: int, 0 < zeros < group.
        group: int >= 2.

    Returns:
        tensor of the shape and dtype of `kernel`, of 0 and 1; among equal weights the later ones are zeroed.

    Reference: Mishra et al. 2021, https://arxiv.org/abs/2104.08378.
    """
    rank = len(kernel.shape)
    swap = [*range(rank - 2), rank - 1, rank - 2]
    inner = tf.transpose(tf.abs(tf.cast(kernel, tf.float32)), swap)
    largest = tf.math.top_k(tf.reshape(inner, (-1, group)), group - zeros).indices
    mask = tf.reduce_sum(tf.one_hot(largest, group), axis=1)
    return tf.cast(tf.transpose(tf.reshape(mask, inner.shape), swap), kernel.dtype)
