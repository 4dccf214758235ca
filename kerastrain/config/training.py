"""The sections `optimizer`, `schedule` and `fit`: how the weights are updated and for how long. Must not import TensorFlow."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from kerastrain.config.expectations import shown
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
    """The optimizer, which turns gradients into updates of the weights."""

    name: OptimizerName = "adamw"
    """Name of the Keras optimizer."""
    learning_rate: Positive | None = None
    """Peak learning rate of the head phase, or of the whole model if it trains from scratch. Null means 0.01, or 0.003
    for the `keras:NAME` networks of texts. Language models have one phase, whose rate falls with their width:
    0.0005 for LoRA at a width of 2,000, a tenth of that without LoRA or for fit.objective=dpo."""
    fine_tune_fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    """Peak learning rate of fine-tuning, as a fraction of `learning_rate`. Null means 0.01, 0.05 for the small modules
    `kerastrain:fractal_…`, which have seen no photos and have more to learn, and 0.003 for a pretrained text encoder, for a
    rate of 3e-5."""
    weight_decay: NotNegative | None = None
    """Decoupled weight decay of the kernels, but not of biases and normalization weights. Null means the optimizer's
    default, or 3 for adamw with `keras:ngrams`."""
    decay_norms_and_biases: bool = False
    """Whether weight decay also applies to biases and normalization weights."""
    clip_norm: Positive | None = None
    """Largest L2 norm of each variable's gradient; larger ones are scaled down. Null means no clipping."""
    global_clip_norm: Positive | None = None
    """Largest L2 norm of all gradients together; larger ones are scaled down. Null means no clipping."""
    clip_value: Positive | None = None
    """Largest absolute value of an entry of a gradient; larger ones are clipped. Null means no clipping."""
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Only for sgd, rmsprop and muon: the momentum. Null means the optimizer's default."""
    ema_momentum: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Momentum of an exponential moving average of the weights, which is used for validation and export. Null means no
    average."""
    layer_rates: dict[str, NotNegative] = {}
    """Factors on the learning rate. A key is a regular expression that is searched in the paths of the weights. They
    override fine_tune.layer_rate_decay."""
    arguments: dict[str, bool | int | float | list[str] | None] = {}
    """Other constructor arguments of the Keras optimizer by name, such as `beta_1` or `nesterov`."""

    @model_validator(mode="after")
    def _check_momentum_and_clipping(self):
        if self.momentum is not None and "momentum" not in optimizer_arguments.ARGUMENTS[self.name]:
            owners = [name for name, arguments in optimizer_arguments.ARGUMENTS.items() if "momentum" in arguments]
            raise ValueError(
                f"momentum is only for {', '.join(owners[:-1])} and {owners[-1]}. Received: name {self.name!r}. Remove "
                "momentum."
            )
        clips = [name for name in ("clip_norm", "global_clip_norm", "clip_value") if getattr(self, name) is not None]
        if len(clips) > 1:
            raise ValueError(f"choose one way to clip gradients. Received: {' and '.join(clips)}. Keep one of them.")
        return self

    @field_validator("layer_rates")
    @classmethod
    def _check_patterns(cls, layer_rates):
        for pattern in layer_rates:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"keys must be regular expressions. Received: {pattern!r} ({error}).") from None
        return layer_rates

    @field_validator("arguments")
    @classmethod
    def _check_arguments(cls, arguments, info):
        for key in arguments:
            if key in cls.model_fields:
                raise ValueError(f"{key} has its own key. Write optimizer.{key}.")
        if "name" in info.data:
            optimizer_arguments.check(info.data["name"], arguments)
        return arguments


class ScheduleConfig(Section):
    """The learning rate over the steps of a phase. A length is written `2 epochs`, `500 steps` or `5%` (of the phase)."""

    name: ScheduleName = "cosine"
    """Name of the curve that the learning rate follows after the warm-up."""
    warmup: Duration | None = None
    """Length of the linear warm-up. Null means 5%, or none for one_cycle, which has its own rise."""
    end_fraction: Fraction | None = None
    """Final learning rate, as a fraction of the peak. Null means the curve's own end, 0 for cosine and linear."""
    power: Positive | None = None
    """Only for polynomial: the exponent. 1 is linear; 2 falls faster at first. Null means 2."""
    every: Duration | None = None
    """Only for step: length between two drops. Null means two drops, at a third and at two thirds of the phase."""
    drop_factor: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Only for step: factor by which the learning rate is multiplied at a drop. Null means 0.1."""
    boundaries: tuple[Duration, ...] | None = None
    """Only for piecewise: when the learning rate changes, as lengths from the start of the phase."""
    fractions: tuple[NotNegative, ...] | None = None
    """Only for piecewise: the learning rate after each boundary, as a fraction of the peak."""
    cycles: Annotated[int, Field(gt=0)] | None = None
    """Only for cosine_restarts: number of cycles. Null means 3."""
    cycle_growth: Positive | None = None
    """Only for cosine_restarts: factor by which the length is multiplied from cycle to cycle. Null means 2."""
    peak_decay: Fraction | None = None
    """Only for cosine_restarts: factor by which the peak is multiplied from cycle to cycle. Null means 1."""
    rise: Duration | None = None
    """Only for one_cycle: length of the rise to the peak. Null means 30%."""
    start_fraction: Fraction | None = None
    """Only for one_cycle: first learning rate, as a fraction of the peak. Null means 0.04."""
    timescale: Duration | None = None
    """Only for inverse_square_root: the rate halves after three times this length. Null means the length of the warm-up."""
    plateau_epochs: Annotated[int, Field(gt=0)] | None = None
    """Number of epochs without a better value of `fit.monitor` after which the learning rate drops, on top of the curve.
    Null means never."""
    plateau_factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Factor by which the learning rate is multiplied at such a drop."""

    @property
    def curve_arguments(self) -> dict:
        """The warm-up and the arguments of the curve that are set."""
        return self.model_dump(exclude={"name", "plateau_epochs", "plateau_factor"}, exclude_none=True)

    @model_validator(mode="after")
    def _check_curve_arguments(self):
        known = {name.removesuffix("_steps"): needed for name, needed in curves.arguments_of(self.name).items()}
        arguments = self.curve_arguments
        if wrong := [name for name in arguments if name not in (*known, "warmup")]:
            rest = f"Known: {', '.join(known)}." if known else f"Remove {' and '.join(wrong)}."
            received = ", ".join(f"{name}={shown(arguments[name])}" for name in wrong)
            raise ValueError(f"{self.name!r} has no {' and no '.join(wrong)}. Received: {received}. {rest}")
        if missing := [name for name, needed in known.items() if needed and name not in arguments]:
            raise ValueError(f"{self.name!r} needs {' and '.join(missing)}. Received: none.")
        if self.name == "exponential" and self.end_fraction == 0:
            raise ValueError(
                "end_fraction must be > 0 for exponential decay, which never reaches 0. Received: 0. Try 0.01."
            )
        return self


