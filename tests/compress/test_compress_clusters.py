import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import compress, testing
from kerastrain.compress import clustering, weight_sharing
from kerastrain.compress.fine_tuning import FineTuning
from kerastrain.errors import InputError
from kerastrain.hub import layer

LOSS = keras.losses.CategoricalCrossentropy(from_logits=True)


def network(**options):
    inputs = keras.Input((8, 8, 4))
    x = keras.layers.Conv2D(8, 3, activation="relu", **options)(inputs)
    x = keras.layers.DepthwiseConv2D(3, name="depthwise_conv")(x)
    return keras.Model(inputs, keras.layers.Dense(4)(keras.layers.Flatten()(x)))


def dataset():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(48, 8, 8, 4)).astype("float32")
    labels = np.eye(4, dtype="float32")[rng.integers(0, 4, 48)]
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(16)


def counts(model):
    return list(compress.distinct_values(model).values())


def test_cluster_leaves_exactly_so_many_values_and_the_model_alone():
    model = network()
    before = [w.copy() for w in model.get_weights()]
    clustered = compress.cluster(model, dataset(), clusters=8, fine_tuning=FineTuning(epochs=2, loss=LOSS))
    assert counts(clustered) == [8, 8]
    assert len(np.unique(clustered.get_layer("depthwise_conv").get_weights()[0])) == 72
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert not any(v.constraint for v in clustered.variables)
    assert (
        np.abs(clustered.get_weights()[0] - clustering.clustered_kernel(before[0], 8)).max() > 1e-6
    )  # the values were trained


def test_cluster_keeps_zeros_and_counts_them_as_one_value():
    pruned = compress.prune(network(), dataset(), fraction=0.5, fine_tuning=FineTuning(epochs=1, loss=LOSS))
    clustered = compress.cluster(pruned, dataset(), clusters=8, fine_tuning=FineTuning(epochs=1))
    assert counts(clustered) == [8, 8]
    assert compress.sparsity(clustered).by_kernel == compress.sparsity(pruned).by_kernel
    for before, after in zip(pruned.get_weights(), clustered.get_weights(), strict=True):
        if before.ndim > 1 and before.shape[-1] != 1:
            np.testing.assert_array_equal(before == 0, after == 0)


@pytest.mark.parametrize("frozen", [True, False])
def test_batch_norm_starts_from_the_means_of_the_shared_kernels(frozen):
    inputs = keras.Input((8, 8, 4))
    norm = keras.layers.BatchNormalization(trainable=not frozen, name="norm")
    x = norm(keras.layers.Conv2D(8, 3, use_bias=False, name="conv")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(4)(keras.layers.Flatten()(x)))
    optimizer = keras.optimizers.SGD(1e-9)
    clustered = compress.cluster(
        model, dataset(), clusters=2, fine_tuning=FineTuning(epochs=1, loss=LOSS, optimizer=optimizer)
    )
    kernel, outputs = clustered.get_layer("conv").kernel, []
    for images, _ in dataset():
        outputs.append(tf.nn.conv2d(images, tf.convert_to_tensor(kernel), 1, "VALID").numpy())
    mean = np.mean(outputs, axis=(0, 1, 2, 3))
    variance = np.mean(np.var(outputs, axis=(1, 2, 3)), axis=0)
    clustered_norm = clustered.get_layer("norm")
    assert (clustered_norm.trainable, clustered_norm.momentum) == (not frozen, 0.99)
    assert norm.get_weights()[-2].tolist() == [0.0] * 8
    # The three training steps change the statistics of a trainable batch norm.
    np.testing.assert_allclose(clustered_norm.moving_mean, mean, atol=1e-5 if frozen else 1e-2)
    np.testing.assert_allclose(clustered_norm.moving_variance, variance, rtol=1e-4 if frozen else 1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("change", ["ema", "mixed", "accumulation"])
def test_cluster_holds_its_values_under_every_optimizer(change):
    options = {
        "ema": {"use_ema": True, "ema_overwrite_frequency": 1},
        "accumulation": {"gradient_accumulation_steps": 2},
    }
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9, **options.get(change, {}))
    model = network(dtype="mixed_bfloat16") if change == "mixed" else network()
    assert counts(
        compress.cluster(model, dataset(), clusters=4, fine_tuning=FineTuning(epochs=2, optimizer=optimizer, loss=LOSS))
    ) == [4, 4]


