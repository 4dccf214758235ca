"""The sections `optimizer`, `schedule` and `fit`: how weights change, and for how long. Must not import TensorFlow."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kerastrain.config.values import Count, Duration, Fraction, NotNegative, Positive, Section

OptimizerName = Literal[
    "sgd",
    "adam",
    "adamw",
    "adagrad",
    "rmsprop",
    "nadam",
    "adadelta",
    "adamax",
    "adafactor",
    "ftrl",
    "lion",
    "lamb",
    "muon",
]
ScheduleName = Literal["constant", "cosine", "linear", "exponential", "step"]


class OptimizerConfig(Section):
    """The rule that turns gradients into updates."""

    name: OptimizerName = "adamw"
    """The Keras optimizer, in lower case."""
    learning_rate: Positive = 1e-2
    """Peak rate while the head is trained on the frozen backbone."""
    fine_tune_fraction: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Peak rate of fine-tuning as a share of `learning_rate`."""
    weight_decay: NotNegative | None = None
    """Decoupled decay of all kernels, not of biases and norms; null takes the optimizer's default."""
    clip_norm: Positive | None = None
    """Largest L2 norm of each variable's gradient."""
    global_clip_norm: Positive | None = None
    """Largest L2 norm of all gradients together."""
    clip_value: Positive | None = None
    """Largest absolute value of a gradient's entry."""
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Only for sgd, rmsprop and muon; null takes the optimizer's default."""

    @model_validator(mode="after")
    def _arguments_fit(self):
        if self.momentum is not None and self.name not in ("sgd", "rmsprop", "muon"):
            raise ValueError(
                f"momentum goes with sgd, rmsprop and muon. Received: name {self.name!r}. Remove momentum."
            )
        clips = [name for name in ("clip_norm", "global_clip_norm", "clip_value") if getattr(self, name) is not None]
        if len(clips) > 1:
            raise ValueError(f"gradients are clipped one way only. Received: {' and '.join(clips)}. Keep one.")
        return self


class ScheduleConfig(Section):
    """How the learning rate moves over the steps of a phase."""

    name: ScheduleName = "cosine"
    """The curve after the warm-up."""
    warmup: Duration = "5%"
    """Linear rise from near 0 to the peak: `2 epochs`, `500 steps` or `5%` of the phase."""
    end_fraction: Fraction | None = None
    """Final rate as a share of the peak; null takes the curve's own end (0 for cosine and linear)."""

    @model_validator(mode="after")
    def _curve_has_that_end(self):
        if self.name == "exponential" and self.end_fraction == 0:
            raise ValueError("end_fraction must be > 0 for exponential decay, which never reaches 0. Try 0.01.")
        if self.name in ("constant", "step") and self.end_fraction is not None:
            raise ValueError(
                f"end_fraction does not go with {self.name!r}. Received: {self.end_fraction:g}. Remove it."
            )
        return self


class FitConfig(Section):
    """How long and in what batches the model is trained."""

    head_epochs: Count = 30
    """Epochs of the head alone, on features that the frozen backbone gives once."""
    epochs: Count = 10
    """Epochs of fine-tuning the whole model, batch-norm statistics held still; 0 keeps the backbone frozen."""
    global_batch_size: Annotated[int, Field(gt=0)] = 32
    """Examples in one optimizer step, over all devices together."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of a label's weight that the loss spreads over all classes."""
    early_stopping_epochs: Annotated[int, Field(gt=0)] | None = None
    """Epochs without a better validation loss after which a phase ends; null never stops early."""

    @model_validator(mode="after")
    def _trains_at_all(self):
        if self.head_epochs + self.epochs == 0:
            raise ValueError("head_epochs and epochs must not both be 0, or nothing is trained.")
        return self
