"""Keras's optimizers by name, with the same result on any number of devices, and with decay and rates by layer.

Takes a name and numbers; returns a Keras optimizer whose class is registered, so that `.keras` files with it open once
this module is imported. Must not know of models, data or epochs.
"""

import inspect
import math

import keras

from kerastrain.errors import InputError, unknown
from kerastrain.keras_internals.optimizers import variable_index
from kerastrain.optimizers import arguments as optimizer_arguments
from kerastrain.optimizers.layer_rates import LayerRates
from kerastrain.optimizers.schedule_free import ScheduleFree
from kerastrain.optimizers.shared_adam_rate import SharedAdamRate
from kerastrain.optimizers.synchronized_clipping import SynchronizedClipping
from kerastrain.schedules import schedule  # noqa: F401, registers Schedule, which saved optimizers contain


@keras.saving.register_keras_serializable("kerastrain")
class SGD(LayerRates, SynchronizedClipping, keras.optimizers.SGD):
    """Gradient descent with momentum; often the best optimizer if there is time to search for its rate."""


@keras.saving.register_keras_serializable("kerastrain")
class Adam(LayerRates, SynchronizedClipping, SharedAdamRate, keras.optimizers.Adam):
    """Adam, Kingma and Ba 2015, https://arxiv.org/abs/1412.6980."""


@keras.saving.register_keras_serializable("kerastrain")
class AdamW(LayerRates, SynchronizedClipping, SharedAdamRate, keras.optimizers.AdamW):
    """Adam with decoupled weight decay, Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101."""


@keras.saving.register_keras_serializable("kerastrain")
class Adagrad(LayerRates, SynchronizedClipping, keras.optimizers.Adagrad):
    """AdaGrad, Duchi et al. 2011, https://jmlr.org/papers/v12/duchi11a.html."""


@keras.saving.register_keras_serializable("kerastrain")
class RMSprop(LayerRates, SynchronizedClipping, keras.optimizers.RMSprop):
    """RMSProp, Hinton 2012, https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf."""


@keras.saving.register_keras_serializable("kerastrain")
class Adadelta(LayerRates, SynchronizedClipping, keras.optimizers.Adadelta):
    """Adadelta, Zeiler 2012, https://arxiv.org/abs/1212.5701."""


@keras.saving.register_keras_serializable("kerastrain")
class Adafactor(LayerRates, SynchronizedClipping, keras.optimizers.Adafactor):
    """Adafactor, Shazeer and Stern 2018, https://arxiv.org/abs/1804.04235."""


@keras.saving.register_keras_serializable("kerastrain")
class Adamax(LayerRates, SynchronizedClipping, keras.optimizers.Adamax):
    """Adamax, Kingma and Ba 2015, https://arxiv.org/abs/1412.6980, section 7."""


@keras.saving.register_keras_serializable("kerastrain")
class Nadam(LayerRates, SynchronizedClipping, keras.optimizers.Nadam):
    """Adam with Nesterov momentum, Dozat 2016, https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ."""


@keras.saving.register_keras_serializable("kerastrain")
class Ftrl(LayerRates, SynchronizedClipping, keras.optimizers.Ftrl):
    """Follow the regularized leader, McMahan et al. 2013, https://doi.org/10.1145/2487575.2488200."""


@keras.saving.register_keras_serializable("kerastrain")
class Lamb(LayerRates, SynchronizedClipping, keras.optimizers.Lamb):
    """LAMB, You et al. 2020, https://arxiv.org/abs/1904.00962."""


@keras.saving.register_keras_serializable("kerastrain")
class Lion(LayerRates, SynchronizedClipping, keras.optimizers.Lion):
    """Lion, Chen et al. 2023, https://arxiv.org/abs/2302.06675."""


@keras.saving.register_keras_serializable("kerastrain")
class Muon(LayerRates, SynchronizedClipping, keras.optimizers.Muon):
    """Muon, Liu et al. 2025, https://arxiv.org/abs/2502.16982: updates matrices by Muon, other variables by AdamW."""

    def _weight_decay_of(self, variable) -> float | None:
        uses_adamw = self.adam_velocities[variable_index(self, variable)] is not None
        return self.adam_weight_decay if uses_adamw else self.weight_decay


@keras.saving.register_keras_serializable("kerastrain")
class ScheduleFreeAdamW(LayerRates, SynchronizedClipping, ScheduleFree):
    """Schedule-Free AdamW, Defazio et al. 2024, https://arxiv.org/abs/2405.15682; see `schedule_free` for Keras's own."""

    def _decayed_variable(self, variable):
        return self.fast(variable)


