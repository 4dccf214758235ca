import random

import keras
import numpy as np
import pictures
import pytest
import tensorflow as tf

from kerastrain import data, finders, optimizers, schedules
from kerastrain.errors import InputError
from kerastrain.finders import memory_use
from kerastrain.train_step import keras_trainer


def line_model(**options):
    """One weight w at 0 whose loss on `lines` is (w - 1.5) ** 2 in even steps and (w - 2.5) ** 2 in odd ones."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(optimizer="sgd", loss="mse", **options)
    return model


def lines():
    return tf.data.Dataset.from_tensor_slices(([[[1.0]], [[1.0]]], [[[1.5]], [[2.5]]]))


def test_the_losses_are_those_of_gradient_descent_at_each_rate():
    with pytest.warns(UserWarning, match=r"the loss still falls at the highest rate. Received: highest=0.05"):
        test = finders.learning_rate(line_model(), lines().unbatch().batch(2), lowest=1e-3, highest=0.05, steps=50)
    weight, losses, rates = 0.0, [], []
    for step in range(50):
        rates.append(1e-3 * 50 ** (step / 49))
        losses.append((weight - 2) ** 2 + 0.25)
        weight -= rates[-1] * 2 * (weight - 2)
    np.testing.assert_allclose(test.learning_rates, rates, rtol=1e-6)
    np.testing.assert_allclose(test.losses, losses, rtol=1e-4, atol=1e-6)
    assert not test.diverged


def test_the_test_ends_where_gradient_descent_diverges_and_suggests_less():
    test = finders.learning_rate(line_model(), lines())
    assert test.diverged
    assert 1 < test.learning_rates[-1] < 10  # Gradient descent on this loss is stable below a rate of 1.
    lowest = test.learning_rates[test.smoothed_losses.argmin()]
    assert test.suggestion == pytest.approx(lowest / 10)
    assert 1e-3 < test.suggestion < 0.1
    assert test.steepest < lowest


def test_nothing_is_suggested_where_no_rate_teaches():
    noise = np.random.default_rng(0).normal(size=(400, 1)).astype("float32")
    batches = tf.data.Dataset.from_tensor_slices((np.zeros_like(noise), noise)).batch(4)
    test = finders.learning_rate(line_model(), batches)
    assert (test.suggestion, test.steepest) == (None, None)
    assert len(test.losses) == 200


def images_model(steps_per_execution=2):
    """A model with every kind of state: batch norm, random seeds, schedule, moving average, metrics."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.GaussianNoise(0.1),
            keras.layers.Dense(16, "relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.4),
            keras.layers.Dense(3),
        ]
    )
    rate = schedules.make("cosine", 1e-2, steps=40, warmup="10%")
    model.compile(
        optimizers.make("adamw", rate, ema_momentum=0.9, global_clip_norm=1.0),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=steps_per_execution,
    )
    return model


def examples():
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(48, 8)).astype("float32")
    return data.Examples(targets=generator.integers(0, 3, 48), labels=("a", "b", "c"), inputs=inputs)


def fit(model, epochs=1):
    batches = data.batches(examples(), 8, shuffle=True, epochs=epochs)
    return model.fit(batches, epochs=epochs, steps_per_epoch=6, shuffle=False, verbose=0).history


def find_rate(model):
    return finders.learning_rate(model, examples(), global_batch_size=8, steps=20)


def find_size(model):
    return finders.batch_size(model, examples(), largest=8, steps=1)


FINDERS = {"learning_rate": find_rate, "batch_size": find_size}


def variables(model):
    return [*model.variables, *model.metrics_variables, *model.optimizer.variables]


def assert_unchanged(values_before):
    for variable, value in values_before:
        np.testing.assert_array_equal(variable.numpy(), value, strict=True)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "epochs_before"), [("learning_rate", 0), ("learning_rate", 1), ("batch_size", 1)])
def test_the_model_comes_back_bit_by_bit(name, epochs_before):
    model, untouched = images_model(), images_model()
    for each in (model, untouched):
        if epochs_before:
            fit(each)

    def compiled_state():
        return model.optimizer, model.optimizer.built, model.train_function, model.steps_per_execution

    before, compiled = [(variable, variable.numpy()) for variable in variables(model)], compiled_state()
    generators = random.getstate(), str(np.random.get_state())
    FINDERS[name](model)
    assert_unchanged(before)
    assert compiled_state() == compiled
    assert (random.getstate(), str(np.random.get_state())) == generators
    # Further training equals that of a model on which no finder ran, dropout masks included.
    assert fit(model) == fit(untouched)
    for value, expected_value in zip(variables(model), variables(untouched), strict=True):
        np.testing.assert_array_equal(value.numpy(), expected_value.numpy())


