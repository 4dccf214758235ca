"""Low-rank pairs of matrices: what an adapter adds to the result of a dense layer.

Takes and returns tensors. Must not choose where pairs are.
"""

import keras

from kerastrain.keras_internals.lora import delete_variable


@keras.saving.register_keras_serializable("kerastrain")
class LowRankPair(keras.layers.Layer):
    """What a low-rank pair adds to the result of a dense layer: nothing until `create` makes its matrices.

        scale · dropout(x) · A · B          A random, B zero at the start

    The matrices are float32, also where the layer beside it is quantized or computes in half precision.

    Args:
        **options: `name` and `dtype` of a Keras layer.

    Reference: Hu et al. 2021, https://arxiv.org/abs/2106.09685.
    """

    def __init__(self, **options: object):
        super().__init__(**options)
        self.rank, self.scale, self.rate = None, None, None
        self.a, self.b, self.dropout = None, None, None
        self.is_switched_off = False
        self.built = True  # It has no weights yet; `create` makes them, also after the layer around it is built.

    def create(self, inputs: int, outputs: int, *, rank: int, scale: float, rate: float = 0.0) -> None:
        """Makes the matrices; the results stay the same, because B is zero.

        Args:
            inputs: int >= 1, the numbers that the dense layer reads.
            outputs: int >= 1, the numbers that it computes.
            rank: int >= 1, the columns of A and the rows of B.
            scale: float, the factor of the product.
            rate: float in [0, 1), the share of inputs that the pair does not see in training.
        """
        self.rank, self.scale, self.rate = rank, scale, rate
        # Uniform up to 1 / sqrt(inputs), as PEFT begins.
        start = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
        self.a = self.add_weight(name="a", shape=(inputs, rank), initializer=start, dtype="float32")
        self.b = self.add_weight(name="b", shape=(rank, outputs), initializer="zeros", dtype="float32")
        if rate:
            self.dropout = keras.layers.Dropout(rate, name="dropout", dtype=self.dtype_policy)

    def remove(self) -> None:
        """Removes the matrices."""
        for name in ("a", "b"):
            delete_variable(self, name)
        self.rank, self.scale, self.rate = None, None, None
        self.a, self.b, self.dropout = None, None, None

    @property
    def is_on(self) -> bool:
        """Whether the pair adds something."""
        return self.a is not None and not self.is_switched_off

    def call(self, inputs):
        """What is added for `inputs`."""
        if self.dropout is not None:
            inputs = self.dropout(inputs)
        return keras.ops.matmul(keras.ops.matmul(inputs, self.a), self.b) * self.scale

    def compute_output_shape(self, inputs_shape):
        """The shape of what is added."""
        return (*inputs_shape[:-1], self.b.shape[-1])
