"""The logged value that a callback monitors, and whether higher or lower is better.

Takes the logs of an epoch; returns one float, or raises an error that lists what was logged. Must not hold state.
"""

import keras

from kerastrain.errors import InputError, unknown

_HIGHER_IS_BETTER = ("accuracy", "acc", "auc", "precision", "recall", "f1", "score", "iou", "r2")
_LOWER_IS_BETTER = ("loss", "error", "mse", "mae", "rmse", "divergence", "crossentropy")


def direction(monitor: str, mode: str | None = None) -> str:
    """Whether the monitored value should fall or rise.

    Args:
        monitor: str, the name of a logged value, such as "val_loss" or "val_macro_f1".
        mode: "min", "max", or None to infer it from the name.

    Returns:
        "min" or "max".

    Raises:
        InputError: `mode` is another word, or it is None and cannot be inferred from the name.

    Example:
        >>> direction("val_macro_f1"), direction("val_loss"), direction("gain", "max")
        ('max', 'min', 'max')
    """
    if mode is not None:
        if mode not in ("min", "max"):
            raise InputError(unknown("mode", mode, ("min", "max")))
        return mode
    # The last known word decides: "auc_loss" is a loss.
    for word in reversed(monitor.removeprefix("val_").split("_")):
        if word in _LOWER_IS_BETTER:
            return "min"
        if word in _HIGHER_IS_BETTER:
            return "max"
    raise InputError(
        f"cannot infer from the name {monitor!r} whether higher or lower is better. Set `mode='min'` or `mode='max'`."
    )


def monitored(monitor: str, logs: dict[str, float] | None) -> float:
    """Value of `monitor` in the logs of an epoch.

    Args:
        monitor: str, the name of the value.
        logs: dict from names to floats as Keras passes it to callbacks, or None.

    Returns:
        float.

    Raises:
        InputError: `monitor` was not logged.
    """
    logs = logs or {}
    if monitor not in logs:
        hint = " Pass validation data to `fit`." if monitor.startswith("val_") and "loss" in logs else ""
        raise InputError(f"{unknown('monitored value', monitor, logs)}{hint}")
    return float(logs[monitor])


def is_better(value: float, best: float | None, mode: str, min_change: float = 0.0) -> bool:
    """Whether `value` improves on `best` by more than `min_change`.

    Args:
        value: float, the new value; NaN is never better.
        best: float, the best value so far; None for none, on which every value but NaN improves.
        mode: "min" or "max".
        min_change: float >= 0; a change must be larger than this to count.

    Returns:
        bool.

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
    """The optimizer that updates the weights, without the LossScaleOptimizer that mixed_float16 wraps around it.

    Args:
        model: keras.Model, compiled.

    Returns:
        keras.optimizers.Optimizer.
    """
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)
