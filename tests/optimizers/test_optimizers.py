import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import optimizers, schedules
from kerastrain.callbacks import AverageWeights
from kerastrain.errors import InputError


def variables():
    """A kernel, a bias and a norm's scale, all ones, with the paths of variables in Keras layers."""
    dense = keras.layers.Dense(2, name="dense", kernel_initializer="ones", bias_initializer="ones")
    norm = keras.layers.LayerNormalization(name="norm")
    dense.build((None, 3))
    norm.build((None, 2))
    return [dense.kernel, dense.bias, norm.gamma]


def step(optimizer, trained, gradient=0.0):
    optimizer.apply([tf.fill(variable.shape, gradient) for variable in trained], trained)
    return [float(variable.numpy().flat[0]) for variable in trained]


def test_weight_decay_leaves_out_norms_and_biases():
    optimizer = optimizers.make("sgd", 0.5, weight_decay=0.1)
    assert step(optimizer, variables()) == pytest.approx([1 - 0.5 * 0.1, 1.0, 1.0])


def test_weight_decay_takes_norms_and_biases_when_told():
    optimizer = optimizers.make("sgd", 0.5, weight_decay=0.1, decay_norms_and_biases=True)
    assert step(optimizer, variables()) == pytest.approx([0.95, 0.95, 0.95])


def test_biases_of_several_dimensions_do_not_decay():
    attention = keras.layers.MultiHeadAttention(2, 3)
    attention.build((None, 4, 6), (None, 4, 6))
    trained = attention.trainable_variables
    for variable in trained:
        variable.assign(tf.ones(variable.shape))
    after = step(optimizers.make("sgd", 0.5, weight_decay=0.1), trained)
    assert {variable.name for variable, value in zip(trained, after, strict=True) if value == 1.0} == {"bias"}


