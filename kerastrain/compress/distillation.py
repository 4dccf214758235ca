"""Knowledge distillation: a small model learns from the outputs of a large one as well as from the targets.

Takes a teacher of any kind, a student and data; returns the trained student as a plain keras.Model. Must not change the
given models, or write files.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from kerastrain import saving
from kerastrain.compress.distillation_loss import (
    DistillationLoss,
    DistillationModel,
    OutputsAndFeatures,
    forward_with_features,
)
from kerastrain.compress.fine_tuning import (
    FineTuning,
    compile_for_evaluation,
    compile_for_training,
    copy_model,
    count_steps,
    fit,
    resolve,
)
from kerastrain.data import pipeline
from kerastrain.data.examples import Examples
from kerastrain.errors import InputError
from kerastrain.hub.layer import HubLayer
from kerastrain.tasks import Task

_LEARNING_RATE = 1e-3
_PROBABILITIES = "Give logits: leave its last activation out, or, for a teacher, pass `teacher_probabilities=True`."


def distill(
    teacher: keras.Model | keras.Layer | str | os.PathLike,
    student: keras.Model,
    dataset: tf.data.Dataset | Examples,
    *,
    fine_tuning: FineTuning,
    temperature: float = 4.0,
    soft_weight: float = 0.9,
    features: Mapping[str, str] | None = None,
    feature_weight: float = 1.0,
    teacher_probabilities: bool = False,
    global_batch_size: int = 32,
    augment: Callable | None = None,
    seed: int = 0,
) -> keras.Model:
    """Trains a copy of `student` on the targets, the teacher's outputs and optionally the teacher's features.

        loss = (1 - soft_weight) * hard + soft_weight * T² * KL(teacher / T || student / T)
               + feature_weight * mean((teacher's feature - projection(student's feature))²) + regularization

    With `soft_weight` 0 the student does not learn from the teacher's outputs; without `features` it does not learn from
    the teacher's features. The teacher runs in inference mode: once per example if `dataset` is `Examples` and there is no
    `augment`, otherwise once per step. Under a strategy of `distribute.make` the weights equal those of a training on one
    device, also where the last batch is uneven.

    Args:
        teacher: keras.Model, HubLayer, or path of a `.keras` file or a SavedModel, from inputs to logits (b, n), or to
            numbers for regression; not changed.
        student: keras.Model, built, from the same inputs to the same number of logits; not changed, and copied through
            its `.keras` form.
        dataset: tf.data.Dataset as for `fit`, of known length; or Examples, which are shuffled and batched here.
        fine_tuning: FineTuning. Its loss must take logits, and its validation loss is the student's own loss. The default
            learning rate is 1e-3.
        temperature: float > 0, T: higher values give more weight to the teacher's small probabilities; unused for
            regression.
        soft_weight: float in [0, 1], the weight of the teacher's outputs relative to the targets.
        features: mapping from names of student layers to names of teacher layers, at any depth, whose outputs are
            compared. Feature maps must have the same height and width. Where channels differ, a linear projection is
            trained between them and dropped afterwards. Both models must be functional.
        feature_weight: float >= 0, the weight of each pair of features.
        teacher_probabilities: bool, whether the teacher outputs probabilities, which are converted to logits.
        global_batch_size: int > 0, for Examples.
        augment: from `data.augment`, for Examples.
        seed: int in [0, 2**31), seed of order and augmentation of Examples.

    Returns:
        keras.Model, the trained student, compiled; without the teacher and the projections.

    Raises:
        InputError: an option is invalid, the outputs or features of the two models do not fit, one of them gives
            probabilities, or the student is not built.
        TypeError: `teacher` is neither a layer nor a path.

    Reference: Hinton et al. 2015, https://arxiv.org/abs/1503.02531; Romero et al. 2015 (features),
        https://arxiv.org/abs/1412.6550.
    """
    _check_numbers(temperature, soft_weight, feature_weight)
    fine_tuning = resolve(fine_tuning, student, learning_rate=_LEARNING_RATE, argument="student")
    loss = fine_tuning.loss
    task = _task(loss)
    features = dict(features or {})
    trained_student = copy_model(student)
    teacher_forward = _teacher_forward(
        _load_teacher(teacher), list(features.values()), probabilities=teacher_probabilities, task=task
    )
    batches, steps_per_epoch = _all_epochs(
        dataset, teacher_forward, fine_tuning.epochs, global_batch_size, augment, seed
    )
    first_inputs = keras.utils.unpack_x_y_sample_weight(next(iter(batches)))[0]
    distillation_model = DistillationModel(
        trained_student,
        teacher_forward,
        feature_layers=list(features),
        feature_channels=_feature_channels(trained_student, teacher_forward, first_inputs, features, task),
        soft_loss=DistillationLoss(temperature, task) if task != "regression" else _loss_object(loss),
        soft_weight=soft_weight,
        feature_weight=feature_weight,
    )
    compile_for_training(distillation_model, fine_tuning, count_steps(batches, 1, fine_tuning.optimizer))
    fit(distillation_model, batches, fine_tuning, steps_per_epoch=steps_per_epoch)
    compile_for_evaluation(trained_student, fine_tuning)
    return trained_student


def _load_teacher(teacher: object) -> keras.Layer:
    if isinstance(teacher, str | os.PathLike):
        return saving.load(teacher) if str(teacher).endswith(".keras") else HubLayer(teacher)
    if not isinstance(teacher, keras.Layer):
        raise TypeError(
            f"`teacher` must be a keras.Model, a HubLayer or a path. Received: {type(teacher).__module__}."
            f"{type(teacher).__qualname__}."
        )
    return teacher


def _teacher_forward(
    teacher: keras.Layer, layers: Sequence[str], *, probabilities: bool, task: Task
) -> Callable[..., OutputsAndFeatures]:
    """The function from inputs to the teacher's logits and features, in inference mode."""
    forward = forward_with_features(teacher, layers)

    def teacher_forward(inputs):
        result = forward(inputs, training=False)
        outputs = result["outputs"]
        if not tf.is_tensor(outputs):
            raise InputError(
                f"`teacher` must give one tensor. Received: {type(outputs).__qualname__}. Choose one of several outputs "
                "with `HubLayer(..., output_key=...)`, or give a keras.Model(inputs, output)."
            )
        outputs = tf.cast(outputs, tf.float32)
        if probabilities:
            clipped = tf.clip_by_value(outputs, 1e-7, 1 - 1e-7)
            outputs = tf.math.log(clipped) - (tf.math.log(1 - clipped) if task == "multi_label" else 0.0)
        return {**result, "outputs": outputs}

    return teacher_forward