@pytest.mark.slow
def test_cluster_on_two_replicas_equals_one():
    model = network()
    one = compress.cluster(
        model,
        dataset(),
        clusters=8,
        fine_tuning=FineTuning(epochs=2, loss=LOSS, optimizer=keras.optimizers.SGD(0.05)),
    )
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.HierarchicalCopyAllReduce())
    with strategy.scope():
        optimizer = keras.optimizers.SGD(0.05)
        two = compress.cluster(
            model, dataset(), clusters=8, fine_tuning=FineTuning(epochs=2, loss=LOSS, optimizer=optimizer)
        )
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_cluster_shares_the_values_of_a_saved_model_inside_a_layer(tmp_path):
    module = layer.HubLayer(str(testing.saved_model(tmp_path / "module")), trainable=True)
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.layers.Dense(4)(module(inputs)))
    images = dataset().map(lambda images, labels: (images[..., :3], labels))
    clustered = compress.cluster(model, images, clusters=5, fine_tuning=FineTuning(epochs=1, loss=LOSS))
    assert sorted(counts(clustered)) == [5, 5]
    assert max(counts(model)) > 5


def test_keep_clusters_holds_them_through_further_training(tmp_path):
    clustered = compress.cluster(network(), dataset(), clusters=6, fine_tuning=FineTuning(epochs=1, loss=LOSS))
    clustered.save(tmp_path / "clustered.keras")
    loaded = keras.saving.load_model(tmp_path / "clustered.keras")
    before = loaded.get_weights()[0]
    compress.keep_clusters(loaded)
    loaded.compile("adam", LOSS)
    loaded.fit(dataset(), epochs=1, shuffle=False, verbose=0)
    assert counts(loaded) == [6, 6]
    assert np.abs(loaded.get_weights()[0] - before).max() > 0


def test_keep_clusters_moves_a_cluster_by_the_mean_and_zeros_never():
    kernel = keras.Variable([[1.0, 1.0, 0.0], [2.0, 0.0, 2.0]])
    keep = weight_sharing.KeepClusters(kernel)
    moved = keep(tf.constant([[1.2, 1.6, 0.5], [2.0, -0.5, 3.0]]))
    np.testing.assert_allclose(moved, [[1.4, 1.4, 0.0], [2.5, 0.0, 2.5]])


def test_shared_is_the_k_means_of_one_dimension():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 4, 40)).astype("float32")
    result = clustering.clustered_kernel(kernel, 16)
    values, owners = np.unique(result, return_inverse=True)
    assert len(values) == 16
    for cluster, value in enumerate(values):  # each value is the mean of its cluster
        assert np.mean(kernel[owners.reshape(kernel.shape) == cluster]) == pytest.approx(value, abs=1e-2)
    nearest = values[np.abs(kernel[..., None] - values).argmin(-1)]
    np.testing.assert_array_equal(result, nearest)


def test_shares_values_tells_clustered_kernels_from_trained_and_pruned_ones():
    random = np.random.default_rng(0).normal(size=(9, 40)).astype("float32")
    pruned = np.where(np.abs(random) > 1, random, 0)
    assert not weight_sharing.shares_values(keras.Variable(random))
    assert not weight_sharing.shares_values(keras.Variable(pruned))
    assert weight_sharing.shares_values(keras.Variable(clustering.clustered_kernel(pruned, 16)))
    assert not weight_sharing.shares_values(keras.Variable(np.zeros((3, 3), "float32")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clusters": 1}, r"`clusters` must be a whole number in \[2, 256\]. Received: 1"),
        ({"clusters": 16.0}, "`clusters` must be a whole number"),
        ({"fine_tuning": FineTuning(epochs=0, loss=LOSS)}, "must not be empty"),
        ({"fine_tuning": FineTuning(epochs=1)}, "`loss` must be given"),
        ({"model": keras.Sequential([keras.layers.Dense(2)])}, "`model` must be built"),
        (
            {"model": network(kernel_constraint="max_norm")},
            "must have no constraint to be compressed. Received: MaxNorm",
        ),
        ({"dataset": dataset().repeat()}, "`dataset` must have a known, finite length"),
    ],
)
def test_cluster_refuses_what_it_cannot_do(change, message):
    arguments = {"model": network(), "dataset": dataset(), "fine_tuning": FineTuning(epochs=1, loss=LOSS), **change}
    with pytest.raises(InputError, match=message):
        compress.cluster(arguments.pop("model"), arguments.pop("dataset"), **arguments)


def test_cluster_refuses_a_model_that_is_frozen():
    model = network()
    model.trainable = False
    with pytest.raises(InputError, match="`model` must have a trainable kernel"):
        compress.cluster(model, dataset(), fine_tuning=FineTuning(epochs=1, loss=LOSS))
