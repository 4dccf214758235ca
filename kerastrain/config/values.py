"""The types of config values, and `Section`, the base class of every part of the config.

Frozen pydantic records. The docstring under a key is its description in the JSON schema. Must not import TensorFlow.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from kerastrain import durations

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(ge=8, le=4096)]
Duration = Annotated[str | int, AfterValidator(lambda text: str(durations.parse(text)))]
Interval = Annotated[str, AfterValidator(lambda text: str(durations.parse_interval(text)))]


class Meaning:
    """Says what a type that several Python types stand for is called in an error.

    Args:
        text: str that continues "must be".
    """

    def __init__(self, text: str):
        self.text = text


class AsTyped:
    """Marks a field whose values stay as they were typed, because another key decides what they are."""


class Section(BaseModel):
    """A part of the config. Unknown keys are errors, and a section is frozen after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    renamed_keys: ClassVar[Mapping[str, str]] = {}
    """Maps keys of earlier versions to their names today, for the error message of an old key."""

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_bool_as_number(cls, value, info):
        annotation = cls.model_fields[info.field_name].annotation
        if isinstance(value, bool) and bool not in (annotation, *get_args(annotation)):
            raise AssertionError  # Unlike the text of a ValueError, it leaves the sentence to `faults`: what the key takes.
        return value