def _all_epochs(
    dataset, teacher_forward, epochs: int, batch_size: int, augment, seed: int
) -> tuple[tf.data.Dataset, int]:
    """All epochs in one dataset, and the steps per epoch; with the teacher's outputs in the targets if they are fixed."""
    if isinstance(dataset, tf.data.Dataset):
        return dataset.repeat(epochs), count_steps(dataset, epochs, None) // epochs
    examples = dataset
    steps_per_epoch = pipeline.steps_per_epoch(examples, batch_size)
    options = {"shuffle": True, "seed": seed, "epochs": epochs}
    batches = pipeline.batches(examples, batch_size, augment=augment, **options)
    if augment is not None:
        return batches, steps_per_epoch
    compiled_forward = tf.function(teacher_forward, reduce_retracing=True)
    outputs = [compiled_forward(batch[0]) for batch in pipeline.batches(examples, batch_size)]
    table = keras.tree.map_structure(lambda *parts: tf.concat(parts, axis=0), *outputs)
    row_numbers = dataclasses.replace(examples, inputs=np.arange(len(examples)), paths=None)

    def with_teacher_outputs(batch, numbered_batch):
        inputs, targets, *weights = batch
        rows = tf.cast(numbered_batch[0], tf.int64)
        teacher_outputs = keras.tree.map_structure(lambda column: tf.gather(column, rows), table)
        return inputs, {"targets": targets, "teacher_outputs": teacher_outputs}, *weights

    numbered = pipeline.batches(row_numbers, batch_size, **options)
    return tf.data.Dataset.zip(batches, numbered).map(with_teacher_outputs), steps_per_epoch


def _feature_channels(student, teacher_forward, inputs, features: Mapping[str, str], task: Task) -> list[int]:
    """The channels of the teacher's features; raises if outputs or features of the two models do not fit."""
    teacher_result = teacher_forward(inputs)
    student_result = forward_with_features(student, list(features))(inputs, training=False)
    if teacher_result["outputs"].shape != student_result["outputs"].shape:
        raise InputError(
            "`student` must give as many outputs as `teacher`. Received: "
            f"{tuple(student_result['outputs'].shape[1:])} and {tuple(teacher_result['outputs'].shape[1:])} for each "
            "example."
        )
    for argument, result in (("teacher", teacher_result), ("student", student_result)):
        if _are_probabilities(result["outputs"], task):
            raise InputError(f"`{argument}` must give logits. Received: probabilities. {_PROBABILITIES}")
    pairs = zip(features.items(), student_result["features"], teacher_result["features"], strict=True)
    for (student_layer, teacher_layer), student_feature, teacher_feature in pairs:
        if student_feature.shape[:-1] != teacher_feature.shape[:-1]:
            raise InputError(
                f"`features` must pair maps of the same size. Received: {tuple(student_feature.shape[1:])} of "
                f"{student_layer!r} and {tuple(teacher_feature.shape[1:])} of {teacher_layer!r}. Name layers where both "
                "models have the same height and width."
            )
    return [feature.shape[-1] for feature in teacher_result["features"]]


def _are_probabilities(outputs: tf.Tensor, task: Task) -> bool:
    outputs = keras.ops.convert_to_numpy(outputs)
    if task == "regression" or not np.all((outputs > 0) & (outputs < 1)):
        return False
    return task == "multi_label" or np.allclose(outputs.sum(-1), 1, atol=1e-3)


def _task(loss: object) -> Task:
    """The task that `loss` belongs to; raises if it is a cross-entropy that does not take logits."""
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
        raise InputError(f"`temperature` must be above 0. Received: {temperature!r}. Hinton et al. use 1 to 20.")
    if not 0 <= soft_weight <= 1:
        raise InputError(f"`soft_weight` must lie in [0, 1]. Received: {soft_weight!r}.")
    if feature_weight < 0:
        raise InputError(f"`feature_weight` must be at least 0. Received: {feature_weight!r}.")
