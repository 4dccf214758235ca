"""One model on two devices: every variable and operation on its device, and the same weights as on one device."""

import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context as tf_context

from kerastrain import distribute
from kerastrain.errors import InputError

INPUTS = np.random.default_rng(0).normal(size=(10, 4)).astype("float32")
TARGETS = INPUTS[:, :1] ** 2
DEVICES = ("CPU:0", "CPU:1")


def branching(dropout=0.0):
    """A model with a skip connection over the cut, a shared layer, and a nested model."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    shared = keras.layers.Dense(6, "tanh", name="shared")
    inner = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(6, name="inside"), keras.layers.Dropout(dropout, seed=3)]
    )
    first = keras.layers.Dense(6, "tanh", kernel_regularizer="l2", name="first")(inputs)
    normed = keras.layers.LayerNormalization(name="norm")(shared(first))
    joined = keras.layers.Add(name="sum")([first, inner(normed)])
    outputs = keras.layers.Dense(1, name="last")(shared(joined))
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"], jit_compile=False)
    return model


def fitted(model, batch_size=4):
    history = model.fit(INPUTS, TARGETS, batch_size=batch_size, epochs=3, shuffle=False, verbose=0).history
    return model.get_weights(), history, model.evaluate(INPUTS, TARGETS, verbose=0), model.predict(INPUTS, verbose=0)


@pytest.mark.slow
def test_decay_and_averages_are_those_of_one_device():
    weights = []
    for place in (False, True):
        model = branching()
        model.compile(keras.optimizers.AdamW(0.01, weight_decay=0.1, use_ema=True, global_clipnorm=0.1), "mse")
        model.jit_compile = False
        if place:
            distribute.place(model, DEVICES)
        weights.append(fitted(model)[0])
    for expected, value in zip(*weights, strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"recompute": True},
        {"micro_batches": 3},
        {"micro_batches": 2, "recompute": True, "at": ["norm"]},
    ],
    ids=str,
)
def test_a_placed_model_equals_one_device(options):
    placed = branching()
    distribute.place(placed, DEVICES, **options)
    for results, expected_results in zip(fitted(placed), fitted(branching()), strict=True):
        pairs = zip(keras.tree.flatten(results), keras.tree.flatten(expected_results), strict=True)
        for value, expected in pairs:
            np.testing.assert_allclose(value, expected, atol=1e-6)


@pytest.mark.slow
def test_dropout_draws_the_masks_of_one_device():
    placed = branching(dropout=0.5)
    distribute.place(placed, DEVICES)
    for value, expected in zip(fitted(placed)[0], fitted(branching(dropout=0.5))[0], strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-6)


def test_variables_and_slots_live_on_their_devices():
    model = branching()
    stages = distribute.place(model, DEVICES, at=["inside"])
    assert [stage.layers for stage in stages] == [
        ("first", "shared", "norm"),
        ("inside", "dropout", "sum", "shared", "last"),
    ]
    assert [stage.parameters for stage in stages] == [30 + 42 + 12, 42 + 7]
    homes = {v.path.split("/")[-2]: v.value.device[-5:] for v in model.trainable_variables}
    assert homes == {"first": "CPU:0", "shared": "CPU:0", "norm": "CPU:0", "inside": "CPU:1", "last": "CPU:1"}
    slots = [v for v in model.optimizer.variables if "momentum" in v.path or "velocity" in v.path]
    assert len(slots) == 2 * len(model.trainable_variables)
    for slot in slots:
        layer = next(name for name in homes if f"{name}_" in slot.path)
        assert slot.value.device[-5:] == homes[layer]


def test_balance_makes_the_largest_stage_small():
    model = keras.Sequential([keras.Input((4,)), *(keras.layers.Dense(n, use_bias=False) for n in (64, 64, 8, 8, 8))])
    model.compile("sgd", "mse")
    stages = distribute.place(model, ("CPU:0", "CPU:1", "CPU:0"))
    assert [stage.parameters for stage in stages] == [256, 4096, 640]


def test_a_saved_model_opens_on_one_device(tmp_path):
    model = branching()
    distribute.place(model, DEVICES)
    model.fit(INPUTS, TARGETS, verbose=0)
    model.save(tmp_path / "model.keras")
    back = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(back.predict(INPUTS, verbose=0), model.predict(INPUTS, verbose=0), atol=1e-6)


PROGRAM = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
tf.debugging.set_log_device_placement(True)
from kerastrain import distribute
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, "tanh", name="first"), keras.layers.Dense(1, name="second")])
model.compile(keras.optimizers.Adam(), "mse", jit_compile=False)
distribute.place(model, ["CPU:0", "CPU:1"], at=["second"], micro_batches=2)
model.fit(np.ones((4, 4)), np.ones((4, 1)), batch_size=4, verbose=0)
"""


