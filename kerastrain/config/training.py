"""The sections `optimizer`, `schedule` and `fit`: how weights change, and for how long. Must not import TensorFlow."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from kerastrain.config.values import Count, Duration, Fraction, Interval, NotNegative, Positive, Section
from kerastrain.optimizers import arguments as optimizer_arguments
from kerastrain.schedules import curves

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
    "schedule_free_adamw",
]
ScheduleName = Literal[
    "constant",
    "cosine",
    "cosine_restarts",
    "exponential",
    "inverse_square_root",
    "linear",
    "one_cycle",
    "piecewise",
    "polynomial",
    "step",
]


class OptimizerConfig(Section):
    """The rule that turns gradients into updates."""

    name: OptimizerName = "adamw"
    """The Keras optimizer, in lower case."""
    learning_rate: Positive | None = None
    """Peak rate while the head is trained on the frozen backbone, or of all that trains where nothing is pre-trained; null
    takes 0.01, and 0.003 for the networks `keras:NAME` of texts."""
    fine_tune_fraction: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Peak rate of fine-tuning as a share of `learning_rate`."""
    weight_decay: NotNegative | None = None
    """Decoupled decay of all kernels, not of biases and norms; null takes the optimizer's default."""
    decay_norms_and_biases: bool = False
    """Whether the decay also shrinks biases, scales and offsets."""
    clip_norm: Positive | None = None
    """Largest L2 norm of each variable's gradient."""
    global_clip_norm: Positive | None = None
    """Largest L2 norm of all gradients together."""
    clip_value: Positive | None = None
    """Largest absolute value of a gradient's entry."""
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Only for sgd, rmsprop and muon; null takes the optimizer's default."""
    ema_momentum: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share that a moving average of the weights keeps in each step; the average is what is validated and ships."""
    layer_rates: dict[str, NotNegative] = {}
    """Factors on the rate, by a regular expression searched in the paths of weights; they win over layer_rate_decay."""
    arguments: dict[str, bool | int | float | list[str] | None] = {}
    """Further arguments of the Keras optimizer by their names, such as `beta_1` or `nesterov`."""

    @model_validator(mode="after")
    def _arguments_fit(self):
        if self.momentum is not None and "momentum" not in optimizer_arguments.ARGUMENTS[self.name]:
            owners = [name for name, own in optimizer_arguments.ARGUMENTS.items() if "momentum" in own]
            raise ValueError(
                f"momentum goes with {', '.join(owners[:-1])} and {owners[-1]}. Received: name {self.name!r}. Remove "
                "momentum."
            )
        clips = [name for name in ("clip_norm", "global_clip_norm", "clip_value") if getattr(self, name) is not None]
        if len(clips) > 1:
            raise ValueError(f"gradients are clipped one way only. Received: {' and '.join(clips)}. Keep one.")
        return self

    @field_validator("layer_rates")
    @classmethod
    def _are_regular_expressions(cls, layer_rates):
        for pattern in layer_rates:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"keys must be regular expressions. Received: {pattern!r} ({error}).") from None
        return layer_rates

    @field_validator("arguments")
    @classmethod
    def _optimizer_has_them(cls, arguments, info):
        for key in arguments:
            if key in cls.model_fields:
                raise ValueError(f"{key} has a key of its own. Write optimizer.{key}.")
        if "name" in info.data:
            optimizer_arguments.check(info.data["name"], arguments)
        return arguments


class ScheduleConfig(Section):
    """How the learning rate moves over the steps of a phase. A length is `2 epochs`, `500 steps` or `5%` of the phase."""

    name: ScheduleName = "cosine"
    """The curve after the warm-up."""
    warmup: Duration | None = None
    """How long the rate first rises in a straight line; null takes 5%, and none before one_cycle, which rises itself."""
    end_fraction: Fraction | None = None
    """Final rate as a share of the peak; null takes the curve's own end (0 for cosine and linear)."""
    power: Positive | None = None
    """Only for polynomial: 1 is a straight line, 2 (null) falls fast first."""
    every: Duration | None = None
    """Only for step: from one drop to the next; null drops twice, at a third and two thirds of the phase."""
    drop_factor: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Only for step: the rate after a drop over that before; null takes 0.1."""
    boundaries: tuple[Duration, ...] | None = None
    """Only for piecewise: when the rate changes, counted from the start of the phase."""
    fractions: tuple[NotNegative, ...] | None = None
    """Only for piecewise: for each boundary the rate from there on, as a share of the peak."""
    cycles: Annotated[int, Field(gt=0)] | None = None
    """Only for cosine_restarts: how many times the rate falls; null takes 3."""
    cycle_growth: Positive | None = None
    """Only for cosine_restarts: the length of a cycle over the one before; null takes 2."""
    peak_decay: Fraction | None = None
    """Only for cosine_restarts: the peak of a cycle over the one before; null takes 1."""
    rise: Duration | None = None
    """Only for one_cycle: from its start to its peak; null takes 30%."""
    start_fraction: Fraction | None = None
    """Only for one_cycle: the first rate as a share of the peak; null takes 0.04."""
    timescale: Duration | None = None
    """Only for inverse_square_root: three times this, and the rate is half its peak; null takes the warm-up."""
    plateau_epochs: Annotated[int, Field(gt=0)] | None = None
    """Epochs without a better validation loss after which the rate drops, on top of the curve; null never drops it."""
    plateau_factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """The rate after such a drop over that before."""

    @property
    def curve_arguments(self) -> dict:
        """The warm-up and the arguments of the curve that are set."""
        return self.model_dump(exclude={"name", "plateau_epochs", "plateau_factor"}, exclude_none=True)

    @model_validator(mode="after")
    def _arguments_fit_the_curve(self):
        known = {name.removesuffix("_steps"): needed for name, needed in curves.arguments_of(self.name).items()}
        given = self.curve_arguments
        if wrong := [name for name in given if name not in (*known, "warmup")]:
            rest = f"It takes: {', '.join(known)}." if known else f"Remove {' and '.join(wrong)}."
            received = ", ".join(f"{name}={given[name]}" for name in wrong)
            raise ValueError(f"{' and '.join(wrong)} does not go with {self.name!r}. Received: {received}. {rest}")
        if missing := [name for name, needed in known.items() if needed and name not in given]:
            raise ValueError(f"{self.name!r} needs {' and '.join(missing)}. Received: none.")
        if self.name == "exponential" and self.end_fraction == 0:
            raise ValueError("end_fraction must be > 0 for exponential decay, which never reaches 0. Try 0.01.")
        return self


class FitConfig(Section):
    """How long and in what batches the model is trained."""

    head_epochs: Count = 30
    """Epochs of the head alone, on features that the frozen backbone gives once."""
    epochs: Count = 10
    """Epochs of fine-tuning the whole model, batch-norm statistics held still; 0 keeps the backbone frozen."""
    global_batch_size: Annotated[int, Field(gt=0)] = 32
    """Examples in one optimizer step, over all devices together."""
    steps_per_execution: Annotated[int, Field(gt=0)] = 1
    """Steps that TensorFlow takes between two looks of Python; must divide the steps of an epoch. For small models."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of a label's weight that the loss spreads over all classes."""
    early_stopping_epochs: Annotated[int, Field(gt=0)] | None = None
    """Epochs without a better validation loss after which a phase ends; null never stops early."""
    checkpoint_every: Interval = "2 minutes"
    """How often the whole state is saved for `--resume`: `500 steps`, `1 epochs`, `10 minutes`. By the clock it takes
    at most 2 % of the time."""
    checkpoints_kept: Annotated[int, Field(gt=0)] = 3
    """Saved states that stay while a run trains; a finished run has none."""
    on_bad_numbers: Literal["stop", "roll_back"] = "stop"
    """What NaN or infinity in loss, gradients or weights leads to, when it has been told where it began: the end of the
    run, or a new try from the last saved state at a lower rate."""
    roll_back_factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """The rate after a roll-back over that before."""
    roll_backs: Count = 3
    """How often a phase may be rolled back before the run ends."""

    @model_validator(mode="after")
    def _trains_at_all(self):
        if self.head_epochs + self.epochs == 0:
            raise ValueError("head_epochs and epochs must not both be 0, or nothing is trained.")
        return self
