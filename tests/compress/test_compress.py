from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from interruptions import InterruptAfter, Interrupted

from kerastrain import callbacks, compress, testing
from kerastrain.compress import masks, pruning, sparsity_schedules
from kerastrain.compress.fine_tuning import FineTuning
from kerastrain.errors import InputError
from kerastrain.hub import layer
from kerastrain.system import isolated_imports


def network(**options):
    inputs = keras.Input((8, 8, 4))
    x = keras.layers.Conv2D(8, 3, activation="relu", **options)(inputs)
    x = keras.layers.DepthwiseConv2D(3)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Flatten()(x)
    return keras.Model(inputs, keras.layers.Dense(4)(x))


def dataset(batch_size=16):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(48, 8, 8, 4)).astype("float32")
    labels = np.eye(4, dtype="float32")[rng.integers(0, 4, 48)]
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(batch_size)


LOSS = keras.losses.CategoricalCrossentropy(from_logits=True)


def zeros(model):
    return [int((keras.ops.convert_to_numpy(v) == 0).sum()) for v in model.trainable_variables if len(v.shape) > 1]


def test_prune_reaches_the_fraction_exactly_and_leaves_the_model_alone():
    model = network()
    before = [w.copy() for w in model.get_weights()]
    pruned = compress.prune(model, dataset(), fraction=0.7, fine_tuning=FineTuning(epochs=3, loss=LOSS))
    assert zeros(pruned) == [round(0.7 * 3 * 3 * 4 * 8), 0, round(0.7 * 128 * 4)]  # the middle one is depthwise
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    measured = compress.sparsity(pruned)
    assert (measured.zeros, measured.weights) == (202 + 358, 288 + 512)
    assert measured.fraction == 0.7
    assert [path.split("/")[-1] for path, _ in measured.by_kernel] == ["kernel", "kernel"]
    assert not any(v.constraint for v in pruned.variables)
    assert pruned.predict(dataset(), verbose=0).shape == (48, 4)


@pytest.mark.parametrize(
    ("pattern", "fraction", "expected"), [("1x4", 0.5, [144, 0, 256]), ("4x1", 0.25, [72, 0, 128]), ("2:4", 0.5, [144, 0, 256])]
)  # fmt: skip
@pytest.mark.slow
def test_prune_keeps_to_the_pattern(pattern, fraction, expected):
    pruned = compress.prune(
        network(), dataset(), fraction=fraction, pattern=pattern, fine_tuning=FineTuning(epochs=1, loss=LOSS)
    )
    assert zeros(pruned) == expected
    kernel = pruned.trainable_variables[-2].numpy() != 0
    groups = {"1x4": kernel.reshape(-1, 4), "4x1": kernel.T.reshape(-1, 4), "2:4": kernel.T.reshape(-1, 4)}[pattern]
    assert set(groups.sum(1)) == ({2} if pattern == "2:4" else {0, 4})


@pytest.mark.slow
@pytest.mark.parametrize("change", ["ema", "accumulation", "mixed"])
def test_prune_holds_its_zeros_under_every_optimizer(change):
    options = {
        "ema": {"use_ema": True, "ema_overwrite_frequency": 1},
        "accumulation": {"gradient_accumulation_steps": 2},
    }
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9, **options.get(change, {}))
    steps = 3 if change == "accumulation" else 6
    schedule = compress.Polynomial(0.5, end=steps)
    model = network(dtype="mixed_bfloat16") if change == "mixed" else network()
    pruned = compress.prune(
        model,
        dataset(),
        fraction=0.5,
        schedule=schedule,
        fine_tuning=FineTuning(epochs=2, optimizer=optimizer, loss=LOSS),
    )
    assert zeros(pruned) == [144, 0, 256]


@pytest.mark.slow
def test_masks_grow_under_xla_and_within_several_steps_per_execution():
    model = network()
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), LOSS, jit_compile=True, steps_per_execution=3)
    pruning._attach(model, compress.Polynomial(0.5, end=6), masks.Pattern.parse("1x1"))
    model.fit(dataset(), epochs=2, shuffle=False, verbose=0)
    assert zeros(model) == [144, 0, 256]