GLOBAL_BATCH_SIZE, LANGUAGE_BATCH_SIZE = 32, 8
"""Examples per step where `fit.global_batch_size` is null; the second for language models."""

EPOCHS = 10
"""Epochs of fine-tuning, or of training from scratch, where `fit.epochs` is null."""


class FitConfig(Section):
    """Length of training, batch size, checkpoints, and what to do about NaN."""

    head_epochs: Count = 30
    """Epochs of the head phase. The frozen backbone computes the features once, and only the head trains on them."""
    epochs: Count | None = None
    """Epochs of fine-tuning the whole model, with frozen batch normalization statistics; 0 keeps the backbone frozen. Null
    means 10, or 3 for a pretrained text encoder, and for small data sets as many as make 100 steps; 10 for a backbone with
    random weights."""
    head_stop_epoch: Annotated[int, Field(gt=0)] | None = None
    """Epoch after which the head phase ends, while its schedule is that of all head_epochs. Null means the last one."""
    stop_epoch: Annotated[int, Field(gt=0)] | None = None
    """Epoch after which fine-tuning, or training from scratch, ends, while its schedule is that of all epochs: to train as long
    as another run had trained at its best epoch. Null means the last one."""
    head_views: Annotated[int, Field(gt=0)] = 1
    """Only for images: number of views of each training image on whose features the head trains. 1: the image as it is. 4: also
    three views of it under data.augment, drawn once from runtime.seed; the epochs of the head phase take turns on them. A view
    costs a pass of all training images through the backbone; there are no more views than epochs."""
    global_batch_size: Annotated[int, Field(gt=0)] | None = None
    """Examples per optimizer step, summed over all devices. Null means 32, and 8 sequences, or pairs of them for dpo, for
    language models."""
    steps_per_execution: Annotated[int, Field(gt=0)] | Literal["auto"] = "auto"
    """Optimizer steps per call into TensorFlow, which saves Python overhead for small models and changes no result. A number must
    divide the steps in an epoch. auto: where only the head trains, on features, the largest such number up to 64; else 1."""
    objective: Literal["next_token", "dpo"] = "next_token"
    """Only for language models: what they learn. next_token: to write what is learned. dpo: to prefer the chosen answer of a
    pair to the rejected one, by direct preference optimization, with data of prompt, chosen and rejected, and LoRA; the
    reference is the model without its LoRA matrices."""
    dpo_beta: Positive | None = None
    """Only for dpo: how strongly the model is held to its reference; the smaller, the farther it may leave it. Null means
    0.1."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Fraction of each target that the loss spreads evenly over all classes."""
    monitor: str | None = None
    """Measure of the validation part by which epochs are compared: for the best epoch and the best phase, early stopping and
    plateaus. Any measure of metrics.json, such as `validation.macro.f1`, `validation.accuracy` or
    `validation.classes.NAME.recall`. Null means `validation.loss`, the loss that is trained, without penalties on weights."""
    early_stopping_epochs: Annotated[int, Field(gt=0)] | None = None
    """Number of epochs without a better value of `monitor` after which a phase ends; null means never."""
    checkpoint_every: Interval = "2 minutes"
    """How often a checkpoint is saved for `--resume`: `500 steps`, `1 epochs` or `10 minutes`. An interval in time is
    stretched if saving would take more than 2 % of the training time."""
    checkpoints_kept: Annotated[int, Field(gt=0)] = 3
    """Number of checkpoints kept while a run trains; a finished run keeps none."""
    renamed_keys = {"on_bad_numbers": "on_nonfinite"}

    on_nonfinite: Literal["stop", "roll_back"] = "stop"
    """What happens after NaN or infinity in the loss, gradients or weights. Its origin is reported first. stop ends the run;
    roll_back resumes from the last checkpoint at a lower learning rate."""
    roll_back_factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Factor by which the learning rate is multiplied at a roll-back."""
    roll_backs: Count = 3
    """Largest number of roll-backs in a phase before the run ends."""

    @property
    def trains_whole(self) -> bool:
        """Whether a phase trains the whole model, not only its head."""
        return self.epochs != 0

    @model_validator(mode="after")
    def _check_epochs(self):
        if self.head_epochs == self.epochs == 0:
            raise ValueError("head_epochs and epochs must not both be 0. Received: 0 and 0. Set one of them.")
        for name in ("head_epochs", "epochs"):
            stop, epochs = getattr(self, name.replace("epochs", "stop_epoch")), getattr(self, name)
            if stop is not None and epochs is not None and stop > epochs:
                raise ValueError(
                    f"{name.replace('epochs', 'stop_epoch')} must be at most {name}. Received: {stop} and {epochs}."
                )
        return self
