"""What a student learns from in one step: the targets, the teacher's answers, the teacher's features.

    loss = (1 - soft_weight) * hard + soft_weight * temperature² * soft + feature_weight * features + regularization

Takes models; gives a `keras.Model` for `fit` that is thrown away when the student has learnt. Sample weights weigh all three,
and each is a mean over examples, so that devices and micro-batches share a step exactly (see `distribute.exact_step`).
Must not know where data comes from.
"""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from kerastrain.errors import InputError, unknown
from kerastrain.keras_internals import program as programs
from kerastrain.tasks import Task

Answers = dict[str, object]
"""{"outputs": float32 (b, n), "features": tuple of float32 (b, ...)}: a tuple, as tf.data stacks lists."""


class DistillationModel(keras.Model):
    """A student under instruction, with a projection for each feature that has another width than the teacher's.

    The targets of a training batch may be {"targets": ..., "taught": Answers}; the teacher is asked only where they are not.

    Args:
        student: keras.Model, trained in place.
        teach: callable from inputs to the teacher's Answers.
        layers: sequence of str, the student's layers whose outputs are compared with the teacher's features.
        widths: sequence of int, the last axis of each feature of the teacher.
        soft: keras.losses.Loss of (teacher's outputs, student's outputs).
        soft_weight: float in [0, 1].
        feature_weight: float >= 0.
    """

    def __init__(
        self,
        student: keras.Model,
        teach: Callable[[object], Answers],
        *,
        layers: Sequence[str],
        widths: Sequence[int],
        soft: keras.losses.Loss,
        soft_weight: float,
        feature_weight: float,
    ):
        super().__init__(name=f"{student.name}_lesson")
        self.student, self.projections = student, []
        self._answer, self._teach = forward_with_features(student, layers), teach
        self._soft, self._squared = soft, keras.losses.MeanSquaredError()
        self._soft_weight, self._feature_weight = soft_weight, feature_weight
        for shape, width in zip(shapes(student, layers), widths, strict=True):
            projection = keras.layers.Identity()
            if shape[-1] != width:
                projection = keras.layers.Dense(width, use_bias=False, dtype="float32")
            projection.build(shape)
            self.projections.append(projection)
        self.built = True

    def call(self, inputs, training=False):
        """The student's Answers to `inputs`, its features projected."""
        answers = self._answer(inputs, training=training)
        pairs = zip(self.projections, answers["features"], strict=True)
        return {"outputs": answers["outputs"], "features": tuple(project(feature) for project, feature in pairs)}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The loss of the lesson; in evaluation the student's own."""
        targets, taught = (y["targets"], y["taught"]) if isinstance(y, dict) and "taught" in y else (y, None)
        hard = super().compute_loss(x, targets, y_pred["outputs"], sample_weight, training)
        if not training:
            return hard
        taught = keras.tree.map_structure(tf.stop_gradient, taught or self._teach(x))
        soft = self._soft(taught["outputs"], y_pred["outputs"], sample_weight)
        # `hard` holds the regularization, which no weight is to take from; Keras gives each device its share of losses.
        regularization = sum(self.losses) / tf.distribute.get_strategy().num_replicas_in_sync
        loss = (1 - self._soft_weight) * hard + self._soft_weight * (soft + regularization)
        for wanted, given in zip(taught["features"], y_pred["features"], strict=True):
            loss += self._feature_weight * self._squared(_flat(wanted), _flat(given), sample_weight)
        return loss

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """The metrics of the student's outputs."""
        targets = y["targets"] if isinstance(y, dict) and "taught" in y else y
        return super().compute_metrics(x, targets, y_pred["outputs"], sample_weight)


class DistillationLoss(keras.losses.Loss):
    """How far a student's outputs are from its teacher's, the temperature squared included.

        single_label:  T² * sum over classes of p log(p / q),  p = softmax(teacher / T),  q = softmax(student / T)
        multi_label:   T² * mean over labels of the same with sigmoids for each label and its absence

    T² keeps the gradient's size where the temperature flattens it.

    Args:
        temperature: float > 0.
        task: "single_label" or "multi_label".

    Reference: Hinton et al. 2015, https://arxiv.org/abs/1503.02531, section 2.
    """

    def __init__(self, temperature: float, task: Task):
        super().__init__(name="soft")
        self.temperature, self.task = temperature, task

    def call(self, y_true, y_pred):
        """float32 (b,) of `y_true`, the teacher's logits float32 (b, n), and `y_pred`, the student's."""
        teacher, student = (tf.cast(logits, tf.float32) / self.temperature for logits in (y_true, y_pred))
        if self.task == "single_label":
            teacher, student = tf.nn.log_softmax(teacher), tf.nn.log_softmax(student)
            divergence = tf.reduce_sum(tf.exp(teacher) * (teacher - student), axis=-1)
        else:
            sides = [(tf.math.log_sigmoid(sign * teacher), tf.math.log_sigmoid(sign * student)) for sign in (1.0, -1.0)]
            divergence = tf.reduce_mean(sum(tf.exp(wanted) * (wanted - given) for wanted, given in sides), axis=-1)
        return self.temperature**2 * divergence


def forward_with_features(model, layers: Sequence[str] = ()) -> Callable[..., Answers]:
    """The function (inputs, training) -> Answers of `model`, with the outputs of its `layers` as features.

    Args:
        model: keras.Model, or a keras.Layer where no features are asked for.
        layers: sequence of str, names of layers at any depth.

    Raises:
        InputError: the model is not functional, or has no layer of such a name.
    """
    if not layers:
        return lambda inputs, training: {"outputs": model(inputs, training=training), "features": ()}
    program = programs.record(model)
    slots = _slots(program, layers)

    def answer(inputs, training):
        values = dict(zip((slot.number for slot in program.inputs), programs.flat_inputs(model, inputs), strict=True))
        programs.run(program.instructions, values, training=training)
        outputs = programs.packed_outputs(model, [values[slot.number] for slot in program.outputs])
        return {"outputs": outputs, "features": tuple(tf.cast(values[slot.number], tf.float32) for slot in slots)}

    return answer


def shapes(model, layers: Sequence[str]) -> list[tuple[int | None, ...]]:
    """The shape, batch included, of what each of `layers` gives; raises as `answering` does."""
    return [slot.shape for slot in _slots(programs.record(model), layers)] if layers else []


def _slots(program: programs.Program, layers: Sequence[str]) -> list[programs.Slot]:
    known = {call.operation.name: call.outputs[0] for call in program.instructions}
    for name in layers:
        if name not in known:
            raise InputError(unknown("layer", name, known))
    return [known[name] for name in layers]


def _flat(feature: tf.Tensor) -> tf.Tensor:
    shape = tf.shape(feature)  # A device may have no example of the last batch, and -1 then says nothing.
    return tf.reshape(feature, (shape[0], tf.reduce_prod(shape[1:])))
