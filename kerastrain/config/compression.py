"""What `kerastrain compress` does to a finished run: one way that is spelled out, or the best within a budget.

Frozen pydantic records. Must not import TensorFlow.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kerastrain.config.values import NotNegative, Positive, Section

Epochs = Annotated[int, Field(gt=0)]
OpenFraction = Annotated[float, Field(gt=0, lt=1)]


class DistillConfig(Section):
    """A small new network that is taught by the run's model."""

    parameters_fraction: OpenFraction = 0.25
    """The most parameters that the student may have, as a share of the teacher's."""
    temperature: Positive = 4.0
    """How much of the teacher's wrong answers shows."""
    soft_weight: Annotated[float, Field(ge=0, le=1)] = 0.9
    """The share of the teacher's answers against the targets."""
    epochs: Epochs = 20
    """Passes over the training data."""
    learning_rate: Positive = 3e-3
    """Peak rate of Adam, which falls along a cosine."""


class PruneChannelsConfig(Section):
    """Whole channels out of a convolutional network."""

    multiply_adds_fraction: OpenFraction = 0.5
    """The most multiply-adds that may be left, as a share of those before."""
    epochs: Epochs = 5
    """Epochs of fine-tuning afterwards."""
    learning_rate: Positive = 1e-3
    """Peak rate of that fine-tuning."""


class PruneConfig(Section):
    """Magnitude pruning with fine-tuning in between."""

    fraction: Annotated[float, Field(ge=0, lt=1)] = 0.8
    """Share of each kernel's weights set to zero, reached exactly; 0 leaves pruning out."""
    epochs: Epochs = 5
    """Epochs of fine-tuning, in the first half of which the fraction rises to its end."""
    learning_rate: Positive = 2e-3
    """Peak rate of that fine-tuning, of Adam along a cosine."""


class ClusterConfig(Section):
    """Few values for each kernel, with fine-tuning."""

    clusters: Annotated[int, Field(ge=2, le=256)] = 16
    """Different values of a kernel."""
    epochs: Epochs = 5
    """Epochs of fine-tuning."""
    learning_rate: Positive = 3e-3
    """Peak rate of that fine-tuning: a value moves by the mean of its weights' steps, most of which cancel."""


class QuantizeAwareConfig(Section):
    """Training in the steps of int8."""

    epochs: Epochs = 3
    """Epochs of training."""
    learning_rate: Positive = 1e-4
    """Peak rate of that training."""


class BudgetConfig(Section):
    """What the result may cost; one of the two. Every way that makes sense is tried then."""

    accuracy_points: NotNegative | None = None
    """The most that may be lost on the validation part, in points (hundredths; of R² for numbers): the smallest file wins."""
    kilobytes: Positive | None = None
    """The largest file, in units of 1,000 bytes: the one with the best validation accuracy wins."""
    size: Literal["file", "gzip"] = "file"
    """Whether a file's own size counts, or that after gzip, as app stores and browsers transfer it."""

    @model_validator(mode="after")
    def _is_one(self):
        if (self.accuracy_points is None) == (self.kilobytes is None):
            both = "neither" if self.kilobytes is None else "both"
            raise ValueError(f"takes either accuracy_points or kilobytes. Received: {both}. Give one.")
        return self


class CompressConfig(Section):
    """What `kerastrain compress` does: the steps that are given, in the order of these keys; pruning if none is.

    With `budget` all steps are tried, alone and together, with the settings given here.
    """

    renamed_keys = {"distil": "distill", "channels": "prune_channels", "aware": "quantize_aware"}

    budget: BudgetConfig | None = None
    """What the result may cost; null does the steps below, and nothing else."""
    distill: DistillConfig | None = None
    """A student in place of the run's model; `distill={}` takes its defaults, as for all steps. First: it starts anew."""
    prune_channels: PruneChannelsConfig | None = None
    """Fewer channels. Before zeros and clusters, which its fine-tuning would not keep."""
    prune: PruneConfig | None = None
    """Zeros. Before clusters, which keep them."""
    cluster: ClusterConfig | None = None
    """Few values. Training for int8 keeps them, and the zeros."""
    quantize_aware: QuantizeAwareConfig = QuantizeAwareConfig()
    """How `quantize=quantize_aware` trains."""
    quantize: Literal["float32", "float16", "dynamic", "int8", "int16x8", "int4", "dynamic_int4", "quantize_aware"] = (
        "int8"
    )
    """Number format of the TFLite file at the end; "quantize_aware" trains for int8 first."""
    calibration_counts: tuple[Annotated[int, Field(gt=0)], ...] = (8, 32, 128)
    """Training examples to calibrate int8 with, each tried, to show what more of them bring; [] for none."""
    threads: Annotated[int, Field(gt=0)] = 1
    """Threads of the interpreter when times are measured."""

    @model_validator(mode="before")
    @classmethod
    def _something_is_done(cls, values):
        if not isinstance(values, dict):
            return values
        if values.get("budget") is not None and "quantize" in values:
            raise ValueError("a budget tries every number format. Received: quantize beside budget. Leave one out.")
        return values if {"distill", "prune_channels", "prune", "cluster"} & set(values) else {**values, "prune": {}}