def test_weight_decay_survives_saving_with_what_it_leaves_out(tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(optimizers.make("sgd", 0.5, weight_decay=0.1), "mse")
    model.bias = model.layers[0].bias.assign([1.0])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert step(again.optimizer, again.trainable_variables) == pytest.approx([0.95, 1.0])


def test_layer_rates_scale_the_step_and_the_decay_of_their_layers():
    optimizer = optimizers.make("sgd", 0.5, weight_decay=0.1, layer_rates={"^dense/kernel": 0.2, "dense": 0.0})
    after = step(optimizer, variables(), gradient=1.0)
    decayed = 1 - 0.5 * 0.2 * 0.1
    assert after == pytest.approx([decayed - 0.5 * 0.2, 1.0, 1 - 0.5])


def test_layer_rates_warn_of_a_pattern_that_finds_nothing():
    with pytest.warns(UserWarning, match="`layer_rates` has a factor for 'dnese', which matches the path of no"):
        step(optimizers.make("sgd", 0.5, layer_rates={"dnese": 0.1}), variables())


def test_muon_decays_what_it_steps_and_what_adamw_steps_by_their_own_rates():
    trained = variables()
    optimizer = optimizers.make("muon", 0.5, weight_decay=0.1, adam_weight_decay=0.2, decay_norms_and_biases=True)
    assert step(optimizer, trained)[1:] == pytest.approx([0.9, 0.9])
    assert step(optimizers.make("muon", 0.5, weight_decay=0.1), variables())[0] == pytest.approx(0.95)


def test_rate_factor_scales_any_schedule():
    optimizer = optimizers.make("sgd", schedules.make("linear", 1.0, steps=4))
    optimizer.rate_factor.assign(0.5)
    trained = [keras.Variable(0.0)]
    positions = [step(optimizer, trained, gradient=-1.0)[0] for _ in range(4)]
    np.testing.assert_allclose(np.diff([0.0, *positions]), [0.5, 0.375, 0.25, 0.125], rtol=1e-6)


def test_learning_rate_can_be_set_when_it_is_a_number():
    optimizer = optimizers.make("sgd", 0.5)
    optimizer.learning_rate = 0.25
    assert float(optimizer.learning_rate) == 0.25
    assert optimizer.get_config()["learning_rate"] == 0.25


def test_clipping_means_what_its_name_says():
    def moved(**clip):
        trained = [keras.Variable(np.zeros(2)), keras.Variable(0.0)]
        gradients = [tf.constant([3.0, 4.0]), tf.constant(12.0)]
        optimizers.make("sgd", 1.0, **clip).apply(gradients, trained)
        return [-variable.numpy() for variable in trained]

    for clip, expected in (
        ({"clip_norm": 1.0}, ([0.6, 0.8], 1.0)),
        ({"global_clip_norm": 1.3}, ([0.3, 0.4], 1.2)),
        ({"clip_value": 3.5}, ([3.0, 3.5], 3.5)),
    ):
        for actual, desired in zip(moved(**clip), expected, strict=True):
            np.testing.assert_allclose(actual, desired, rtol=1e-6)


def schedule_free(rates, gradient, *, decay, beta_1=0.9, beta_2=0.999, epsilon=1e-8):
    """Algorithm 1 of https://arxiv.org/abs/2405.15682 from x = 1: the points of the gradient after each step, and x."""
    x = y = z = 1.0
    points, velocity, squares = [], 0.0, 0.0
    for step, rate in enumerate(rates, start=1):
        slope = gradient(step, y)
        velocity = beta_2 * velocity + (1 - beta_2) * slope**2
        z -= rate * (slope / (np.sqrt(velocity / (1 - beta_2**step)) + epsilon) + decay * y)
        squares += rate**2
        x += (z - x) * rate**2 / squares
        y = (1 - beta_1) * z + beta_1 * x
        points.append(y)
    return points, x


def test_schedule_free_adamw_is_the_algorithm_of_its_paper():
    rate = schedules.make("constant", 0.03, steps=8, warmup_steps=3)
    optimizer = optimizers.make("schedule_free_adamw", rate, weight_decay=0.5, layer_rates={"scaled": 0.1})
    kernels = [keras.Variable([[1.0]], name=name) for name in ("kernel", "scaled")]
    points = []
    for step in range(1, 7):
        optimizer.apply([step + kernel.value for kernel in kernels], kernels)
        points.append([kernel.numpy().item() for kernel in kernels])
    rates = 0.03 * np.minimum(np.arange(1, 7) / 4, 1)
    expected = [schedule_free(rates * scale, lambda step, y: step + y, decay=0.5) for scale in (1, 0.1)]
    np.testing.assert_allclose(np.transpose(points), [points for points, _ in expected], rtol=2e-6)
    optimizer.finalize_variable_values(kernels)
    np.testing.assert_allclose([kernel.numpy().item() for kernel in kernels], [x for _, x in expected], rtol=2e-6)


def test_schedule_free_adamw_goes_on_from_its_own_sequences():
    optimizer, kernel = optimizers.make("schedule_free_adamw", 0.1), keras.Variable([[1.0]])
    for step in range(1, 7):
        optimizer.apply([tf.sin([[float(step)]])], [kernel])
        if step == 3:  # as between two calls of `fit`
            optimizer.finalize_variable_values([kernel])
    points, _ = schedule_free([0.1] * 6, lambda step, y: np.sin(step), decay=0)
    assert kernel.numpy().item() == pytest.approx(points[-1], rel=2e-6)


def test_schedule_free_adamw_ends_within_the_constraint_of_a_weight():
    kernel = keras.Variable([[1.0]])
    kernel.constraint = keras.constraints.MaxNorm(0.5)
    optimizer = optimizers.make("schedule_free_adamw", 0.1)
    optimizer.build([kernel])
    optimizer.finalize_variable_values([kernel])
    assert kernel.numpy().item() == pytest.approx(0.5)


def one_weight(optimizer):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])
    model.compile(optimizer, "mse")
    return model


@pytest.mark.skipif(not hasattr(keras.optimizers, "ScheduleFreeAdamW"), reason="Keras has it since 3.14")
def test_schedule_free_adamw_of_keras_still_throws_the_weights_away():
    """When this fails, Keras copies the weights in `fit` too: check whether `schedule_free` is still needed."""
    model = one_weight(keras.optimizers.ScheduleFreeAdamW(1e-3))
    model.fit(np.ones((1, 1)), np.zeros((1, 1)), verbose=0)
    assert model.get_weights()[0].item() == pytest.approx(-1e-3)


