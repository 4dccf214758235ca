"""A small model taught by a large one: it learns what the large one answers, not only what is right.

Takes a teacher of any kind, a student and data; gives the student, trained, as the plain keras.Model that it was. Must not
change the models given, or write files.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from kerastrain import saving
from kerastrain.compress import distillation_loss, fine_tuning
from kerastrain.data import pipeline
from kerastrain.data.examples import Examples
from kerastrain.errors import InputError
from kerastrain.hub.layer import HubLayer
from kerastrain.tasks import Task

_PROBABILITIES = "Give logits: leave its last activation out, or, for a teacher, say `teacher_probabilities=True`."


def distill(
    teacher: keras.Model | keras.Layer | str | os.PathLike,
    student: keras.Model,
    data: tf.data.Dataset | Examples,
    *,
    epochs: int,
    temperature: float = 4.0,
    soft_weight: float = 0.9,
    features: Mapping[str, str] | None = None,
    feature_weight: float = 1.0,
    teacher_probabilities: bool = False,
    global_batch_size: int = 32,
    augment: Callable | None = None,
    seed: int = 0,
    optimizer: keras.optimizers.Optimizer | None = None,
    learning_rate: float = 1e-3,
    loss: keras.losses.Loss | str | None = None,
    metrics: Sequence = (),
    validation_data: tf.data.Dataset | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = 0,
) -> keras.Model:
    """A copy of `student`, trained on the targets, the teacher's answers, and if so wanted the teacher's features.

        loss = (1 - soft_weight) * hard + soft_weight * T² * KL(teacher / T || student / T)
               + feature_weight * mean((teacher's feature - projection(student's feature))²) + regularization

    `soft_weight` 0 learns from features alone, no `features` from answers alone. The teacher stays in inference mode. Given
    `Examples` and no `augment`, it is asked once for each of them; otherwise once in every step. Under a strategy of
    `distribute.make` the weights are those of one device, also where the last batch is uneven.

    Args:
        teacher: keras.Model, HubLayer, or path of a `.keras` file or a SavedModel, from inputs to logits (b, n), or
            numbers for regression; not changed.
        student: keras.Model, built, from the same inputs to as many logits; not changed, and copied through its `.keras`
            form.
        data: tf.data.Dataset as for `fit`, of known length; or Examples, which are shuffled and batched here.
        epochs: int > 0, passes over `data`.
        temperature: float > 0, T: how much of the teacher's wrong answers shows; no part in regression.
        soft_weight: float in [0, 1], the share of the teacher's answers against the targets.
        features: from names of the student's layers to names of the teacher's, at any depth, whose outputs are to be
            alike; maps must have the same height and width. Where channels differ, a linear projection learns between
            them, and is thrown away. Both models must be functional then.
        feature_weight: float >= 0, the weight of each pair.
        teacher_probabilities: bool, whether the teacher gives probabilities, of which the logarithm is taken.
        global_batch_size: int > 0, for Examples.
        augment: from `data.augment`, for Examples.
        seed: int in [0, 2**31), of order and augmentation of Examples.
        optimizer: fresh keras.optimizers.Optimizer, or None for Adam whose rate falls from `learning_rate` to 0 along a
            cosine.
        learning_rate: float > 0, used where `optimizer` is None.
        loss: as for `compile`, on logits; or None for the loss that `student` was compiled with.
        metrics: as for `compile`.
        validation_data: as for `fit`; its loss is the student's own.
        callbacks: as for `fit`; the model they see holds the student as `student`.
        verbose: as for `fit`.

    Returns:
        keras.Model, compiled; nothing of teacher or projections is left in it.

    Raises:
        InputError: an option breaks its rule, the outputs or features of the two do not fit, one of them gives
            probabilities, or the student is not built.

    Reference: Hinton et al. 2015, https://arxiv.org/abs/1503.02531; Romero et al. 2015 (features),
        https://arxiv.org/abs/1412.6550.
    """
    _check_numbers(temperature, soft_weight, feature_weight)
    loss = fine_tuning.loss_of(student, loss, name="student")
    task = _task(loss)
    features = dict(features or {})
    learner = fine_tuning.copy(student)
    teach = _teaching(_opened(teacher), list(features.values()), probabilities=teacher_probabilities, task=task)
    whole, steps_per_epoch = _batches(data, teach, epochs, global_batch_size, augment, seed)
    first = keras.utils.unpack_x_y_sample_weight(next(iter(whole)))[0]
    soft = distillation_loss.DistillationLoss(temperature, task) if task != "regression" else _loss_object(loss)
    lesson = distillation_loss.DistillationModel(
        learner,
        teach,
        layers=list(features),
        widths=_checked_widths(learner, teach, first, features, task),
        soft=soft,
        soft_weight=soft_weight,
        feature_weight=feature_weight,
    )
    steps = fine_tuning.steps(whole, 1, optimizer)
    lesson.compile(
        optimizer or fine_tuning.adam_with_cosine_decay(learning_rate, steps), loss=loss, metrics=list(metrics)
    )
    fine_tuning.fit(
        lesson,
        whole,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        validation_data=validation_data,
        callbacks=callbacks,
        verbose=verbose,
    )
    return fine_tuning.compiled_for_evaluation(learner, learning_rate=learning_rate, loss=loss, metrics=metrics)


def _opened(teacher: object) -> keras.Layer:
    if isinstance(teacher, str | os.PathLike):
        return saving.load(teacher) if str(teacher).endswith(".keras") else HubLayer(teacher)
    if not isinstance(teacher, keras.Layer):
        raise TypeError(
            f"`teacher` must be a keras.Model, a HubLayer or a path. Received: {type(teacher).__module__}."
            f"{type(teacher).__qualname__}."
        )
    return teacher


def _teaching(
    teacher, layers: Sequence[str], *, probabilities: bool, task: Task
) -> Callable[..., distillation_loss.Answers]:
    """The function from inputs to the teacher's answers as logits, in inference mode."""
    answer = distillation_loss.forward_with_features(teacher, layers)

    def teach(inputs):
        answers = answer(inputs, training=False)
        outputs = answers["outputs"]
        if not tf.is_tensor(outputs):
            raise InputError(
                f"`teacher` must give one tensor. Received: {type(outputs).__qualname__}. Choose one of several outputs "
                "with `HubLayer(..., output_key=...)`, or give a keras.Model(inputs, output)."
            )
        outputs = tf.cast(outputs, tf.float32)
        if probabilities:
            shares = tf.clip_by_value(outputs, 1e-7, 1 - 1e-7)
            outputs = tf.math.log(shares) - (tf.math.log(1 - shares) if task == "multi_label" else 0.0)
        return {**answers, "outputs": outputs}

    return teach