@pytest.mark.slow
def test_prune_on_two_replicas_equals_one():
    model = network()
    model.layers[3].trainable = False  # batch norm, whose statistics differ between replicas
    one = compress.prune(
        model,
        dataset(),
        fraction=0.6,
        fine_tuning=FineTuning(epochs=2, loss=LOSS, optimizer=keras.optimizers.SGD(0.05)),
    )
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        optimizer = keras.optimizers.SGD(0.05)
        two = compress.prune(
            model, dataset(), fraction=0.6, fine_tuning=FineTuning(epochs=2, loss=LOSS, optimizer=optimizer)
        )
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert zeros(two) == zeros(one)


def test_prune_takes_the_schedules_of_tfmot():
    tfmot = isolated_imports.tfmot().sparsity.keras
    schedule = tfmot.PolynomialDecay(0.0, 0.5, begin_step=0, end_step=6, frequency=2)
    pruned = compress.prune(
        network(), dataset(), fraction=0.5, schedule=schedule, fine_tuning=FineTuning(epochs=2, loss=LOSS)
    )
    assert compress.sparsity(pruned).fraction == 0.5
    with pytest.raises(InputError, match="`schedule` must reach the fraction 0.5 within the run.*ends at 0 after 6"):
        schedule = tfmot.PolynomialDecay(0.0, 0.5, begin_step=0, end_step=6)
        compress.prune(
            network(), dataset(), fraction=0.5, schedule=schedule, fine_tuning=FineTuning(epochs=2, loss=LOSS)
        )


@pytest.mark.slow
def test_keep_zeros_holds_them_through_further_training_and_saving(tmp_path):
    pruned = compress.prune(network(), dataset(), fraction=0.5, fine_tuning=FineTuning(epochs=1, loss=LOSS))
    pruned.save(tmp_path / "pruned.keras")
    loaded = keras.saving.load_model(tmp_path / "pruned.keras")
    before = [v.numpy() for v in loaded.trainable_variables]
    compress.keep_zeros(loaded)
    loaded.compile("adam", LOSS)
    loaded.fit(dataset(), epochs=1, shuffle=False, verbose=0)
    assert zeros(loaded) == [144, 0, 256]
    assert np.abs(loaded.trainable_variables[0].numpy() - before[0]).max() > 0


def test_prune_prunes_the_variables_of_a_saved_model_inside_a_layer(tmp_path):
    module = layer.HubLayer(str(testing.saved_model(tmp_path / "module")), trainable=True)
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.layers.Dense(4)(module(inputs)))
    images = dataset().map(lambda images, labels: (images[..., :3], labels))
    pruned = compress.prune(model, images, fraction=0.5, fine_tuning=FineTuning(epochs=1, loss=LOSS))
    assert zeros(pruned) == [3 * 3 * 3 * 8 // 2, 8 * 4 // 2]
    assert zeros(model) == [0, 0]


COMPRESSIONS = {
    "prune": partial(compress.prune, fraction=0.5),
    "cluster": partial(compress.cluster, clusters=4),
    "prune_channels": partial(compress.prune_channels, multiply_adds_fraction=0.6),
    "quantize_aware": compress.quantize_aware,
    "distill": lambda model, dataset, **options: compress.distill(model, network(), dataset, **options),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.chaos) if name in ("prune", "cluster") else name for name in COMPRESSIONS],
)
def test_every_way_to_train_goes_on_from_a_checkpoint_to_the_same_bits(name, tmp_path):
    def train(folder, *others):
        keras.utils.set_random_seed(0)
        saving = callbacks.Checkpoints(folder, every="1 steps")
        fine_tuning = FineTuning(epochs=3, loss=LOSS, callbacks=saving.before(others))
        return COMPRESSIONS[name](network(), dataset(), fine_tuning=fine_tuning).get_weights()

    uninterrupted = train(tmp_path / "whole")
    for steps in (4, 8):
        with pytest.raises(Interrupted):
            train(tmp_path / f"cut_{steps}", InterruptAfter(steps))
        for resumed, expected in zip(train(tmp_path / f"cut_{steps}"), uninterrupted, strict=True):
            np.testing.assert_array_equal(resumed, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fraction": 1.0}, r"`fraction` must lie in \(0, 1\)"),
        ({"fraction": 0.7, "pattern": "2:4"}, "`fraction` must be 0.5 for the pattern 2:4"),
        ({"pattern": "4:2"}, "`pattern` must be ROWSxCOLUMNS or ZEROS:GROUP"),
        ({"pattern": "1x5"}, "`model` must have a trainable kernel that fits the pattern"),
        ({"fine_tuning": FineTuning(epochs=0, loss=LOSS)}, "must not be empty"),
        ({"dataset": dataset().repeat()}, "`dataset` must have a known, finite length"),
        ({"fine_tuning": FineTuning(epochs=1)}, "`loss` must be given"),
        ({"model": keras.Sequential([keras.layers.Dense(4)])}, "`model` must be built"),
        (
            {"model": network(kernel_constraint="max_norm")},
            "must have no constraint to be compressed. Received: MaxNorm",
        ),
        ({"schedule": compress.Polynomial(0.5, end=100)}, "`schedule` must reach"),
    ],
)
def test_prune_refuses_what_it_cannot_do(change, message):
    arguments = {
        "model": network(),
        "dataset": dataset(),
        "fraction": 0.5,
        "fine_tuning": FineTuning(epochs=1, loss=LOSS),
        **change,
    }
    with pytest.raises(InputError, match=message):
        compress.prune(arguments.pop("model"), arguments.pop("dataset"), **arguments)