def test_schedule_free_adamw_validates_and_ends_with_its_average():
    model = one_weight(optimizers.make("schedule_free_adamw", 0.1))
    seen = []
    dataset = tf.data.Dataset.from_tensors((tf.ones((1, 1)), tf.zeros((1, 1))))
    record = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs["val_loss"]))
    model.fit(
        dataset.repeat(3),
        epochs=1,
        shuffle=False,
        verbose=0,
        validation_data=dataset,
        callbacks=[AverageWeights(), record],
    )
    _, average = schedule_free([0.1] * 3, lambda step, y: 2 * y, decay=0)
    assert model.get_weights()[0].item() == pytest.approx(average, rel=1e-5)
    assert seen == [pytest.approx(average**2, rel=1e-5)]


def test_schedule_free_adamw_leaves_a_weight_of_rate_0_as_it_is():
    optimizer = optimizers.make("schedule_free_adamw", 0.1, layer_rates={"dense": 0.0})
    assert step(optimizer, variables(), gradient=1.0)[:2] == [1.0, 1.0]


def test_fit_ends_with_the_moving_average():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(optimizers.make("sgd", 0.1, ema_momentum=0.5), "mse")
    dataset = tf.data.Dataset.from_tensors((tf.ones((1, 1)), tf.ones((1, 1)))).repeat(3)
    model.fit(dataset, epochs=1, shuffle=False, verbose=0)
    weight, average = 0.0, None
    for _ in range(3):
        weight += 0.1 * 2 * (1 - weight)
        average = weight if average is None else 0.5 * average + 0.5 * weight
    assert model.get_weights()[0].item() == pytest.approx(average, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("adamx", {}, "unknown optimizer 'adamx'.*Did you mean"),
        ("adam", {"beta1": 0.8}, "argument of optimizer 'adam': 'beta1'.*Did you mean 'beta_1'"),
        ("adam", {"clipnorm": 1.0}, "'clipnorm'.*Did you mean 'clip_norm'"),
        ("adam", {"momentum": 0.9}, "argument of optimizer 'adam': 'momentum'"),
        ("sgd", {"momentum": 1.0}, r"`momentum` must lie in \[0, 1\)"),
        ("adam", {"beta_1": "0.9"}, r"`beta_1` must lie in \[0, 1\). Received: beta_1='0.9'"),
        ("sgd", {"nesterov": 1}, "`nesterov` must be true or false. Received: nesterov=1"),
        ("muon", {"ns_steps": 2.5}, "`ns_steps` must be a whole number above 0"),
        ("muon", {"exclude_layers": "head"}, "`exclude_layers` must be a list of words"),
        ("sgd", {"weight_decay": -1.0}, "`weight_decay` must be at least 0"),
        ("sgd", {"clip_norm": 0.0}, "`clip_norm` must be above 0. Received: clip_norm=0.0"),
        ("sgd", {"clip_norm": 1.0, "clip_value": 1.0}, "only one of .* Received: clip_norm=1.0, clip_value=1.0"),
        ("sgd", {"ema_momentum": 1.0}, "`ema_momentum` must lie between 0 and 1"),
        ("sgd", {"layer_rates": {"a": -1.0}}, "a factor in `layer_rates` must be at least 0"),
        ("sgd", {"layer_rates": {"(": 1.0}}, "must have regular expressions as keys"),
    ],
)
def test_make_says_what_is_wrong(name, options, message):
    with pytest.raises(InputError, match=message):
        optimizers.make(name, 0.1, **options)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("inf")])
def test_make_refuses_a_rate_that_cannot_train(rate):
    with pytest.raises(InputError, match="`learning_rate` must be above 0 and finite"):
        optimizers.make("sgd", rate)


@pytest.mark.parametrize("rate", ["0.1", None, lambda: 0.1])
def test_make_refuses_a_rate_of_another_type(rate):
    with pytest.raises(TypeError, match="`learning_rate` must be a float or a LearningRateSchedule"):
        optimizers.make("sgd", rate)


def test_every_optimizer_is_a_public_class_of_the_package():
    classes = {kind.__name__: kind for kind in optimizers.OPTIMIZERS.values()}
    assert {name: getattr(optimizers, name) for name in optimizers.__all__ if name in classes} == classes