def make(
    name: str,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
    *,
    weight_decay: float | None = None,
    decay_norms_and_biases: bool = False,
    clip_norm: float | None = None,
    global_clip_norm: float | None = None,
    clip_value: float | None = None,
    momentum: float | None = None,
    ema_momentum: float | None = None,
    layer_rates: dict[str, float] | None = None,
    **arguments,
) -> keras.optimizers.Optimizer:
    """The optimizer of a name.

    Args:
        name: str, a key of `OPTIMIZERS`: "sgd", "adam", "adamw", "adagrad", "rmsprop", ….
        learning_rate: float > 0, or a LearningRateSchedule, for example from `kerastrain.schedules.make`.
        weight_decay: float >= 0, the fraction of a weight that is subtracted at each step, times the learning rate; None
            for the optimizer's own default (0.004 for AdamW and Muon, no decay for the others).
        decay_norms_and_biases: bool, whether the decay also shrinks biases, scales and offsets.
        clip_norm: float > 0, the largest L2 norm of the gradient of one variable.
        global_clip_norm: float > 0, the largest L2 norm of all gradients together.
        clip_value: float > 0, the largest absolute value in a gradient. At most one of the three clips may be set; each
            applies to the gradient of the whole batch, on any number of devices.
        momentum: float in [0, 1), for the optimizers that have it.
        ema_momentum: float in (0, 1); if set, the optimizer keeps a moving average of the weights, and `fit` ends with it.
        layer_rates: dict from a regular expression on variable paths to a factor >= 0 on the rate; see `LayerRates`.
        **arguments: further arguments of the Keras optimizer, such as `beta_1`, `epsilon`, `nesterov`; see
            `arguments.ARGUMENTS`.

    Returns:
        keras.optimizers.Optimizer, a subclass of the Keras optimizer of that name.

    Raises:
        InputError: the name or an argument is unknown, or a number lies outside its range.
        TypeError: `learning_rate` is neither a number nor a LearningRateSchedule.

    Example:
        >>> optimizer = make("adamw", 1e-3, weight_decay=0.05, global_clip_norm=1.0)
        >>> isinstance(optimizer, keras.optimizers.AdamW)
        True
    """
    if name not in OPTIMIZERS:
        raise InputError(unknown("optimizer", name, OPTIMIZERS))
    _check_learning_rate(learning_rate)
    if momentum is not None:
        arguments["momentum"] = momentum
    own = set(inspect.signature(make).parameters) - {"name", "momentum", "arguments"}
    optimizer_arguments.check(name, arguments, further=(*KERAS_ARGUMENTS, *own))
    arguments.update(_clipping(clip_norm=clip_norm, global_clip_norm=global_clip_norm, clip_value=clip_value))
    if ema_momentum is not None:
        _check_range("ema_momentum", ema_momentum, 0 < ema_momentum < 1, "lie between 0 and 1")
        arguments.update(use_ema=True, ema_momentum=ema_momentum)
    if weight_decay is not None:
        _check_range("weight_decay", weight_decay, weight_decay >= 0, "be at least 0")
        arguments["weight_decay"] = weight_decay
    return OPTIMIZERS[name](
        learning_rate, layer_rates=layer_rates, decay_norms_and_biases=decay_norms_and_biases, **arguments
    )


def _check_learning_rate(learning_rate) -> None:
    if isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule):
        return
    if isinstance(learning_rate, bool) or not isinstance(learning_rate, int | float):
        raise TypeError(
            f"`learning_rate` must be a float or a LearningRateSchedule. Received: {type(learning_rate).__qualname__}. "
            f"For a function of the step use `kerastrain.schedules.make(function, ...)`."
        )
    valid = learning_rate > 0 and math.isfinite(learning_rate)
    _check_range("learning_rate", learning_rate, valid, "be above 0 and finite")


def _clipping(**clips: float | None) -> dict[str, float]:
    limits = {name: limit for name, limit in clips.items() if limit is not None}
    if len(limits) > 1:
        received = ", ".join(f"{name}={limit}" for name, limit in limits.items())
        raise InputError(f"only one of {', '.join(f'`{name}`' for name in clips)} may be set. Received: {received}.")
    for name, limit in limits.items():
        _check_range(name, limit, limit > 0, "be above 0")
    return {KERAS_CLIPPING[name]: limit for name, limit in limits.items()}


def _check_range(name: str, number: float, valid: bool, rule: str) -> None:
    if not valid:
        raise InputError(f"`{name}` must {rule}. Received: {name}={number}.")


KERAS_ARGUMENTS = ("ema_overwrite_frequency", "gradient_accumulation_steps", "loss_scale_factor")

KERAS_CLIPPING = {"clip_norm": "clipnorm", "global_clip_norm": "global_clipnorm", "clip_value": "clipvalue"}

OPTIMIZERS: dict[str, type[keras.optimizers.Optimizer]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "adagrad": Adagrad,
    "rmsprop": RMSprop,
    "adadelta": Adadelta,
    "adafactor": Adafactor,
    "adamax": Adamax,
    "nadam": Nadam,
    "ftrl": Ftrl,
    "lamb": Lamb,
    "lion": Lion,
    "muon": Muon,
    "schedule_free_adamw": ScheduleFreeAdamW,
}
