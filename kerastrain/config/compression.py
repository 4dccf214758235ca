"""The settings of `kerastrain compress`: the steps to apply, or a budget to search within.

Frozen pydantic records. Must not import TensorFlow.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kerastrain.config.values import NotNegative, Positive, Section

Epochs = Annotated[int, Field(gt=0)]
OpenFraction = Annotated[float, Field(gt=0, lt=1)]


class DistillConfig(Section):
    """Trains a small new network on the outputs of the run's model."""

    parameters_fraction: OpenFraction = 0.25
    """Largest number of parameters of the student, as a fraction of the teacher's."""
    temperature: Positive = 4.0
    """Temperature of the softmax; higher values show more of the teacher's probabilities for the wrong classes."""
    soft_weight: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Weight of the loss against the teacher's outputs; the loss against the true targets has the rest."""
    epochs: Epochs = 20
    """Training epochs."""
    learning_rate: Positive = 3e-3
    """Peak learning rate of Adam, which follows a cosine decay."""


class PruneChannelsConfig(Section):
    """Removes whole channels from a convolutional network."""

    multiply_adds_fraction: OpenFraction = 0.5
    """Largest number of multiply-adds that remain, as a fraction of the original."""
    epochs: Epochs = 5
    """Epochs of fine-tuning after the channels are removed."""
    learning_rate: Positive = 1e-3
    """Peak learning rate of the fine-tuning."""


class PruneConfig(Section):
    """Sets the weights of smallest magnitude to zero, while fine-tuning."""

    fraction: Annotated[float, Field(ge=0, lt=1)] = 0.8
    """Fraction of each kernel's weights set to zero, reached exactly; 0 skips pruning."""
    epochs: Epochs = 5
    """Epochs of fine-tuning; the fraction of zeros rises during the first half."""
    learning_rate: Positive = 2e-3
    """Peak learning rate of Adam in the fine-tuning, which follows a cosine decay."""


class ClusterConfig(Section):
    """Lets the weights of each kernel share a few values, with fine-tuning."""

    clusters: Annotated[int, Field(ge=2, le=256)] = 16
    """Number of different values in a kernel."""
    epochs: Epochs = 5
    """Epochs of fine-tuning."""
    learning_rate: Positive = 3e-3
    """Peak learning rate of the fine-tuning. A shared value moves by the mean of its weights' updates, most of which
    cancel, so it needs a higher rate than pruning."""


class QuantizeAwareConfig(Section):
    """Trains with simulated int8 rounding."""

    epochs: Epochs = 3
    """Training epochs."""
    learning_rate: Positive = 1e-4
    """Peak learning rate."""


class BudgetConfig(Section):
    """What the result may cost: give exactly one of accuracy_points and kilobytes. All candidates that can win are tried."""

    accuracy_points: NotNegative | None = None
    """Largest loss of validation accuracy, in percentage points (for regression, of R² times 100). The smallest file
    wins."""
    kilobytes: Positive | None = None
    """Largest file size, in kilobytes of 1,000 bytes. The file with the best validation accuracy wins."""
    minutes: Positive | None = None
    """Time for the search, in minutes. No candidate is started or trained on that would not fit into the rest of it; those
    that were not tried are listed. null tries all."""
    size: Literal["file", "gzip"] = "file"
    """Which size counts: that of the file, or after gzip, as app stores and browsers transfer it."""
    exhaustive: bool = False
    """Trains every candidate to the end, for a full picture of sizes and accuracies. false leaves out those that can no longer
    win, and stops trainings that fall behind."""

    @model_validator(mode="after")
    def _has_exactly_one_limit(self):
        if (self.accuracy_points is None) == (self.kilobytes is None):
            both = "neither" if self.kilobytes is None else "both"
            raise ValueError(f"takes either accuracy_points or kilobytes. Received: {both}. Give one.")
        return self


class CompressConfig(Section):
    """What `kerastrain compress` does. The steps that are set run in the order of these keys; without any, it prunes.

    With `budget`, the steps are tried alone and combined with others, with the settings given here.
    """

    renamed_keys = {"distil": "distill", "channels": "prune_channels", "aware": "quantize_aware"}

    budget: BudgetConfig | None = None
    """What the result may cost; null applies the steps below without a search."""
    distill: DistillConfig | None = None
    """Train a small student in place of the run's model. `distill={}` uses the defaults, as for all steps. It comes first,
    because the student starts from random weights."""
    prune_channels: PruneChannelsConfig | None = None
    """Remove channels. It comes before pruning and clustering, whose results its fine-tuning would not keep."""
    prune: PruneConfig | None = None
    """Set weights to zero. It comes before clustering, which keeps the zeros."""
    cluster: ClusterConfig | None = None
    """Let weights share a few values. Quantization-aware training keeps them, and the zeros."""
    quantize_aware: QuantizeAwareConfig = QuantizeAwareConfig()
    """How `quantize=quantize_aware` trains."""
    quantize: Literal["float32", "float16", "dynamic", "int8", "int16x8", "int4", "dynamic_int4", "quantize_aware"] = (
        "int8"
    )
    """Number format of the TFLite file; "quantize_aware" trains for int8 first."""
    calibration_counts: tuple[Annotated[int, Field(gt=0)], ...] = (8, 32, 128)
    """Numbers of training examples to calibrate int8 with, compared in a table; [] skips the table."""
    threads: Annotated[int, Field(gt=0)] = 1
    """Interpreter threads while latency is measured."""

    @model_validator(mode="before")
    @classmethod
    def _prunes_by_default(cls, values):
        if not isinstance(values, dict):
            return values
        if values.get("budget") is not None and "quantize" in values:
            raise ValueError("a budget tries every number format. Received: both budget and quantize. Remove one.")
        return values if {"distill", "prune_channels", "prune", "cluster"} & set(values) else {**values, "prune": {}}
