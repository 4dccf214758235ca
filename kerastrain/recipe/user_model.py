"""Makes and trains the models of a user's function, hp -> compiled keras.Model, for the trials of a search.

Takes the file of the function and hyperparameters; returns the model, which the function compiles with its own optimizer and
loss. The metrics become those by whose names objectives are known. Must not choose hyperparameters.
"""

import importlib.util
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from kerastrain import callbacks, data, evaluation, runtime
from kerastrain.callbacks.epoch_report import OnEpoch
from kerastrain.config import Config
from kerastrain.errors import InputError, unknown
from kerastrain.evaluation import model_outputs
from kerastrain.recipe import best_phase, monitors, plan, user_function
from kerastrain.recipe.fitting import fit_phase
from kerastrain.recipe.stages import Stage
from kerastrain.recipe.user_function import UserFunction
from kerastrain.system import isolated_imports
from kerastrain.tuning import hyperparameters

PHASE = "fit"
"""The name of the one phase in which such a model trains."""


def load(path: Path, name: str) -> Callable:
    """Imports a function from a file, beside which it may import others.

    Args:
        path: Path of the file.
        name: str, the name of the function.

    Returns:
        callable.

    Raises:
        InputError: the file raises an error, or it has no such function.
    """
    spec = importlib.util.spec_from_file_location(f"user_function_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    _guarded(f"importing {path}", path, spec.loader.exec_module, module)
    function = getattr(module, name, None)
    if not callable(function):
        own = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise InputError(f"{unknown('function', name, own)} The file is {path}.")
    return function


def called(function: Callable, hp, *, where: str) -> keras.Model:
    """Calls a function, and checks what it returns.

    Args:
        function: callable from keras_tuner.HyperParameters to a compiled keras.Model.
        hp: keras_tuner.HyperParameters.
        where: str "FILE.py:FUNCTION", for errors.

    Returns:
        keras.Model.

    Raises:
        InputError: the function raises an error, or it returns something else than a compiled and built keras.Model with one
            input and one output.
    """
    model = _guarded(where, Path(where.rpartition(":")[0]), function, hp)
    if not isinstance(model, keras.Model):
        raise InputError(
            f"{where} must return a keras.Model. Received: {type(model).__module__}.{type(model).__qualname__}. Return the "
            "compiled model."
        )
    if not model.compiled:
        raise InputError(
            f"{where} must return a compiled model. Received: one without an optimizer. Call model.compile in it."
        )
    if not model.built:
        raise InputError(
            f"{where} must return a model with a known input. Received: one without. Begin it with keras.Input."
        )
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        counts = f"{len(model.inputs)} inputs and {len(model.outputs)} outputs"
        raise InputError(f"{where} must return a model with one input and one output. Received: {counts}.")
    return model


@dataclass(frozen=True)
class PreparedFunction:
    """What a trial with a user's function needs before it trains, in the form of `building.Prepared`.

    Args:
        config: Config.
        split: data.Split, whose images have the size that the model takes.
        model: keras.Model, compiled.
    """

    config: Config
    split: data.Split
    model: keras.Model

    def build(self) -> keras.Model:
        """The compiled model."""
        return self.model


def prepare(
    function: UserFunction,
    values: Mapping[str, Any],
    config: Config,
    *,
    load_data: Callable[[Config, tuple[int, int] | None], data.Split],
) -> PreparedFunction:
    """Makes the model of a point, and loads its data. Call it in the scope of the strategy.

    Args:
        function: UserFunction.
        values: mapping from the names of the active hyperparameters to their values.
        config: Config, of which `data`, `fit` and `runtime` are used.
        load_data: callable that returns the data.Split for a config and an image size.

    Returns:
        PreparedFunction.

    Raises:
        InputError: the function fails, its file has changed, or its model does not fit the data.
    """
    function.require_unchanged()
    runtime.seed(config.runtime.seed, deterministic=config.runtime.deterministic)
    hp = hyperparameters.in_keras_tuner(isolated_imports.keras_tuner(), function.hyperparameters, values)
    model = called(load(Path(function.path), function.name), hp, where=function.text)
    size = _image_size(model, config, function.text) if config.data.kind == "images" else None
    split = load_data(config, size)
    if model.output_shape != (None, len(split.labels)):
        raise InputError(
            f"{function.text} must return a model with an output for each of the {len(split.labels)} classes or numbers of "
            f"the data. Received: outputs of the shape {model.output_shape}."
        )
    return PreparedFunction(config, split, with_measures(model, split.train.task))


def with_measures(model: keras.Model, task: str) -> keras.Model:
    """Compiles a model again with its own optimizer and loss, and with the metrics that objectives are named by.

    Args:
        model: keras.Model, compiled; changed in place.
        task: str in `tasks.TASKS`.

    Returns:
        keras.Model, `model` itself.

    Raises:
        InputError: it has several losses.
    """
    loss = _loss(model.loss)
    is_squashed = model_outputs.activation(model) in model_outputs.SQUASHING
    metrics = evaluation.metrics(model.output_shape[-1], task=task)
    if is_squashed and task == "single_label":
        metrics = [keras.metrics.CategoricalAccuracy(name="accuracy")]
    elif is_squashed and task == "multi_label":
        metrics = [keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.5)]
    model.compile(
        optimizer=model.optimizer,
        loss=loss,
        metrics=metrics,
        weighted_metrics=[evaluation.DataLoss(loss)],
        jit_compile=model.jit_compile,
        steps_per_execution=model.steps_per_execution,
        run_eagerly=model.run_eagerly,
    )
    model.optimizer.build(model.trainable_variables)
    return model