@pytest.fixture
def keras_as_it_came():
    yield
    keras_trainer.unpatch()


@pytest.mark.slow
@pytest.mark.parametrize("name", FINDERS)
def test_the_model_comes_back_on_every_device(name, keras_as_it_came):
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.HierarchicalCopyAllReduce())
    with strategy.scope():
        model = images_model(steps_per_execution=1)
        model.optimizer.build(model.trainable_variables)
    parts = [part for each in variables(model) for part in strategy.experimental_local_results(each.value)]
    before = [(part, part.numpy()) for part in parts]
    result = FINDERS[name](model)
    assert_unchanged(before)
    if name == "batch_size":
        assert [trial.global_batch_size for trial in result.trials] == [2, 4, 8]


def test_the_model_comes_back_when_its_training_fails():
    model = images_model(steps_per_execution=1)
    before = [(variable, variable.numpy()) for variable in variables(model)]

    def failing(step, batch):
        with tf.control_dependencies([tf.debugging.assert_less(step, tf.constant(3, tf.int64))]):
            return tf.identity(batch[0]), batch[1]

    broken = data.batches(examples(), 8).enumerate().map(failing)
    with pytest.raises(tf.errors.InvalidArgumentError):
        finders.learning_rate(model, broken, steps=20)
    assert_unchanged(before)


def test_the_rate_of_an_optimizer_that_scales_the_loss_is_found():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0), initial_scale=4.0), "mse")
    assert 1e-3 < finders.learning_rate(model, lines()).suggestion < 0.1
    assert float(model.optimizer.learning_rate) == 1.0


@pytest.mark.slow
def test_every_batch_size_has_its_memory_and_the_largest_stays_below_the_limit():
    # The activations of one example and their gradients take 2 * 4 MB.
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2**20, "tanh"), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    memory_use.reset_peak()
    limit = memory_use.peak_bytes() + 600 * 2**20
    result = finders.batch_size(model, lines(), memory_limit_bytes=limit, steps=2)
    sizes = [trial.global_batch_size for trial in result.trials]
    assert sizes == [2**power for power in range(len(sizes))]
    assert 4 <= result.largest.global_batch_size <= 64
    assert (
        result.largest.peak_bytes <= limit < result.largest.peak_bytes + result.largest.global_batch_size * 32 * 2**20
    )
    assert f"{2 * result.largest.global_batch_size} " in result.stopped
    assert " MB of " in result.stopped
    assert result.fastest.examples_per_second == max(trial.examples_per_second for trial in result.trials)


class Hungry(keras.layers.Layer):
    """Allocates a terabyte for each example beyond `allowed`."""

    def __init__(self, allowed):
        super().__init__()
        self.allowed = allowed

    def call(self, inputs):
        """Returns the inputs."""
        rows = tf.maximum(tf.shape(inputs, out_type=tf.int64)[0] - self.allowed, 0)
        return inputs + tf.reduce_sum(tf.random.uniform([rows * 2**38]))


