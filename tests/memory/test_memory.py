import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import memory
from kerastrain.train_step import keras_trainer

INPUTS = np.random.default_rng(0).normal(size=(10, 4)).astype("float32")
TARGETS = INPUTS[:, :1] ** 2


def fitted(micro_batches, *, batch_size=5, **compiled):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, "tanh", kernel_regularizer="l2"), keras.layers.Dense(1)]
    )
    model.compile(**{"optimizer": keras.optimizers.Adam(0.01), "loss": "mse", "metrics": ["mae"], **compiled})
    memory.accumulate(model, micro_batches=micro_batches)
    history = model.fit(INPUTS, TARGETS, batch_size=batch_size, epochs=2, shuffle=False, verbose=0).history
    return model.get_weights(), history


@pytest.fixture(scope="module")
def in_whole_batches():
    return fitted(1)


@pytest.mark.slow
@pytest.mark.parametrize("micro_batches", [2, 3, 7])
def test_micro_batches_equal_the_whole_batch(micro_batches, in_whole_batches):
    (weights, history), (expected, whole) = fitted(micro_batches), in_whole_batches
    for value, expected_value in zip(weights, expected, strict=True):
        np.testing.assert_allclose(value, expected_value, atol=1e-6)
    for name in ("loss", "mae"):
        np.testing.assert_allclose(history[name], whole[name], rtol=1e-6)


def test_micro_batches_of_one_step_equal_keras_itself():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    memory.accumulate(model, micro_batches=4)
    model.fit(INPUTS, TARGETS, batch_size=10, verbose=0)
    gradient = 2 * INPUTS.T @ (INPUTS.sum(axis=1, keepdims=True) - TARGETS) / 10
    np.testing.assert_allclose(model.get_weights()[0], 1 - 0.1 * gradient, atol=1e-6)


def test_a_batch_normalization_is_refused_unless_frozen():
    model = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(name="norm"), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="would see only its micro-batch.*Received: norm"):
        memory.accumulate(model, micro_batches=2)
    model.layers[0].trainable = False
    memory.accumulate(model, micro_batches=2)


@pytest.mark.parametrize("micro_batches", [0, 2.0, True])
def test_a_number_of_micro_batches_that_is_none_is_refused(micro_batches):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="`micro_batches` must be an int of at least 1"):
        memory.accumulate(model, micro_batches=micro_batches)


def test_a_model_with_a_step_of_its_own_is_refused():
    class Own(keras.Model):
        def train_step(self, data):
            return {}

    with pytest.raises(TypeError, match="which overrides it"):
        memory.accumulate(Own(), micro_batches=2)


def test_a_loss_that_is_no_mean_is_refused():
    with pytest.raises(ValueError, match="must be 'sum_over_batch_size'"):
        fitted(2, loss=keras.losses.MeanSquaredError(reduction="sum"))