def test_every_way_to_train_refuses_probabilities_where_the_loss_takes_logits():
    inputs = keras.Input((8, 8, 4))
    last = keras.layers.Dense(4, activation="softmax")(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, last, name="sure")
    for compression, options in (
        (compress.prune, {"fraction": 0.5}),
        (compress.cluster, {}),
        (compress.prune_channels, {}),
        (compress.quantize_aware, {}),
    ):
        with pytest.raises(
            InputError, match="`model` must give logits. Received: probabilities: 'sure' ends in softmax"
        ):
            compression(model, dataset(), fine_tuning=FineTuning(epochs=1, loss=LOSS), **options)


def test_block_mask_zeroes_the_blocks_of_smallest_magnitude():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 4, 8)).astype("float32")
    scores = np.abs(kernel).reshape(18, 2, 2, 4).sum((1, 3))
    threshold = np.sort(scores.ravel())[round(0.6 * scores.size)]
    expected = np.repeat(np.repeat(scores >= threshold, 2, 0), 4, 1).reshape(kernel.shape)
    np.testing.assert_array_equal(masks.block_mask(tf.constant(kernel), 0.6, (2, 4)), expected)


def test_block_mask_counts_exactly_where_all_weights_are_equal():
    assert float(tf.reduce_sum(masks.block_mask(tf.ones((10, 10)), 0.37))) == 63


def test_group_mask_keeps_the_largest_of_each_group_of_input_channels():
    kernel = np.array([[1, 8], [-2, 7], [3, 6], [-4, 5]], "float32")
    np.testing.assert_array_equal(masks.group_mask(tf.constant(kernel), 2, 4), [[0, 1], [0, 1], [1, 0], [1, 0]])


def test_polynomial_follows_its_formula_and_always_makes_its_last_mask():
    schedule = compress.Polynomial(0.8, begin=3, end=12, initial=0.2, frequency=4)
    made = {}
    for step in range(1, 16):
        update, fraction = schedule(tf.constant(step, tf.int64))
        if update:
            made[step] = float(fraction)
    expected = {t: 0.8 - 0.6 * (1 - (t - 3) / 9) ** 3 for t in (3, 7, 11, 12)}
    assert made == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 7, 250])
def test_for_run_reaches_the_fraction_however_short_the_run(steps):
    assert sparsity_schedules.reached(sparsity_schedules.for_run(0.8, steps), steps) == pytest.approx(0.8)


@pytest.mark.parametrize(
    "arguments", [{"final": 1.0}, {"initial": 0.9}, {"begin": 0}, {"begin": 9}, {"power": 0}, {"frequency": 0}]
)
def test_polynomial_refuses_values_out_of_range(arguments):
    with pytest.raises(InputError, match=f"`{next(iter(arguments))}` must"):
        compress.Polynomial(**{"final": 0.5, "end": 8, **arguments})
