"""The kinds of value that config keys hold, and the section they stand in.

Frozen pydantic records; the sentence under a key is its documentation in the JSON schema. Must not import TensorFlow.
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


class Section(BaseModel):
    """A part of the config: unknown keys are faults, values never change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    renamed_keys: ClassVar[Mapping[str, str]] = {}
    """Keys of earlier versions and what they are called now, so that the error for an old key names the new one."""

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value, info):
        annotation = cls.model_fields[info.field_name].annotation
        if isinstance(value, bool) and bool not in (annotation, *get_args(annotation)):
            raise ValueError(f"must not be true or false (or yes, no, on, off without quotes). Received: {value!r}.")
        return value
