"""The sections `evaluation`, `export` and `runtime`: what is measured and shipped, and on what the run stands.

Must not import TensorFlow.
"""

from typing import Annotated, Literal

from pydantic import Field

from kerastrain.config.values import Section

ExportName = Literal[
    "saved_model", "tflite_float32", "tflite_float16", "tflite_dynamic", "tflite_int8", "tflite_int16x8"
]


class EvaluationConfig(Section):
    """What the finished model is measured on."""

    sets: tuple[Literal["train", "validation", "test"], ...] = ("validation", "test")
    """Parts of the data; a part that is empty is left out."""
    batch_size: Annotated[int, Field(gt=0)] = 64
    """Examples in one forward pass."""


class ExportConfig(Section):
    """The files that ship, each re-opened and compared with `predict` before it counts."""

    formats: tuple[ExportName, ...] | None = None
    """Files written at the end of a run, `kerastrain export` writes more; null takes SavedModel, float32 and int8
    TFLite for images, SavedModel and float32 TFLite for texts, of which a Hub module gives SavedModel alone."""
    probabilities: bool = False
    """Whether the exported file ends in a softmax instead of logits."""
    samples: Annotated[int, Field(ge=8)] = 128
    """Held-out images on which a file is compared with `predict`."""
    representative_samples: Annotated[int, Field(ge=8)] = 128
    """Training images that int8 quantization takes its ranges from, spread over the classes."""


class RuntimeConfig(Section):
    """What the run stands on."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """The one seed: split, order, augmentation, initial weights, dropout."""
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    """Keras dtype policy of the layers; variables and logits stay float32."""
    deterministic: bool = False
    """Whether every operation must give the same bits on every run; slower on a GPU."""
