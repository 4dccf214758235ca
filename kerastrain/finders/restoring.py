"""A model that may be trained for a trial and comes back bit by bit.

Takes a compiled `keras.Model`; gives it back as it was: weights, batch-norm statistics, the state of its random draws,
metrics, optimizer, compiled functions, and the generators of Python and NumPy. Must not know what is tried.
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
    """A block in which `model` trains, and after which nothing of that remains.

    It trains with a fresh twin of its optimizer, one step in each call of the train function, whatever
    `steps_per_execution` the model was compiled with.

    Args:
        model: keras.Model, built and compiled.
        keep_optimizer: bool, whether it trains with its own optimizer, which must be built; its state comes back too.
        **optimizer_options: arguments of the optimizer that are other in the twin, such as `learning_rate`.

    Raises:
        InputError: the model is not compiled with an optimizer or not built, or its optimizer cannot be made anew with
            these options.
    """
    if not getattr(model, "compiled", False) or model.optimizer is None:
        raise InputError(
            "`model` must be compiled with an optimizer and a loss. Received: a model without. Call `compile`."
        )
    if not model.built:
        raise InputError(
            f"`model` must be built, or it has no weights to come back to. Received: {model.name!r} without weights. Call "
            "it once on a batch, or begin it with `keras.Input`."
        )
    values = [(part, part.numpy()) for part in _parts(model, model.optimizer.variables if keep_optimizer else ())]
    attributes = {name: getattr(model, name) for name in _ATTRIBUTES if hasattr(model, name)}
    states = random.getstate(), np.random.get_state()
    try:
        if not keep_optimizer:
            with model.distribute_strategy.scope():
                model.optimizer = twin(model.optimizer, **optimizer_options)
        model.steps_per_execution = 1
        model.train_function = None
        yield
    finally:
        model.reset_metrics()  # those that were made in the block
        for part, value in values:
            part.assign(value)
        for name, value in attributes.items():
            setattr(model, name, value)
        if "history" not in attributes and hasattr(model, "history"):
            del model.history
        random.setstate(states[0])
        np.random.set_state(states[1])


def twin(optimizer: keras.optimizers.Optimizer, **options: object) -> keras.optimizers.Optimizer:
    """An optimizer of the same kind and settings with no step taken.

    Args:
        optimizer: keras.optimizers.Optimizer; one that scales the loss gets a twin with a twin inside.
        **options: arguments that are other in the twin.

    Raises:
        InputError: it has no such arguments, as an optimizer made of several has none.
    """
    config = optimizer.get_config()
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return type(optimizer)(**{**config, "inner_optimizer": twin(optimizer.inner_optimizer, **options)})
    if missing := [name for name in options if name not in config]:
        raise InputError(
            f"the optimizer must have `{missing[0]}`. Received: {type(optimizer).__qualname__}. Compile the model with one "
            "optimizer for all weights."
        )
    return type(optimizer).from_config({**config, **options})


def _parts(model: keras.Model, further: Iterable[keras.Variable]) -> list:
    """The tf.Variables of all state, one for each device, because devices may differ in what they hold."""
    variables = [*model.variables, *model.metrics_variables, *further]
    results = model.distribute_strategy.experimental_local_results
    return [part for variable in variables for part in results(variable.value)]
