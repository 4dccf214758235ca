"""Which logged value a callback watches, and whether more of it is better.

Takes the logs of an epoch; gives one float, or the error that says what was logged. Must not hold state.
"""

import keras

from kerastrain.errors import InputError, unknown

_HIGHER_IS_BETTER = ("accuracy", "acc", "auc", "precision", "recall", "f1", "score", "iou", "r2")
_LOWER_IS_BETTER = ("loss", "error", "mse", "mae", "rmse", "divergence", "crossentropy")


def direction(monitor: str, mode: str | None = None) -> str:
    """Whether the monitored value should fall or rise.

    Args:
        monitor: str, the name of a logged value, such as "val_loss" or "val_macro_f1".
        mode: "min", "max", or None to tell it by the name.

    Returns:
        "min" or "max".

    Raises:
        InputError: `mode` is another word, or it is None and the name does not tell.

    Example:
        >>> direction("val_macro_f1"), direction("val_loss"), direction("gain", "max")
        ('max', 'min', 'max')
    """
    if mode is not None:
        if mode not in ("min", "max"):
            raise InputError(unknown("mode", mode, ("min", "max")))
        return mode
    # The last word that tells wins: "auc_loss" is a loss.
    for word in reversed(monitor.removeprefix("val_").split("_")):
        if word in _LOWER_IS_BETTER:
            return "min"
        if word in _HIGHER_IS_BETTER:
            return "max"
    raise InputError(
        f"the name {monitor!r} does not tell whether more of it is better. Give `mode='min'` or `mode='max'`."
    )


def monitored(monitor: str, logs: dict[str, float] | None) -> float:
    """The value of `monitor` among the logs of an epoch.

    Raises:
        InputError: it was not logged.
    """
    logs = logs or {}
    if monitor not in logs:
        hint = " Give `fit` validation data." if monitor.startswith("val_") and "loss" in logs else ""
        raise InputError(f"{unknown('monitored value', monitor, logs)}{hint}")
    return float(logs[monitor])


def is_better(value: float, best: float | None, mode: str, min_change: float = 0.0) -> bool:
    """Whether `value` betters `best` by more than `min_change`; NaN never does, and anything betters None.

    Example:
        >>> is_better(0.5, 0.4, "max"), is_better(0.5, 0.4, "min"), is_better(float("nan"), None, "min")
        (True, False, False)
    """
    if value != value:
        return False
    if best is None:
        return True
    return value > best + min_change if mode == "max" else value < best - min_change


def inner_optimizer(model: keras.Model) -> keras.optimizers.Optimizer:
    """The optimizer that steps the weights, taken out of the loss scaling that mixed_float16 puts around it."""
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)
