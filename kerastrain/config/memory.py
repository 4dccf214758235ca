"""The section `memory`: how to fit a training step into less memory. Must not import TensorFlow."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from kerastrain.config.expectations import shown
from kerastrain.config.values import Section
from kerastrain.errors import is_whole_number


class MemoryConfig(Section):
    """How to fit the steps that train the whole model into less memory. The result of training stays the same."""

    renamed_keys = {"checkpoint_blocks": "remat_blocks"}

    micro_batches: Annotated[int, Field(gt=0)] | Literal["auto"] = 1
    """Number of parts that a device's batch is divided into. Gradients are accumulated, and the weights are updated once a
    step. auto starts with the whole batch and doubles the number whenever memory runs out."""
    remat_blocks: Annotated[int, Field(gt=0)] | Literal["auto"] | tuple[str, ...] | None = None
    """Rematerialization: only the activations between blocks of layers are kept, and the others are computed a second
    time. A number of blocks, auto for the square root of the number of layers and for each block of a language model, or the
    names of the layers that end a block. Null keeps all activations."""

    @property
    def is_spared(self) -> bool:
        """Whether a training step differs from Keras's own."""
        return self.micro_batches != 1 or self.remat_blocks is not None

    @field_validator("micro_batches", mode="before")
    @classmethod
    def _check_micro_batches(cls, value):
        if value != "auto" and not _is_count(value):
            raise ValueError(f"must be a whole number above 0, or auto. Received: {shown(value)}.")
        return value

    @field_validator("remat_blocks", mode="before")
    @classmethod
    def _check_remat_blocks(cls, value):
        named = isinstance(value, list | tuple) and value and all(isinstance(name, str) for name in value)
        if not (value is None or value == "auto" or named or _is_count(value)):
            raise ValueError(
                f"must be a whole number above 0, auto, or the names of layers that end a block. Received: {shown(value)}."
            )
        return value


def _is_count(value: object) -> bool:
    return is_whole_number(value) and value > 0
