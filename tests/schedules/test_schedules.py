import keras
import numpy as np
import pictures
import pytest
import tensorflow as tf

from kerastrain import schedules
from kerastrain.errors import InputError
from kerastrain.schedules import curves

PEAK, STEPS, WARMUP = 0.4, 60, 10
T = np.arange(STEPS + 5)


def with_warmup(name, after):
    """The rates of the whole run from the formula of the curve, whose steps count from the end of the warm-up, or from the
    start of the run if its drops are points in time."""
    rise = PEAK * (T + 1) / (WARMUP + 1)
    begin = 0 if name in ("step", "piecewise") else WARMUP
    return np.where(T < WARMUP, rise, after(np.maximum(T - begin, 0), STEPS - begin))


def share(t, n):
    return np.minimum(t / n, 1.0)


FORMULAS = {
    "constant": ({}, lambda t, n: np.full(len(t), PEAK)),
    "linear": ({"end_fraction": 0.1}, lambda t, n: PEAK * (1 - 0.9 * share(t, n))),
    "polynomial": ({"power": 3.0}, lambda t, n: PEAK * (1 - share(t, n)) ** 3),
    "cosine": (
        {"end_fraction": 0.2},
        lambda t, n: PEAK * (0.2 + 0.8 * (1 + np.cos(np.pi * share(t, n))) / 2),
    ),
    "exponential": ({"end_fraction": 0.05}, lambda t, n: PEAK * np.exp(np.log(0.05) * share(t, n))),
    "step": (
        {"every_steps": 25, "drop_factor": 0.5},
        lambda t, n: PEAK * np.select([t < 25, t < 50], [1.0, 0.5], 0.25),
    ),
    "piecewise": (
        {"boundaries_steps": [15, 30], "fractions": [0.3, 0.6]},
        lambda t, n: PEAK * np.select([t < 15, t < 30], [1.0, 0.3], 0.6),
    ),
    "inverse_square_root": ({"timescale_steps": 12}, lambda t, n: PEAK * np.sqrt(12 / (12 + t))),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_each_step_has_the_rate_of_the_formula(name):
    arguments, formula = FORMULAS[name]
    schedule = schedules.make(name, PEAK, steps=STEPS, warmup_steps=WARMUP, **arguments)
    np.testing.assert_allclose(schedules.simulate(schedule, len(T)), with_warmup(name, formula), rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("name", FORMULAS)
def test_the_rates_without_tensorflow_are_those_of_the_training(name):
    arguments, formula = FORMULAS[name]
    rates = curves.rate(T, name, peak=PEAK, steps=STEPS, warmup_steps=WARMUP, arguments=arguments)
    assert isinstance(rates, np.ndarray)
    assert rates.dtype == np.float32
    np.testing.assert_allclose(rates, with_warmup(name, formula), rtol=2e-5, atol=1e-7)


def test_step_without_a_length_cuts_the_run_in_three():
    rates = schedules.simulate(schedules.make("step", 1.0, steps=10), 12)
    np.testing.assert_allclose(rates, [1.0] * 4 + [0.1] * 3 + [0.01] * 5, rtol=1e-6)


def test_lengths_are_epochs_steps_or_percent():
    def rates(name, **arguments):
        return schedules.simulate(schedules.make(name, 1.0, steps=200, **arguments), 200)

    for name, lengths, steps in (
        ("cosine", {"warmup": "5%"}, {"warmup_steps": 10}),
        ("step", {"every": "3 epochs"}, {"every_steps": 60}),
        ("piecewise", {"boundaries": ["10%", "50 steps", 90]}, {"boundaries_steps": [20, 50, 90]}),
        ("one_cycle", {"rise": "2 epochs"}, {"rise_steps": 40}),
        ("inverse_square_root", {"timescale": "1 epoch"}, {"timescale_steps": 20}),
    ):
        further = {"fractions": [0.5, 0.2, 0.1]} if name == "piecewise" else {}
        np.testing.assert_array_equal(
            rates(name, **lengths, **further, steps_per_epoch=20), rates(name, **steps, **further)
        )


def test_cosine_restarts_starts_each_cycle_at_its_peak():
    schedule = schedules.make("cosine_restarts", 1.0, steps=70, cycles=3, cycle_growth=2.0, peak_decay=0.5)
    expected = [
        0.5**cycle * (1 + np.cos(np.pi * t / length)) / 2
        for cycle, length in enumerate((10, 20, 40))
        for t in range(length)
    ]
    np.testing.assert_allclose(schedules.simulate(schedule, 70), expected, rtol=1e-5, atol=1e-7)
    assert schedules.simulate(schedule, 75)[70:].max() < 1e-7


def test_one_cycle_rises_to_the_peak_and_falls_below_its_start():
    schedule = schedules.make("one_cycle", 1.0, steps=100, rise_steps=30, start_fraction=0.04, end_fraction=0.001)
    t = np.arange(101)
    rise = 0.04 + 0.96 * (1 - np.cos(np.pi * t / 30)) / 2
    fall = 0.001 + 0.999 * (1 + np.cos(np.pi * (t - 30) / 70)) / 2
    np.testing.assert_allclose(schedules.simulate(schedule, 101), np.where(t < 30, rise, fall), rtol=1e-4, atol=1e-7)


def test_warmup_before_one_cycle_rises_to_where_the_cycle_begins():
    rates = schedules.simulate(schedules.make("one_cycle", 1.0, steps=44, warmup_steps=4, start_fraction=0.5), 44)
    np.testing.assert_allclose(rates[:5], [0.1, 0.2, 0.3, 0.4, 0.5], rtol=1e-6)
    assert rates.argmax() == 4 + 12


def test_inverse_square_root_is_the_transformer_rate_when_its_timescale_is_the_warmup():
    rates = schedules.simulate(schedules.make("inverse_square_root", 1.0, steps=200, warmup_steps=25), 200)
    np.testing.assert_allclose(rates[25:], np.sqrt(25 / np.arange(25, 200)), rtol=1e-5)


def test_warmup_never_has_the_rate_zero_and_meets_the_peak_at_its_end():
    rates = schedules.simulate(schedules.make("linear", 1.0, steps=8, warmup_steps=4), 8)
    np.testing.assert_allclose(rates, [0.2, 0.4, 0.6, 0.8, 1.0, 0.75, 0.5, 0.25], rtol=1e-6)


@keras.saving.register_keras_serializable("test")
def triangle(step, *, peak, steps, foot=0.0):
    half = steps / 2
    return peak * tf.maximum(1.0 - tf.abs(tf.cast(step, tf.float32) - half) / half, foot)


def test_a_function_of_ones_own_is_a_schedule():
    schedule = schedules.make(triangle, 2.0, steps=4, foot=0.25)
    np.testing.assert_allclose(schedules.simulate(schedule, 5), [0.5, 1.0, 2.0, 1.0, 0.5])


def test_simulate_takes_numbers_and_keras_schedules():
    assert schedules.simulate(0.5, 3).tolist() == [0.5, 0.5, 0.5]
    keras_schedule = keras.optimizers.schedules.CosineDecay(1.0, 10)
    np.testing.assert_allclose(
        schedules.simulate(keras_schedule, 10),
        schedules.simulate(schedules.make("cosine", 1.0, steps=10), 10),
        atol=1e-6,
    )


def test_simulate_gives_nothing_for_no_steps():
    assert schedules.simulate(schedules.make("linear", 1.0, steps=3), 0).shape == (0,)


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_plot_writes_a_picture(tmp_path, monkeypatch, suffix):
    rates = schedules.simulate(schedules.make("cosine", 1.0, steps=20), 20)
    phases = {"head": rates, "fine_tune": rates[:10] / 20}
    figures = pictures.saved_figures(monkeypatch)
    path = schedules.plot(phases, tmp_path / f"rate{suffix}", steps_per_epoch=5)
    cosine = (1 + np.cos(np.pi * np.arange(20) / 20)) / 2
    if suffix == ".png":
        assert pictures.pixels(path).shape == (525, 1500, 3)  # inches at 150 dots
        assert pictures.shows(path, "C0")
        axes = figures[0].axes
        assert [each.get_title() for each in axes] == ["head", "fine_tune"]
        for each, steps, expected in ((axes[0], range(21), cosine), (axes[1], range(20, 31), cosine[:10] / 20)):
            x, y = each.lines[0].get_data()
            np.testing.assert_array_equal(x, steps)
            np.testing.assert_allclose(y, [*expected, expected[-1]], atol=1e-6)
    else:
        assert {"head", "fine_tune", "optimizer step", "learning rate", "epoch"} <= pictures.texts(path)
        head, fine_tune = pictures.curves(path)
        for curve, expected in ((head, cosine), (fine_tune, cosine[:10] / 20)):
            # Each step is a level line, and a fall to the next.
            pictures.assert_proportional(curve[::2, 1], [*expected, expected[-1]])


def test_an_optimizer_uses_the_rate_of_its_step_also_after_loading(tmp_path):
    schedule = schedules.make("linear", 1.0, steps=10, warmup_steps=2)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(schedule), "mse")
    weights = []
    for step in range(6):
        if step == 3:
            model.save(tmp_path / "model.keras")
            model = keras.models.load_model(tmp_path / "model.keras")
        before = model.get_weights()[0].item()
        model.optimizer.apply([tf.ones((1, 1))], model.trainable_variables)
        weights.append(before - model.get_weights()[0].item())
    np.testing.assert_allclose(weights, [1 / 3, 2 / 3, 1.0, 0.875, 0.75, 0.625], rtol=1e-5)


def unregistered(step, *, peak, steps):
    return peak


@keras.saving.register_keras_serializable("test")
def vector(step, *, peak, steps):
    return tf.fill((3,), peak)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("cosin", 1.0), {"steps": 5}, "unknown schedule 'cosin'.*Did you mean 'cosine'"),
        (("cosine", 0.0), {"steps": 5}, "`learning_rate` must be above 0 and finite. Received: learning_rate=0.0"),
        (("cosine", float("nan")), {"steps": 5}, "`learning_rate` must be above 0"),
        (("cosine", 1.0), {"steps": 0}, "`steps` must be above 0"),
        (("cosine", 1.0), {"steps": 5, "warmup_steps": -1}, "`warmup_steps` must be at least 0"),
        (("cosine", 1.0), {"steps": 5, "warmup_steps": 5}, "`warmup_steps` must be shorter than the run.*5 steps"),
        (("cosine", 1.0), {"steps": 5, "end_fraction": 2}, r"`end_fraction` must lie in \[0, 1\]"),
        (("cosine", 1.0), {"steps": 5, "end_fracton": 0}, "argument of schedule 'cosine'.*Did you mean 'end_fraction'"),
        (("constant", 1.0), {"steps": 5, "power": 2}, "schedule 'constant' takes no further arguments"),
        (("exponential", 1.0), {"steps": 5, "end_fraction": 0.0}, "never reaches 0"),
        (("polynomial", 1.0), {"steps": 5, "power": 0}, "`power` must be above 0"),
        (("step", 1.0), {"steps": 5, "every_steps": 5}, "`every_steps` must be above 0 and shorter than the run of 5"),
        (("step", 1.0), {"steps": 5, "drop_factor": 1}, "`drop_factor` must lie between 0 and 1"),
        (("step", 1.0), {"steps": 9, "every": "1 epoch"}, "needs `steps_per_epoch`. Received: '1 epoch'"),
        (("step", 1.0), {"steps": 9, "every_steps": 2, "warmup": 3}, "the warm-up must end before the first drop"),
        (("piecewise", 1.0), {"steps": 5}, "needs `boundaries_steps` and `fractions`"),
        (("piecewise", 1.0), {"steps": 5, "boundaries_steps": [3, 2], "fractions": [1, 1]}, "must rise"),
        (("piecewise", 1.0), {"steps": 5, "boundaries_steps": [2], "fractions": [1, 1]}, "one number >= 0 for each"),
        (("cosine_restarts", 1.0), {"steps": 5, "cycles": 9}, "each cycle must last at least one step"),
        (("cosine_restarts", 1.0), {"steps": 5, "cycles": 0}, "`cycles` must be at least 1"),
        (("one_cycle", 1.0), {"steps": 5, "warmup_steps": 1, "start_fraction": 0}, "begins at 0 here"),
        (("one_cycle", 1.0), {"steps": 5, "rise_steps": 5}, "`rise_steps` must lie between 0 and the 5 steps"),
        (("inverse_square_root", 1.0), {"steps": 5, "timescale_steps": 0}, "`timescale_steps` must be above 0"),
        ((unregistered, 1.0), {"steps": 5}, "must be registered.*unregistered"),
        ((vector, 1.0), {"steps": 5}, "one rate for one step"),
    ],
)
def test_make_says_what_is_wrong(arguments, options, message):
    with pytest.raises(InputError, match=message):
        schedules.make(*arguments, **options)


def test_make_refuses_what_is_neither_a_name_nor_a_function():
    with pytest.raises(TypeError, match="the name of a schedule or a function. Received: float"):
        schedules.make(0.1, 1.0, steps=5)