@pytest.mark.slow
def test_operations_run_on_their_devices():
    environment = {"TF_CPP_MIN_LOG_LEVEL": "0", "CUDA_VISIBLE_DEVICES": "", "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    ran = {}
    for line in done.stderr.splitlines():
        match = re.search(r"StatefulPartitionedCall/(\S+): \((\w+)\): .*device:(\S+)$", line)
        if match:
            name, operation, device = match.groups()
            ran.setdefault(operation, {}).setdefault(device, set()).add(name)
    forward = {device: {name for name in names if "gradient" not in name} for device, names in ran["MatMul"].items()}
    backward = {device: {name for name in names if "gradient" in name} for device, names in ran["MatMul"].items()}
    # Two micro-batches, each with one matrix product in the forward pass of each stage and two in the backward pass.
    assert {device: len(names) for device, names in forward.items()} == {"CPU:0": 2, "CPU:1": 2}
    assert {device: len(names) for device, names in backward.items()} == {"CPU:0": 4, "CPU:1": 4}
    assert all("first" in name for name in forward["CPU:0"])
    assert all("second" in name for name in forward["CPU:1"])
    # Adam takes a square root for each of the two variables of a stage.
    assert {device: len(names) for device, names in ran["Sqrt"].items()}["CPU:1"] >= 2


def executed(step):
    """For each device, the (operation, name) of each node in the graphs that TensorFlow's executors ran during `step`.

    These are the graphs after placement, optimization and partitioning, one per device, which its executor runs completely.
    """
    tf_context.context().enable_run_metadata()
    try:
        step()
        graphs = tf_context.context().export_run_metadata().partition_graphs
    finally:
        tf_context.context().disable_run_metadata()
    nodes = {}
    for node in (node for graph in graphs for node in graph.node):
        nodes.setdefault(node.device[-5:], set()).add((node.op, node.name))
    return nodes


def test_each_device_executes_its_stage_forward_backward_and_update():
    model = branching()
    distribute.place(model, DEVICES, at=["inside"])
    nodes = executed(lambda: model.fit(INPUTS, TARGETS, batch_size=10, verbose=0))
    assert set(nodes) == set(DEVICES)
    for device, layers, products in [("CPU:0", ["first", "shared"], 2), ("CPU:1", ["inside", "last", "shared"], 3)]:
        names = [name for kind, name in nodes[device] if "MatMul" in kind]
        backward = {re.search(r"/(\w+?)_\d+/MatMul/", name)[1] for name in names if "gradient_tape" in name}
        assert sorted(backward) == layers
        # In the forward pass each product is fused with the operation after it.
        assert sum("gradient_tape" not in name for name in names) == products
        updated = [name for kind, name in nodes[device] if kind == "AssignSubVariableOp"]
        assert len(updated) == sum(variable.value.device.endswith(device) for variable in model.trainable_variables)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"devices": ["CPU:0", "GPU:7"]}, "unknown device 'GPU:7'"),
        ({"devices": ["CPU:0"]}, "must name 2 to 8 devices"),
        ({"at": ["lost"]}, "unknown layer 'lost'"),
        ({"at": ["shared", "last"]}, "must name 1 layers"),
        ({"at": ["first"]}, "none of them the first"),
        ({"balance": "time"}, "unknown balance 'time'"),
        ({"micro_batches": 0}, "`micro_batches` must be an int"),
    ],
)
def test_what_cannot_be_placed_is_told(options, reason):
    with pytest.raises(InputError, match=reason):
        distribute.place(branching(), **{"devices": DEVICES, **options})


def test_a_model_at_the_wrong_moment_is_told():
    model = branching()
    model.fit(INPUTS, TARGETS, verbose=0)
    with pytest.raises(InputError, match="has an optimizer whose slots already exist"):
        distribute.place(model, DEVICES)
    bare = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2), keras.layers.Dense(1)])
    with pytest.raises(InputError, match="Received: a model that is not compiled"):
        distribute.place(bare, DEVICES)
    with tf.distribute.MirroredStrategy(DEVICES, tf.distribute.HierarchicalCopyAllReduce()).scope():
        model = branching()
        with pytest.raises(InputError, match="under a strategy"):
            distribute.place(model, DEVICES)