def residual(dropout=0.3):
    """A model with skip connections, a shared layer, a nested model, dropout and batch normalization."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    shared = keras.layers.Dense(6, "tanh", name="shared")
    inner = keras.Sequential([keras.Input((6,)), keras.layers.Dense(6, "tanh"), keras.layers.Dropout(dropout, seed=3)])
    x = keras.layers.Dense(6, kernel_regularizer="l2", name="first")(inputs)
    y = keras.layers.BatchNormalization(name="norm")(shared(x))
    z = keras.layers.Add(name="sum")([x, inner(y)])
    w = keras.layers.Dropout(dropout, seed=5)(shared(z))
    outputs = keras.layers.Dense(1, name="last")(w * 2.0 + y)
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
    return model


def state_after_fit(model):
    history = model.fit(INPUTS, TARGETS, batch_size=5, epochs=3, shuffle=False, verbose=0).history
    return [variable.numpy() for variable in (*model.variables, *model.optimizer.variables)], history["loss"]


@pytest.fixture(scope="module")
def plain():
    return state_after_fit(residual())


@pytest.mark.parametrize(
    "blocks", [1, *(pytest.param(some, marks=pytest.mark.slow) for some in (2, 4)), None, ("norm", "sum")]
)
@pytest.mark.slow
def test_checkpointed_training_equals_plain_training(blocks, plain):
    expected, losses = plain
    model = residual()
    memory.remat(model, blocks=blocks)
    states, checkpointed_losses = state_after_fit(model)
    for value, expected_value in zip(states, expected, strict=True):
        np.testing.assert_allclose(value, expected_value, atol=1e-6)
    np.testing.assert_allclose(checkpointed_losses, losses, rtol=1e-6)


def test_the_layers_of_all_blocks_but_the_last_are_computed_twice():
    calls = []

    class Counted(keras.layers.Layer):
        def call(self, inputs):
            calls.append(self.name)
            return inputs * 2

    first, last = keras.layers.Dense(2), keras.layers.Dense(1)
    model = keras.Sequential([keras.Input((4,)), first, Counted(name="a"), Counted(name="b"), last])
    model.compile("sgd", "mse")
    memory.remat(model, blocks=2)
    calls.clear()
    model.fit(INPUTS, TARGETS, batch_size=10, verbose=0)
    assert sorted(calls) == ["a", "a", "b"]


@pytest.mark.slow
def test_checkpoint_and_accumulate_go_together():
    keras.utils.set_random_seed(0)

    def model():
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Dense(6, "tanh") for _ in range(6)]
        model = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(1)])
        model.compile(keras.optimizers.Adam(0.01), "mse")
        return model

    lean = model()
    memory.remat(lean, blocks=3)
    memory.accumulate(lean, micro_batches=2)
    for value, expected_value in zip(state_after_fit(lean)[0], state_after_fit(model())[0], strict=True):
        np.testing.assert_allclose(value, expected_value, atol=1e-6)


@pytest.mark.slow
def test_checkpointed_training_on_two_devices_equals_one():
    expected, _ = state_after_fit(residual(dropout=0.0))
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.HierarchicalCopyAllReduce())
    with strategy.scope():
        model = residual(dropout=0.0)
    model.get_layer("norm").synchronized = True
    memory.remat(model, blocks=3)
    keras_trainer.patch()
    try:
        states, _ = state_after_fit(model)
    finally:
        keras_trainer.unpatch()
    for value, expected_value in zip(states, expected, strict=True):
        np.testing.assert_allclose(value, expected_value, atol=1e-5)


@pytest.mark.slow
def test_masks_pass_from_block_to_block():
    words = np.array([[3, 1, 4, 0], [1, 5, 0, 0], [2, 6, 5, 3], [5, 0, 0, 0]])
    targets = np.array([[1.0], [2.0], [3.0], [4.0]])

    def model():
        keras.utils.set_random_seed(0)
        inputs = keras.Input((None,), dtype="int32")
        x = keras.layers.Embedding(9, 6, mask_zero=True)(inputs)
        x = keras.layers.Add()([x, keras.layers.MultiHeadAttention(2, 3, name="attention")(x, x)])
        x = keras.layers.LSTM(5)(keras.layers.LayerNormalization(name="norm")(x))
        model = keras.Model(inputs, keras.layers.Dense(1)(x))
        model.compile(keras.optimizers.Adam(0.01), "mse")
        return model

    plain, lean = model(), model()
    memory.remat(lean, blocks=["attention", "norm"])
    for each in (plain, lean):
        each.fit(words, targets, batch_size=2, epochs=2, shuffle=False, verbose=0)
    for value, expected_value in zip(plain.get_weights(), lean.get_weights(), strict=True):
        np.testing.assert_allclose(value, expected_value, atol=1e-6)


@pytest.mark.parametrize(("blocks", "message"), [(0, "`blocks` must lie in"), (["frist"], "Did you mean 'first'")])
def test_blocks_that_are_none_are_refused(blocks, message):
    with pytest.raises(ValueError, match=message):
        memory.remat(residual(), blocks=blocks)


def test_layers_that_cannot_be_repeated_are_refused():
    regularized = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, activity_regularizer="l2")])
    regularized.compile("sgd", "mse")
    memory.remat(regularized)
    with pytest.raises(ValueError, match="loss on its activations"):
        regularized.fit(INPUTS, TARGETS, verbose=0)


class Hungry(keras.layers.Layer):
    """Asks for 256 TB, which no machine has, for more than `most` examples at once.

    NumPy asks, which is refused at once and becomes the error of a full device. TensorFlow's allocator would wait for ten
    seconds first, as it does in tests/finders/test_finders.py.
    """

    def __init__(self, most=2):
        super().__init__()
        self.most = tf.Variable(most, trainable=False)

    def call(self, inputs):
        size = tf.where(tf.shape(inputs)[0] > self.most, tf.constant(2**48, tf.int64), 1)
        asked = tf.numpy_function(lambda size: np.zeros(np.empty(size, "uint8").ndim, "float32"), [size], tf.float32)
        return inputs + 0.0 * tf.ensure_shape(asked, (1,))


def hungry():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.2, seed=1), Hungry(), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
    return model


@pytest.mark.slow
def test_a_batch_that_does_not_fit_is_split_and_gives_what_smaller_micro_batches_give(caplog):
    full, small = hungry(), hungry()
    memory.split_when_full(full)
    memory.accumulate(small, micro_batches=4)
    histories = [
        m.fit(INPUTS, TARGETS, batch_size=8, epochs=2, shuffle=False, verbose=0).history for m in (full, small)
    ]
    assert full.train_step.micro_batches == 4
    assert histories[0] == histories[1]
    for value, expected_value in zip(full.get_weights(), small.get_weights(), strict=True):
        np.testing.assert_array_equal(value, expected_value)
    assert "a batch of 8 does not fit into memory; splitting it into 4 micro-batches" in caplog.text


@pytest.mark.slow
def test_a_step_that_fits_no_more_is_split_as_well():
    full, small = hungry(), hungry()
    full.layers[-2].most.assign(8)
    memory.split_when_full(full)
    less_room = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: full.layers[-2].most.assign(4))
    full.fit(INPUTS, TARGETS, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=[less_room])
    assert full.train_step.micro_batches == 2
    small.layers[-2].most.assign(8)
    for epoch, micro_batches in enumerate((1, 2)):
        memory.accumulate(small, micro_batches=micro_batches)
        small.fit(INPUTS, TARGETS, batch_size=8, epochs=epoch + 1, initial_epoch=epoch, shuffle=False, verbose=0)
    for value, expected_value in zip(full.get_weights(), small.get_weights(), strict=True):
        np.testing.assert_array_equal(value, expected_value)


@pytest.mark.slow
def test_several_steps_in_one_call_are_all_taken_again():
    full, small = hungry(), hungry()
    memory.split_when_full(full)
    memory.accumulate(small, micro_batches=2)
    for model in (full, small):
        model.steps_per_execution = 2
        model.fit(INPUTS, TARGETS, batch_size=4, epochs=2, shuffle=False, verbose=0)
    assert int(full.optimizer.iterations) == 6
    for value, expected_value in zip(full.get_weights(), small.get_weights(), strict=True):
        np.testing.assert_array_equal(value, expected_value)


CROWDED = """
import resource, keras, numpy as np, tensorflow as tf
from kerastrain import memory
def fitted(limited):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(32, "tanh") for _ in range(20)]
    model = keras.Sequential([keras.Input((32,)), *layers, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    inputs = np.random.default_rng(0).normal(size=(2**18, 32)).astype("float32")
    model.fit(inputs[:1], np.ones((1, 1)), verbose=0)  # allocates the threads and buffers of the runtime
    if limited:
        memory.split_when_full(model)
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 500 * 2**20, resource.RLIM_INFINITY))
    model.fit(inputs, np.ones((2**18, 1)), batch_size=2**18, epochs=2, verbose=0)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    return model