def _batches(data, teach, epochs: int, size: int, augment, seed: int) -> tuple[tf.data.Dataset, int]:
    """All epochs in one data set, and the steps of each; the teacher's answers are in it where they never change."""
    if isinstance(data, tf.data.Dataset):
        return data.repeat(epochs), fine_tuning.steps(data, epochs, None) // epochs
    steps = pipeline.steps_per_epoch(data, size)
    options = {"shuffle": True, "seed": seed, "epochs": epochs}
    whole = pipeline.batches(data, size, augment=augment, **options)
    if augment is not None:
        return whole, steps
    asked = tf.function(teach, reduce_retracing=True)
    answers = [asked(batch[0]) for batch in pipeline.batches(data, size)]
    table = keras.tree.map_structure(lambda *parts: tf.concat(parts, axis=0), *answers)
    numbers = dataclasses.replace(data, inputs=np.arange(len(data)), paths=None)

    def with_answers(batch, numbered):
        inputs, targets, *weights = batch
        taught = keras.tree.map_structure(lambda column: tf.gather(column, tf.cast(numbered[0], tf.int64)), table)
        return inputs, {"targets": targets, "taught": taught}, *weights

    return tf.data.Dataset.zip(whole, pipeline.batches(numbers, size, **options)).map(with_answers), steps


def _checked_widths(student, teach, inputs, features: Mapping[str, str], task: Task) -> list[int]:
    """The channels of the teacher's features, after all outputs and features were held against each other."""
    wanted, given = (
        teach(inputs),
        distillation_loss.forward_with_features(student, list(features))(inputs, training=False),
    )
    if wanted["outputs"].shape != given["outputs"].shape:
        raise InputError(
            f"`student` must give as many outputs as `teacher`. Received: {tuple(given['outputs'].shape[1:])} and "
            f"{tuple(wanted['outputs'].shape[1:])} for each example."
        )
    for name, answers in (("teacher", wanted), ("student", given)):
        if _are_probabilities(answers["outputs"], task):
            raise InputError(f"`{name}` must give logits. Received: probabilities. {_PROBABILITIES}")
    for (ours, theirs), one, other in zip(features.items(), given["features"], wanted["features"], strict=True):
        if one.shape[:-1] != other.shape[:-1]:
            raise InputError(
                f"`features` must pair maps of the same size. Received: {tuple(one.shape[1:])} of {ours!r} and "
                f"{tuple(other.shape[1:])} of {theirs!r}. Name layers where both models have the same height and width."
            )
    return [feature.shape[-1] for feature in wanted["features"]]


def _are_probabilities(outputs: tf.Tensor, task: Task) -> bool:
    outputs = keras.ops.convert_to_numpy(outputs)
    if task == "regression" or not np.all((outputs > 0) & (outputs < 1)):
        return False
    return task == "multi_label" or np.allclose(outputs.sum(-1), 1, atol=1e-3)


def _task(loss: object) -> Task:
    """What `loss` is a loss of, refused where it does not take logits."""
    name = loss if isinstance(loss, str) else getattr(loss, "name", None) or getattr(loss, "__name__", "")
    if "crossentropy" not in name.replace("_", "").lower():
        return "regression"
    if not isinstance(loss, keras.losses.Loss) or not loss.get_config().get("from_logits"):
        raise InputError(f"`loss` must take logits. Received: {name!r}. Make it with `from_logits=True`.")
    return "multi_label" if "binary" in name else "single_label"


def _loss_object(loss: object) -> keras.losses.Loss:
    return loss if isinstance(loss, keras.losses.Loss) else keras.losses.MeanSquaredError()


def _check_numbers(temperature: float, soft_weight: float, feature_weight: float) -> None:
    if not temperature > 0:
        raise InputError(f"`temperature` must be above 0. Received: {temperature!r}. Hinton et al. take 1 to 20.")
    if not 0 <= soft_weight <= 1:
        raise InputError(f"`soft_weight` must lie in [0, 1]. Received: {soft_weight!r}.")
    if feature_weight < 0:
        raise InputError(f"`feature_weight` must be at least 0. Received: {feature_weight!r}.")
