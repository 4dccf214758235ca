"""Every optimizer equals Keras's, survives `.keras` files, takes bfloat16, works on two replicas and in a second `fit`."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import optimizers, schedules
from kerastrain.optimizers import arguments, registry

WRAPPERS = {"Optimizer", "LossScaleOptimizer", "MultiOptimizer"}
OPTIONS = {"weight_decay": 0.1, "layer_rates": {"kernel": 0.5}}


def variables():
    generator = np.random.default_rng(0)
    return [
        keras.Variable(generator.normal(size=shape), dtype="float32", name=name)
        for name, shape in (("kernel", (4, 3)), ("bias", 3))
    ]


def gradients(step, trained, weight=1.0):
    return [weight * tf.cos(tf.cast(step, variable.dtype) + variable.value) for variable in trained]


def make(name, **options):
    return optimizers.make(name, schedules.make("cosine", 0.05, steps=8, warmup_steps=2), **(options or OPTIONS))


def trained_weights(optimizer, trained):
    optimizer.build(trained)
    for number in range(3):
        optimizer.apply(gradients(number, trained), trained)
    return [variable.numpy() for variable in trained]


def assert_close(left, right, tolerance):
    for actual, expected in zip(left, right, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


def test_every_keras_optimizer_has_its_name():
    classes = [value for value in vars(keras.optimizers).values() if isinstance(value, type)]
    names = {value.__name__ for value in classes if issubclass(value, keras.optimizers.Optimizer)} - WRAPPERS
    # Keras has ScheduleFreeAdamW since 3.14.
    assert names | {"ScheduleFreeAdamW"} == {value.__name__ for value in optimizers.OPTIMIZERS.values()}


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_every_argument_of_keras_has_its_name(name):
    common = {"learning_rate", "weight_decay", "use_ema", "ema_momentum", "name", "kwargs", "options"}
    common |= {*registry.KERAS_ARGUMENTS, *registry.KERAS_CLIPPING.values()}
    keras_class = optimizers.OPTIMIZERS[name].__bases__[-1]
    assert set(inspect.signature(keras_class).parameters) - common <= set(arguments.ARGUMENTS[name])


@pytest.mark.skipif(not hasattr(keras.optimizers, "ScheduleFreeAdamW"), reason="Keras has it since 3.14")
def test_schedule_free_adamw_of_keras_still_leaves_its_paper():
    """When this fails, Keras reads the momentum before changing it: check whether `schedule_free` is still needed."""
    variable = keras.Variable(0.0)
    optimizer = keras.optimizers.ScheduleFreeAdamW(0.1, beta_1=0.9, beta_2=0.999, epsilon=1e-8)
    x = y = z = velocity = 0.0
    for t in range(1, 4):
        optimizer.apply([t + variable.value], [variable])
        gradient = t + y
        velocity = 0.999 * velocity + 0.001 * gradient**2
        z -= 0.1 * gradient / (np.sqrt(velocity / (1 - 0.999**t)) + 1e-8)
        x = (1 - 1 / t) * x + z / t
        y = 0.1 * z + 0.9 * x
    assert abs(float(variable) - y) > 1e-2


@pytest.mark.parametrize("name", sorted(set(optimizers.OPTIMIZERS) - {"schedule_free_adamw"}))
def test_optimizer_equals_that_of_keras(name):
    keras_class = getattr(keras.optimizers, optimizers.OPTIMIZERS[name].__name__)
    rate = schedules.make("cosine", 0.05, steps=8, warmup_steps=2)
    expected = trained_weights(keras_class(rate, weight_decay=0.1, clipnorm=0.5), variables())
    ours = make(name, weight_decay=0.1, clip_norm=0.5, decay_norms_and_biases=True)
    assert_close(trained_weights(ours, variables()), expected, 0)


# Keras's Nadam returns NaN for bfloat16 variables, and its Muon fails. Under mixed_bfloat16 all variables are float32.
@pytest.mark.parametrize("name", sorted(set(optimizers.OPTIMIZERS) - {"nadam", "muon"}))
def test_optimizer_steps_bfloat16_variables(name):
    trained = [keras.Variable(variable, dtype="bfloat16", name=variable.name) for variable in variables()]
    assert all(np.isfinite(weight.astype("float32")).all() for weight in trained_weights(make(name), trained))


@pytest.mark.slow
@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_optimizer_comes_back_from_a_saved_model_with_its_state(name, tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile(make(name, **OPTIONS, global_clip_norm=1.0, ema_momentum=0.9), "mse")
    trained_weights(model.optimizer, model.trainable_variables)
    model.optimizer.rate_factor.assign(0.5)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again.optimizer) is type(model.optimizer)
    assert again.optimizer.get_config() == model.optimizer.get_config()
    # The same further steps from the loaded state lead to the same weights: no state is missing.
    further = trained_weights(model.optimizer, model.trainable_variables)
    assert_close(trained_weights(again.optimizer, again.trainable_variables), further, 0)


@pytest.fixture(scope="module")
def two_replicas():
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.HierarchicalCopyAllReduce())


@pytest.mark.slow
@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_optimizer_is_equal_on_two_replicas_in_a_graph_and_on_one_eagerly(name, two_replicas):
    options = {**OPTIONS, "global_clip_norm": 0.5}
    one_device = trained_weights(make(name, **options), variables())
    with two_replicas.scope():
        trained = variables()
        optimizer = make(name, **options)
        optimizer.build(trained)

    @tf.function
    def step(number):
        def on_replica():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            weight = tf.where(replica == 0, 1.75, -0.75)
            optimizer.apply(gradients(number, trained, weight), trained)

        two_replicas.run(on_replica)

    for number in range(3):
        step(tf.constant(number))
    assert_close([variable.numpy() for variable in trained], one_device, 1e-6)


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])  # a Schedule-Free model ends `fit` with its average
def test_optimizer_goes_on_in_a_second_fit(name):
    dataset = tf.data.Dataset.from_tensor_slices((np.eye(4, dtype="float32"), np.ones((4, 1), "float32"))).batch(2)

    def fitted(*epochs):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile(make(name), "mse")
        for count in epochs:
            model.fit(dataset, epochs=count, verbose=0, shuffle=False)
        return model.get_weights()

    assert_close(fitted(1, 1), fitted(2), 1e-7)
