"""The loss of distillation: the targets, the teacher's outputs and the teacher's features.

    loss = (1 - soft_weight) * hard + soft_weight * temperature² * soft + feature_weight * features + regularization

Takes models; returns a `keras.Model` for `fit`, which is dropped after the training. Sample weights apply to all three
terms, and each term is a mean over examples, so that devices and micro-batches split a step exactly (see
`train_step.exact_step`). Must not know where data comes from.
"""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from kerastrain.errors import InputError, unknown
from kerastrain.keras_internals import program as programs
from kerastrain.tasks import Task

OutputsAndFeatures = dict[str, object]
"""{"outputs": float32 (b, n), "features": tuple of float32 (b, ...)}. A tuple because tf.data stacks lists."""


class DistillationModel(keras.Model):
    """Trains a student, with a projection for each feature whose channels differ from the teacher's.

    The targets of a training batch may be {"targets": ..., "teacher_outputs": OutputsAndFeatures}. Otherwise the teacher
    runs in each step.

    Args:
        student: keras.Model, trained in place.
        teacher_forward: callable from inputs to the teacher's OutputsAndFeatures.
        feature_layers: sequence of str, the student's layers whose outputs are compared with the teacher's features.
        feature_channels: sequence of int, the last axis of each feature of the teacher.
        soft_loss: keras.losses.Loss of (teacher's outputs, student's outputs).
        soft_weight: float in [0, 1].
        feature_weight: float >= 0.
    """

    def __init__(
        self,
        student: keras.Model,
        teacher_forward: Callable[[object], OutputsAndFeatures],
        *,
        feature_layers: Sequence[str],
        feature_channels: Sequence[int],
        soft_loss: keras.losses.Loss,
        soft_weight: float,
        feature_weight: float,
    ):
        super().__init__(name=f"{student.name}_distillation")
        self.student, self.projections = student, []
        self._student_forward = forward_with_features(student, feature_layers)
        self._teacher_forward = teacher_forward
        self._soft_loss, self._feature_loss = soft_loss, keras.losses.MeanSquaredError()
        self._soft_weight, self._feature_weight = soft_weight, feature_weight
        for shape, channels in zip(_feature_shapes(student, feature_layers), feature_channels, strict=True):
            projection = keras.layers.Identity()
            if shape[-1] != channels:
                projection = keras.layers.Dense(channels, use_bias=False, dtype="float32")
            projection.build(shape)
            self.projections.append(projection)
        self.built = True

    def call(self, inputs, training=False):
        """The student's OutputsAndFeatures for `inputs`, with projected features."""
        result = self._student_forward(inputs, training=training)
        pairs = zip(self.projections, result["features"], strict=True)
        return {"outputs": result["outputs"], "features": tuple(project(feature) for project, feature in pairs)}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The distillation loss in training, the student's own loss in evaluation."""
        targets, teacher_outputs = y, None
        if _has_teacher_outputs(y):
            targets, teacher_outputs = y["targets"], y["teacher_outputs"]
        hard = super().compute_loss(x, targets, y_pred["outputs"], sample_weight, training)
        if not training:
            return hard
        teacher_outputs = keras.tree.map_structure(tf.stop_gradient, teacher_outputs or self._teacher_forward(x))
        soft = self._soft_loss(teacher_outputs["outputs"], y_pred["outputs"], sample_weight)
        # `hard` includes the regularization, which must not be scaled by `soft_weight`. Keras divides `self.losses` by the
        # number of replicas.
        regularization = sum(self.losses) / tf.distribute.get_strategy().num_replicas_in_sync
        loss = (1 - self._soft_weight) * hard + self._soft_weight * (soft + regularization)
        for teacher_feature, feature in zip(teacher_outputs["features"], y_pred["features"], strict=True):
            loss += self._feature_weight * self._feature_loss(_flat(teacher_feature), _flat(feature), sample_weight)
        return loss

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """The metrics of the student's outputs."""
        targets = y["targets"] if _has_teacher_outputs(y) else y
        return super().compute_metrics(x, targets, y_pred["outputs"], sample_weight)


def _has_teacher_outputs(targets: object) -> bool:
    return isinstance(targets, dict) and "teacher_outputs" in targets


class DistillationLoss(keras.losses.Loss):
    """Divergence of a student's outputs from its teacher's, multiplied by the squared temperature.

        single_label:  T² * sum over classes of p log(p / q),  p = softmax(teacher / T),  q = softmax(student / T)
        multi_label:   T² * mean over labels of the same with sigmoids for each label and its absence

    T² keeps the scale of the gradient independent of the temperature.

    Args:
        temperature: float > 0.
        task: "single_label" or "multi_label".

    Reference: Hinton et al. 2015, https://arxiv.org/abs/1503.02531, section 2.
    """

    def __init__(self, temperature: float, task: Task):
        super().__init__(name="distillation_loss")
        self.temperature, self.task = temperature, task

    def call(self, y_true, y_pred):
        """float32 (b,), from the teacher's logits `y_true` float32 (b, n) and the student's logits `y_pred` (b, n)."""
        teacher, student = (tf.cast(logits, tf.float32) / self.temperature for logits in (y_true, y_pred))
        if self.task == "single_label":
            teacher, student = tf.nn.log_softmax(teacher), tf.nn.log_softmax(student)
            divergence = tf.reduce_sum(tf.exp(teacher) * (teacher - student), axis=-1)
        else:
            sides = [(tf.math.log_sigmoid(sign * teacher), tf.math.log_sigmoid(sign * student)) for sign in (1.0, -1.0)]
            divergence = tf.reduce_mean(sum(tf.exp(log_p) * (log_p - log_q) for log_p, log_q in sides), axis=-1)
        return self.temperature**2 * divergence


def forward_with_features(model: keras.Layer, layers: Sequence[str] = ()) -> Callable[..., OutputsAndFeatures]:
    """Builds a function that calls a model and also returns the outputs of some of its layers.

    Args:
        model: keras.Model; or any keras.Layer, if `layers` is empty.
        layers: sequence of str, names of layers at any depth.

    Returns:
        Callable (inputs, training) -> OutputsAndFeatures, with the outputs of `layers` as features.

    Raises:
        InputError: the model is not functional, or has no layer of one of the names.
    """
    if not layers:
        return lambda inputs, training: {"outputs": model(inputs, training=training), "features": ()}
    program = programs.record(model)
    slots = _slots(program, layers)

    def forward(inputs, training):
        values = dict(zip((slot.number for slot in program.inputs), programs.flat_inputs(model, inputs), strict=True))
        programs.run(program.instructions, values, training=training)
        outputs = programs.packed_outputs(model, [values[slot.number] for slot in program.outputs])
        return {"outputs": outputs, "features": tuple(tf.cast(values[slot.number], tf.float32) for slot in slots)}

    return forward


def _feature_shapes(model: keras.Model, layers: Sequence[str]) -> list[tuple[int | None, ...]]:
    """The output shape of each of `layers`, batch axis included."""
    return [slot.shape for slot in _slots(programs.record(model), layers)] if layers else []


def _slots(program: programs.Program, layers: Sequence[str]) -> list[programs.Slot]:
    known = {call.operation.name: call.outputs[0] for call in program.instructions}
    for name in layers:
        if name not in known:
            raise InputError(unknown("layer", name, known))
    return [known[name] for name in layers]


def _flat(feature: tf.Tensor) -> tf.Tensor:
    shape = tf.shape(feature)
    # Not -1: a device may have no example of the last batch, and then -1 is ambiguous.
    return tf.reshape(feature, (shape[0], tf.reduce_prod(shape[1:])))
