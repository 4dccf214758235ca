"""The section `memory`: how a step gets along with less of it. Must not import TensorFlow."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from kerastrain.config.values import Section
from kerastrain.errors import is_whole_number


class MemoryConfig(Section):
    """How the steps that train the whole model get along with less memory; the result stays what it is without."""

    micro_batches: Annotated[int, Field(gt=0)] | Literal["auto"] = 1
    """Parts that a device's batch goes through a step in, with one update of the weights; auto takes the whole batch, and
    where it does not fit into memory twice as many parts until it does."""
    renamed_keys = {"checkpoint_blocks": "remat_blocks"}

    remat_blocks: Annotated[int, Field(gt=0)] | Literal["auto"] | tuple[str, ...] | None = None
    """Blocks of layers between which alone activations are kept, for one more forward pass: a number, auto for the
    square root of the number of layers, or the names of the layers that end a block; null keeps all."""

    @property
    def is_spared(self) -> bool:
        """Whether anything differs from Keras's own step."""
        return self.micro_batches != 1 or self.remat_blocks is not None

    @field_validator("micro_batches", mode="before")
    @classmethod
    def _is_a_count_or_auto(cls, value):
        if value != "auto" and not _is_count(value):
            raise ValueError(f"must be a whole number above 0, or auto. Received: {value!r}.")
        return value

    @field_validator("remat_blocks", mode="before")
    @classmethod
    def _is_a_count_or_names(cls, value):
        named = isinstance(value, list | tuple) and value and all(isinstance(name, str) for name in value)
        if not (value is None or value == "auto" or named or _is_count(value)):
            raise ValueError(
                f"must be a whole number above 0, auto, or the names of layers that end a block. Received: {value!r}."
            )
        return value


def _is_count(value: object) -> bool:
    return is_whole_number(value) and value > 0