full, plain = fitted(True), fitted(False)
print(full.train_step.micro_batches, max(np.abs(a - b).max() for a, b in zip(plain.get_weights(), full.get_weights())))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
def test_a_process_that_may_take_no_more_memory_splits_its_step():
    environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": "1", "TF_ENABLE_ONEDNN_OPTS": "0", "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CROWDED], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    micro_batches, difference = done.stdout.split()[-2:]
    assert int(micro_batches) > 1
    assert float(difference) < 1e-6
    assert "a batch of 262144 does not fit into memory" in done.stderr


def test_xla_is_turned_off_and_refused_afterwards():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("adam", "mse", jit_compile=True)
    memory.accumulate(model, micro_batches=2)
    assert not model.jit_compile
    model.fit(INPUTS, TARGETS, verbose=0)
    model.compile("adam", "mse", jit_compile=True)
    with pytest.raises(ValueError, match="XLA keeps the activations"):
        model.fit(INPUTS, TARGETS, verbose=0)


@pytest.mark.slow
def test_an_example_that_does_not_fit_is_told():
    model = keras.Sequential([keras.Input((4,)), Hungry(most=0), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    memory.split_when_full(model)
    with pytest.raises(ValueError, match="a single example does not fit"):
        model.fit(INPUTS, TARGETS, batch_size=1, verbose=0)


@pytest.mark.slow
def test_a_full_batch_that_cannot_be_split_is_told():
    model = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(), Hungry(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    memory.split_when_full(model)
    with pytest.raises(ValueError, match="a batch of 4 does not fit .* would see only its micro-batch"):
        model.fit(INPUTS, TARGETS, batch_size=4, verbose=0)


def test_a_full_device_under_a_strategy_is_told():
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.HierarchicalCopyAllReduce()).scope():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="works on one device only. Received: 2 devices"):
        memory.split_when_full(model)


@pytest.mark.slow
def test_the_graph_of_a_step_grows_with_its_weights_and_not_with_their_square():
    def edges(layers):
        model = keras.Sequential([keras.Input((4,)), *(keras.layers.Dense(4) for _ in range(layers))])
        model.compile("adam", "mse", jit_compile=False)
        memory.accumulate(model, micro_batches=1)
        batch = tf.data.Dataset.from_tensors((INPUTS, INPUTS))
        model.fit(batch, shuffle=False, verbose=0)
        graph = tf.function(model.train_step).get_concrete_function(next(iter(batch))).graph
        return sum(len(operation.control_inputs) for operation in graph.get_operations())

    assert edges(16) < 3 * edges(8)