def phases(config: Config, example_count: int) -> list[plan.Phase]:
    """The one phase in which such a model trains, with the optimizer and the rate that its function chose.

    Args:
        config: Config.
        example_count: int > 0, the number of training examples.

    Returns:
        list of one plan.Phase.
    """
    steps = -(-example_count // config.fit.global_batch_size)
    return [plan.Phase(PHASE, user_function.epochs(config), steps, 0, 1.0, "constant", {})]


def fit(
    model: keras.Model, config: Config, split: data.Split, directory: Path, *, on_epoch: OnEpoch | None = None
) -> best_phase.BestEpoch:
    """Trains a model of a user's function, as `recipe.fit` trains those of a config.

    Args:
        model: keras.Model of `prepare`, trained in place. It ends with the weights of the best epoch.
        config: Config.
        split: data.Split.
        directory: as for `recipe.fit`.
        on_epoch: as for `recipe.fit`.

    Returns:
        BestEpoch.

    Raises:
        NonFiniteError: as for `recipe.fit`.
        Paused: as for `recipe.fit`.
    """
    report = None if on_epoch is None else callbacks.EpochReport(on_epoch, directory / "history.csv")
    runtime.seed(config.runtime.seed)
    stage = Stage(model, split.train, split.validation, data.augment(**config.data.augment.named))
    [phase] = phases(config, len(split.train))
    fit_phase(stage, config, phase, directory, report=report)
    monitor = monitors.monitor(config)
    examples = monitors.examples(monitor, split.validation)
    return best_phase.take_best(model, directory, [PHASE], examples=examples, monitor=monitor)


def _loss(loss: Any) -> keras.losses.Loss:
    """The loss as an object, for targets that are one-hot."""
    if isinstance(loss, list | tuple | dict):
        raise InputError(f"a model must be compiled with one loss. Received: {loss!r}.")
    if not isinstance(loss, keras.losses.Loss):
        function = keras.losses.get(loss)
        name = getattr(function, "__name__", str(function))
        kind = getattr(keras.losses, "".join(part.capitalize() for part in name.split("_")), None)
        if kind is None or getattr(keras.losses, name, None) is not function:
            raise InputError(
                f"a model must be compiled with a loss of Keras, or a keras.losses.Loss. Received: the function {name}. Make "
                "it the `call` of a keras.losses.Loss."
            )
        loss = kind()
    if isinstance(loss, keras.losses.SparseCategoricalCrossentropy):
        return keras.losses.CategoricalCrossentropy(from_logits=loss.get_config()["from_logits"])
    return loss


def _image_size(model: keras.Model, config: Config, where: str) -> tuple[int, int] | None:
    """The size of the images that a model takes; that of the config where it takes any."""
    shape = model.input_shape
    if len(shape) != 4 or shape[3] != 3:
        raise InputError(
            f"{where} must return a model that takes RGB images, (height, width, 3). Received: {shape[1:]}."
        )
    size = config.data.image_size if None in shape[1:3] else (shape[1], shape[2])
    if config.data.image_size not in (None, size):
        raise InputError(
            f"{where} must return a model for images of data.image_size={list(config.data.image_size)}. Received: {shape[1:]}."
        )
    return size


def _guarded(doing: str, path: Path, function: Callable, *arguments: Any) -> Any:
    """Calls a user's code, and names the line in its file if it raises an error."""
    try:
        return function(*arguments)
    except InputError:
        raise
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        number = (
            error.lineno if isinstance(error, SyntaxError) and error.filename == str(path) else (lines or [None])[-1]
        )
        where = "" if number is None else f" (line {number})"
        message = str(error).strip().splitlines()
        raise InputError(f"{doing} raised {type(error).__name__}: {message[0] if message else ''}{where}") from error
