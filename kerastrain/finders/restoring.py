"""Training a model for a trial and restoring it bit for bit.

Takes a compiled `keras.Model`; restores its weights, batch-norm statistics, random seeds, metrics, optimizer and compiled
functions, and the generators of Python and NumPy. Must not know what the trial is.
"""

import contextlib
import random
from collections.abc import Iterable, Iterator

import keras
import numpy as np

from kerastrain.errors import InputError

_ATTRIBUTES = ("optimizer", "train_function", "steps_per_execution", "stop_training", "history")


@contextlib.contextmanager
def restored(model: keras.Model, *, keep_optimizer: bool = False, **optimizer_options: object) -> Iterator[None]:
    """Context manager in which `model` may train; its whole state is restored at the end.

    In the block the model has a new optimizer with the same settings, and takes one step per call of the train function,
    whatever `steps_per_execution` it was compiled with.

    Args:
        model: keras.Model, built and compiled.
        keep_optimizer: bool, whether the model trains with its own optimizer, which must be built; its state is restored
            too.
        **optimizer_options: arguments that the new optimizer gets instead of its own, such as `learning_rate`.

    Yields:
        None.

    Raises:
        InputError: the model is not built, or not compiled with an optimizer, or its optimizer does not take
            `optimizer_options`.
    """
    if not getattr(model, "compiled", False) or model.optimizer is None:
        raise InputError(
            "`model` must be compiled with an optimizer and a loss. Received: a model that is not. Call `compile`."
        )
    if not model.built:
        raise InputError(
            f"`model` must be built. Received: {model.name!r}, which has no weights yet. Call it once on a batch, or give "
            "it a `keras.Input`."
        )
    values = [(part, part.numpy()) for part in _parts(model, model.optimizer.variables if keep_optimizer else ())]
    attributes = {name: getattr(model, name) for name in _ATTRIBUTES if hasattr(model, name)}
    states = random.getstate(), np.random.get_state()
    try:
        if not keep_optimizer:
            with model.distribute_strategy.scope():
                model.optimizer = _copy(model.optimizer, **optimizer_options)
        model.steps_per_execution = 1
        model.train_function = None
        yield
    finally:
        model.reset_metrics()  # Metrics that were created in the block have no earlier value.
        for part, value in values:
            part.assign(value)
        for name, value in attributes.items():
            setattr(model, name, value)
        if "history" not in attributes and hasattr(model, "history"):
            del model.history
        random.setstate(states[0])
        np.random.set_state(states[1])


def _copy(optimizer: keras.optimizers.Optimizer, **options: object) -> keras.optimizers.Optimizer:
    """A new optimizer of the same class and settings, but for `options`; a LossScaleOptimizer wraps a new one too."""
    config = optimizer.get_config()
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return type(optimizer)(**{**config, "inner_optimizer": _copy(optimizer.inner_optimizer, **options)})
    if missing := [name for name in options if name not in config]:
        raise InputError(
            f"the optimizer must have an argument `{missing[0]}`. Received: {type(optimizer).__qualname__}. Compile the "
            "model with one optimizer for all weights."
        )
    return type(optimizer).from_config({**config, **options})


def _parts(model: keras.Model, optimizer_variables: Iterable[keras.Variable]) -> list:
    """The tf.Variables of the whole state, one per device, because their values may differ between devices."""
    variables = [*model.variables, *model.metrics_variables, *optimizer_variables]
    results = model.distribute_strategy.experimental_local_results
    return [part for variable in variables for part in results(variable.value)]