@pytest.mark.slow
def test_a_real_lack_of_memory_ends_the_trials():
    """Slow, because TensorFlow waits for ten seconds before it reports that memory is exhausted."""
    model = keras.Sequential([keras.Input((1,)), Hungry(4), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    result = finders.batch_size(model, lines())
    assert result.largest.global_batch_size == 4
    assert result.stopped == "8 does not fit into memory"


def test_a_model_that_does_not_fit_at_all_is_refused():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2**22, "tanh"), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    memory_use.reset_peak()
    with pytest.raises(InputError, match="not even a batch of 1 fits: 1 takes .* MB of .* Use a smaller model"):
        finders.batch_size(model, lines(), memory_limit_bytes=memory_use.peak_bytes() + 2**20, steps=1)


def test_long_steps_end_the_trials():
    result = finders.batch_size(line_model(), lines(), longest_step_seconds=1e-9)
    assert len(result.trials) == 2
    assert result.stopped.startswith("a step with 4 would take")


@pytest.mark.slow
def test_the_picture_of_a_range_test_shows_its_losses_and_the_suggestion(tmp_path, monkeypatch):
    figures = pictures.saved_figures(monkeypatch)
    test = finders.learning_rate(line_model(), lines())
    path = finders.plot_rates(test, tmp_path / "rates.png")
    assert pictures.pixels(path).shape == (600, 1050, 3)  # inches at 150 dots
    assert pictures.shows(path, "C0")
    assert pictures.shows(path, "tab:red")
    (axes,) = figures[0].axes
    assert (axes.get_xscale(), axes.get_xlabel(), axes.get_ylabel()) == ("log", "learning rate", "loss")
    assert len(test.losses) > 3
    losses, smoothed, suggestion, steepest = (line.get_xydata() for line in axes.lines)
    np.testing.assert_array_equal(losses, np.stack([test.learning_rates, test.losses], axis=1))
    np.testing.assert_array_equal(smoothed, np.stack([test.learning_rates, test.smoothed_losses], axis=1))
    assert (suggestion[0, 0], steepest[0, 0]) == (test.suggestion, test.steepest)


@pytest.mark.slow
def test_the_picture_of_batch_sizes_shows_speed_and_memory(tmp_path):
    speeds, peaks = (100, 190, 350, 300), (1e9, 1.1e9, 1.3e9, 1.7e9)
    rows = zip((1, 2, 4, 8), speeds, peaks, strict=True)
    trials = tuple(finders.BatchTrial(size, size / speed, round(peak)) for size, speed, peak in rows)
    path = finders.plot_batch_sizes(finders.BatchSizes(trials, None, "it stopped"), tmp_path / "sizes.svg")
    assert {"examples per second", "peak memory in MB", "global batch size", "fastest"} <= pictures.texts(path)
    for curve, values in zip(pictures.curves(path), (speeds, peaks), strict=True):
        pictures.assert_proportional(curve[:, 0], [0, 1, 2, 3])  # powers of two
        pictures.assert_proportional(curve[:, 1], values)


def nothing():
    return lines().take(0)


def not_a_number():
    return lines().map(lambda x, y: (x, y * float("nan")))


@pytest.mark.parametrize(
    ("batches", "options", "message"),
    [
        (lines, {"lowest": 0.0}, "`lowest` must be above 0 and `highest` above `lowest`. Received: lowest=0.0"),
        (lines, {"lowest": 1.0, "highest": 1.0}, "`highest` above `lowest`. Received: lowest=1.0, highest=1.0"),
        (lines, {"steps": 19}, "`steps` must be a whole number of at least 20. Received: steps=19"),
        (lines, {"divergence": 1}, "`divergence` must be above 1"),
        (nothing, {}, "`dataset` must contain at least one batch"),
        (not_a_number, {}, "the loss must be finite at the lowest rates. Received: nan"),
    ],
)
def test_learning_rate_says_what_is_wrong(batches, options, message):
    with pytest.raises(InputError, match=message):
        finders.learning_rate(line_model(), batches(), **options)


@pytest.mark.parametrize(
    ("batches", "options", "message"),
    [
        (lines, {"smallest": 0}, "`smallest` must be at least 1, the number of devices"),
        (lines, {"smallest": 8, "largest": 4}, "`largest` at least `smallest`. Received: smallest=8, largest=4"),
        (lines, {"steps": 0}, "`steps` must be above 0"),
        (lines, {"longest_step_seconds": 0}, "`longest_step_seconds` must be above 0"),
        (lines, {"memory_limit_bytes": 10_000}, "must be above the memory already in use, .* Received: 10,000"),
        (nothing, {}, "`dataset` must contain at least one batch"),
    ],
)
def test_batch_size_says_what_is_wrong(batches, options, message):
    with pytest.raises(InputError, match=message):
        finders.batch_size(line_model(), batches(), **options)


@pytest.mark.parametrize("find", [finders.learning_rate, finders.batch_size])
def test_a_model_that_cannot_train_is_refused(find):
    with pytest.raises(InputError, match="`model` must be compiled"):
        find(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]), lines())
    unbuilt = keras.Sequential([keras.layers.Dense(1)])
    unbuilt.compile("sgd", "mse")
    with pytest.raises(InputError, match="`model` must be built"):
        find(unbuilt, lines())


def test_a_model_of_one_batch_size_is_refused():
    model = keras.Sequential([keras.Input((1,), batch_size=2), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(
        InputError, match="must accept batches of any size. Received: a model with a fixed batch size of 2"
    ):
        finders.batch_size(model, lines())
