"""The search for NaN and infinity in real models, at every kind of place, and the training that meets them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import callbacks, checkpoints, optimizers
from kerastrain.callbacks import nonfinite_search
from kerastrain.callbacks.nonfinite_search import Finding, NonFiniteError
from kerastrain.errors import InputError

STEPS = 4


def network(middle=None, loss="mse", optimizer=None):
    inputs = keras.Input((3,))
    body = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, name="first"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dropout(0.5),
        ],
        name="body",
    )
    values = body(inputs)
    values = values if middle is None else middle(values)
    model = keras.Model(inputs, keras.layers.Dense(2, name="last")(values))
    model.compile(optimizer or optimizers.make("sgd", 0.01), loss)
    model.optimizer.build(model.trainable_variables)
    return model


def batch(count=6):
    random = np.random.default_rng(0)
    return random.normal(size=(count, 3)).astype("float32"), random.normal(size=(count, 2)).astype("float32")


def test_a_sound_step_has_no_finding_and_leaves_the_model_as_it_was():
    model = network()
    before = [variable.numpy() for variable in model.variables]
    assert nonfinite_search.find(model, *batch()) is None
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    assert not [layer.name for layer in model.layers if "call" in vars(layer)]


def test_a_bad_input_or_target_is_told_with_its_example():
    x, y = batch()
    x[4, 1] = np.nan
    assert nonfinite_search.find(network(), x, y) == Finding("inputs", None, (4,))
    x, y = batch()
    y[0, 0] = np.inf
    finding = nonfinite_search.find(network(), x, y)
    assert finding == Finding("targets", None, (0,))
    assert str(finding) == "the targets of the batch contain NaN or infinity"


def test_a_bad_weight_is_told_by_its_path():
    model = network()
    model.get_layer("last").kernel.assign(np.full((4, 2), np.nan))
    finding = nonfinite_search.find(model, *batch())
    assert finding == Finding("weights", "last/kernel")
    assert "the update of the previous step made the weight 'last/kernel' NaN or infinite" in str(finding)


class Inverse(keras.layers.Layer):
    """1 / x, whose output is infinite at 0."""

    def call(self, inputs):
        return 1.0 / inputs


def test_the_first_layer_whose_output_is_bad_is_told_with_its_examples():
    x, y = batch()
    model = network(lambda values: Inverse(name="inverse")(keras.layers.ReLU()(values)))
    model.get_layer("body").layers[0].kernel.assign(np.eye(3, 4))
    finding = nonfinite_search.find(model, x, y)
    assert (finding.place, finding.layer) == ("outputs", "inverse")


def test_a_layer_inside_a_nested_model_is_told():
    model = network()
    norm = model.get_layer("body").layers[1]
    norm.epsilon = -1e9  # takes the root of a negative number
    assert nonfinite_search.find(model, *batch()).layer.endswith("norm")


def test_a_function_between_layers_is_told():
    finding = nonfinite_search.find(network(lambda values: keras.ops.log(values * 0.0)), *batch())
    assert finding == Finding("outputs", "log")


def test_one_example_that_overflows_is_told():
    x, y = batch()
    x[2] = 3e38
    model = network()
    model.get_layer("body").layers[0].kernel.assign(np.full((3, 4), 10.0))
    finding = nonfinite_search.find(model, x, y)
    assert finding.layer.endswith("first")
    assert finding.examples == (2,)


def test_a_bad_gradient_of_a_finite_loss_is_told():
    finding = nonfinite_search.find(network(lambda values: keras.ops.sqrt(keras.ops.abs(values) * 0.0)), *batch())
    assert finding == Finding("gradients", "sqrt")
    assert "the loss is finite, but the gradient is not: it first appears in the gradient of the layer 'sqrt'" in str(
        finding
    )


def test_a_loss_that_is_bad_by_itself_is_told():
    model = network(loss=lambda y, y_pred: tf.math.log(tf.reduce_sum(y_pred, axis=-1) * 0.0))
    assert nonfinite_search.find(model, *batch()) == Finding("loss")


# In a training.


def data(bad_step=None, start_step=0):
    x, y = (np.tile(part, (3 * STEPS, 1, 1)) for part in batch())
    if bad_step is not None:
        y[bad_step, 3] = 1e38
    return tf.data.Dataset.from_tensor_slices((x, y)).skip(start_step)


def fit(model, folder, watch, bad_step=None):
    saving = callbacks.Checkpoints(folder, every="3 steps")
    model.fit(
        data(bad_step, saving.start.step),
        epochs=3,
        initial_epoch=saving.start.epoch,
        steps_per_epoch=STEPS,
        shuffle=False,
        verbose=0,
        callbacks=saving.before([watch]),
    )


def test_a_training_stops_at_the_step_and_a_second_pass_finds_the_place(tmp_path):
    model = network()
    with pytest.raises(NonFiniteError, match=r"the loss is inf at step 5\.") as first:
        fit(model, tmp_path, callbacks.TerminateOnNonFinite(), bad_step=5)
    assert (first.value.step, first.value.finding) == (5, None)
    watch = callbacks.TerminateOnNonFinite(
        suspect_step=first.value.step, batch_at=lambda step: next(iter(data(5, step)))
    )
    with pytest.raises(NonFiniteError, match="NaN or infinity at step 5: the model's outputs are finite") as second:
        fit(model, tmp_path, watch, bad_step=5)
    assert second.value.finding.place == "loss"


def test_a_bad_gradient_is_traced_to_the_step_before_the_one_whose_loss_shows_it(tmp_path):
    def rooted(values):
        return keras.ops.sqrt(keras.ops.relu(values - 1e6))

    model = network(rooted)
    with pytest.raises(NonFiniteError) as first:
        fit(model, tmp_path, callbacks.TerminateOnNonFinite())
    assert first.value.step == 1
    watch = callbacks.TerminateOnNonFinite(suspect_step=1, batch_at=lambda step: next(iter(data(None, step))))
    with pytest.raises(NonFiniteError, match="at step 0: the loss is finite, but the gradient is not") as second:
        fit(model, tmp_path, watch)
    assert second.value.finding == Finding("gradients", "sqrt")


def test_a_weight_that_the_last_step_spoils_is_found_at_the_end_of_the_epoch():
    model = network()

    def spoil(batch, logs):
        if batch == STEPS - 1:
            model.get_layer("last").kernel.assign(np.full((4, 2), np.inf))

    spoiler = keras.callbacks.LambdaCallback(on_train_batch_end=spoil)
    with pytest.raises(NonFiniteError, match="the weight 'last/kernel' is not finite after step 3"):
        model.fit(
            data(),
            steps_per_epoch=STEPS,
            shuffle=False,
            verbose=0,
            callbacks=[spoiler, callbacks.TerminateOnNonFinite()],
        )


def test_a_state_with_bad_weights_is_not_saved(tmp_path):
    model = network()

    def spoil(batch, logs):
        if batch == 4:
            model.get_layer("last").kernel.assign(np.full((4, 2), np.nan))

    saving = callbacks.Checkpoints(tmp_path, every="2 steps")
    used = saving.before([keras.callbacks.LambdaCallback(on_train_batch_end=spoil)])
    with pytest.raises(NonFiniteError, match="the weight '.*/kernel' is not finite before step 6") as caught:
        model.fit(data(), steps_per_epoch=12, shuffle=False, verbose=0, callbacks=used)
    assert caught.value.step == 5
    assert callbacks.Checkpoints(tmp_path).start.step == 4


# Back to the last good state.


def test_a_roll_back_goes_on_from_the_last_state_at_a_lower_rate(tmp_path):
    model = network()
    with pytest.raises(NonFiniteError):
        fit(model, tmp_path, callbacks.TerminateOnNonFinite(), bad_step=5)
    good = checkpoints.latest(tmp_path).read()
    stored = checkpoints.roll_back(tmp_path, rate_factor=0.25)
    assert stored.outline["roll_backs"] == 1
    assert stored.outline["position"] == good["position"]
    fit(model, tmp_path, callbacks.TerminateOnNonFinite())
    assert float(model.optimizer.rate_factor) == 0.25
    assert checkpoints.latest(tmp_path).outline["roll_backs"] == 1
    assert checkpoints.roll_back(tmp_path, rate_factor=0.5).outline["roll_backs"] == 2


def test_a_roll_back_says_what_is_wrong(tmp_path):
    with pytest.raises(InputError, match="there is no complete checkpoint in"):
        checkpoints.roll_back(tmp_path, rate_factor=0.5)
    with pytest.raises(InputError, match="`rate_factor` must lie between 0 and 1. Received: 1"):
        checkpoints.roll_back(tmp_path, rate_factor=1)
    fit(network(optimizer=keras.optimizers.SGD(0.01)), tmp_path, callbacks.TerminateOnNonFinite())
    with pytest.raises(
        InputError, match="needs an optimizer made by `kerastrain.optimizers.make`. Received: (sgd|SGD)"
    ):
        checkpoints.roll_back(tmp_path, rate_factor=0.5)
