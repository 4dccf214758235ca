import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import optimizers, schedules
from kerastrain.errors import InputError


def variables():
    """A kernel, a bias and a norm's scale, all ones, with the paths that Keras layers give them."""
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
    with pytest.warns(UserWarning, match="`layer_rates` has a factor for 'dnese', which is in the path of no"):
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
        for got, wanted in zip(moved(**clip), expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-6)


def test_fit_ends_with_the_moving_average():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(optimizers.make("sgd", 0.1, ema_momentum=0.5), "mse")
    data = tf.data.Dataset.from_tensors((tf.ones((1, 1)), tf.ones((1, 1)))).repeat(3)
    model.fit(data, epochs=1, shuffle=False, verbose=0)
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
