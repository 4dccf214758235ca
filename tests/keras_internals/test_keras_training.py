import keras
import numpy as np
import tensorflow as tf

from kerastrain.keras_internals import training

X, Y = tf.constant([[1.0], [2.0], [3.0]]), tf.constant([[0.0], [1.0], [5.0]])


def compiled(loss="mse", **options):
    model = keras.Sequential(
        [
            keras.Input((1,)),
            keras.layers.Dense(1, kernel_initializer="ones", kernel_regularizer=keras.regularizers.L2(2.0)),
        ]
    )
    model.compile("adam", loss, **options)
    return model


def test_build_creates_the_variables_of_the_first_step():
    model = compiled(metrics=["mae"])
    training.build(model, (X, Y))
    assert model.optimizer.built
    assert len(model.metrics_variables) == 4  # Sum and count of the loss and of the metric.
    before = [variable.path for variable in (*model.variables, *model.optimizer.variables, *model.metrics_variables)]
    model.train_on_batch(X, Y)
    after = [variable.path for variable in (*model.variables, *model.optimizer.variables, *model.metrics_variables)]
    assert before == after


def test_the_loss_contains_the_regularization_and_is_tracked():
    model = compiled()
    loss = training.compute_loss(model, X, Y, model(X), None, training=True)
    np.testing.assert_allclose(float(loss), (1 + 1 + 4) / 3 + 2.0)
    training.track_loss(model, loss, 3)
    training.track_loss(model, tf.constant(0.0), 1)
    np.testing.assert_allclose(model.get_metrics_result()["loss"], float(loss) * 3 / 4)


def test_models_whose_call_takes_no_training_are_recognized():
    class WithoutTraining(keras.Model):
        def call(self, inputs):
            return inputs

    assert not training.takes_training(WithoutTraining())
    assert training.takes_training(compiled())


def test_the_reductions_of_the_compiled_losses_are_listed():
    model = compiled(keras.losses.MeanSquaredError(reduction="sum"))
    training.build(model, (X, Y))
    assert training.loss_reductions(model) == ["sum"]
    without = compiled(loss=None)
    assert training.loss_reductions(without) == ["sum_over_batch_size"]
