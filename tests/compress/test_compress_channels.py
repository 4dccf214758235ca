import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import backbones, compress, models, testing
from kerastrain.compress import channel_dependencies, channel_pruning
from kerastrain.compress.fine_tuning import FineTuning
from kerastrain.errors import InputError
from kerastrain.hub import layer
from kerastrain.keras_internals import program as programs

LOSS = keras.losses.CategoricalCrossentropy(from_logits=True)
KINDS = keras.layers
IMAGES = np.random.default_rng(0).normal(size=(6, 8, 8, 3)).astype("float32")


def block(channels_in):
    """A nested model of depthwise, separable and strided convolutions, with a concatenated branch."""
    inputs = keras.Input((8, 8, channels_in))
    x = KINDS.ReLU()(KINDS.BatchNormalization()(KINDS.DepthwiseConv2D(3, padding="same")(inputs)))
    main = KINDS.SeparableConv2D(10, 3, strides=2, padding="same", activation="relu", name="conv")(x)
    side = KINDS.MaxPooling2D()(KINDS.Conv2D(6, 1, name="side")(x))
    return keras.Model(inputs, KINDS.Concatenate()([main, side]), name="block")


def network():
    images = keras.Input((8, 8, 3))
    x = KINDS.BatchNormalization()(KINDS.Conv2D(12, 3, padding="same", use_bias=False, name="conv")(images))
    y = KINDS.Conv2D(12, 3, padding="same", activation="relu", name="residual")(x)
    x = block(12)(KINDS.Add()([x, y]))
    gate = KINDS.Dense(16, "sigmoid", name="gate")(KINDS.GlobalAveragePooling2D(keepdims=True)(x))
    x = KINDS.Flatten()(KINDS.Multiply()([x, gate]))
    return keras.Model(images, KINDS.Dense(4, name="logits")(KINDS.Dense(20, "relu", name="hidden")(x)))


def dataset():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(48, 8, 8, 3)).astype("float32")
    labels = np.eye(4, dtype="float32")[rng.integers(0, 4, 48)]
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(16)


def without_channels(model, keep):
    program = programs.record(model)
    return channel_pruning._without_channels(model, program, channel_dependencies.trace(program), keep)


def with_zeroed_channels(model, keep):
    """`model` with zero weights for the removed channels, which stay in place."""
    for channels in channel_dependencies.trace(programs.record(model)).layers:
        removed = ~keep[channels.outputs]
        layer, weights = channels.layer, channels.layer.get_weights()
        if isinstance(layer, KINDS.BatchNormalization):
            weights[0][removed] = weights[1][removed] = 0
        elif isinstance(layer, KINDS.DepthwiseConv2D):
            weights[0][:, :, removed], weights[1][removed] = 0, 0
        else:
            for index in range(1 if isinstance(layer, KINDS.SeparableConv2D) else 0, len(weights)):
                weights[index][..., removed] = 0
        layer.set_weights(weights)
    return model


def test_a_network_without_channels_answers_as_one_in_which_they_are_silent():
    model = network()
    channels = channel_dependencies.trace(programs.record(model))
    keep = (channels.fixed | (np.random.default_rng(1).random(len(channels.group)) < 0.6))[channels.group]
    narrow = without_channels(model, keep)
    np.testing.assert_allclose(narrow(IMAGES), with_zeroed_channels(model, keep)(IMAGES), atol=1e-5)
    assert narrow.count_params() < 0.6 * model.count_params()


def test_channels_that_are_added_or_multiplied_go_together():
    model = network()
    channels = channel_dependencies.trace(programs.record(model))
    group, fixed, layers = channels.group, channels.fixed, {each.layer.name: each for each in channels.layers}
    np.testing.assert_array_equal(group[layers["residual"].outputs], group[layers["residual"].inputs])
    joined = np.concatenate([layers["conv"].outputs, layers["side"].outputs])  # the last "conv", inside the block
    np.testing.assert_array_equal(group[layers["gate"].outputs], group[joined])
    np.testing.assert_array_equal(group[layers["hidden"].inputs], np.tile(group[joined], 16))
    assert fixed[layers["logits"].outputs].all()
    assert not fixed[layers["hidden"].outputs].any()


def test_multiply_adds_are_counted_layer_by_layer():
    full = 8 * 8 * 9 * (3 * 12 + 12 * 12)
    inner = 8 * 8 * 12 * 9 + 4 * 4 * 12 * (9 + 10) + 8 * 8 * 12 * 6
    assert compress.multiply_adds(network()) == full + inner + 16 * 16 + 256 * 20 + 20 * 4


@pytest.mark.parametrize("fraction", [0.5, pytest.param(0.2, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_prune_channels_reaches_its_multiply_adds_and_leaves_the_model_alone(fraction, tmp_path):
    model = network()
    before = [w.copy() for w in model.get_weights()]
    narrow = compress.prune_channels(
        model,
        dataset(),
        multiply_adds_fraction=fraction,
        fine_tuning=FineTuning(epochs=1, loss=LOSS, metrics=["accuracy"]),
    )
    share = compress.multiply_adds(narrow) / compress.multiply_adds(model)
    assert 0.75 * fraction <= share <= fraction
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert narrow.output_shape == model.output_shape
    narrow.save(tmp_path / "narrow.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "narrow.keras")(IMAGES), narrow(IMAGES))


def test_the_channels_go_that_the_loss_would_miss_least():
    images = keras.Input((8, 8, 3))
    x = KINDS.Conv2D(8, 3, activation="relu", name="conv")(images)
    model = keras.Model(images, KINDS.Dense(4, name="logits")(KINDS.GlobalAveragePooling2D()(x)))
    kernel, bias = model.get_layer("logits").get_weights()
    kernel[[1, 4, 6]] *= 1e-3
    model.get_layer("logits").set_weights([kernel, bias])
    no_updates = keras.optimizers.SGD(0.0)
    narrow = compress.prune_channels(
        model, dataset(), multiply_adds_fraction=0.63, fine_tuning=FineTuning(epochs=1, loss=LOSS, optimizer=no_updates)
    )
    np.testing.assert_array_equal(
        narrow.get_layer("conv").get_weights()[0], np.delete(model.get_layer("conv").get_weights()[0], [1, 4, 6], -1)
    )
    np.testing.assert_allclose(narrow(IMAGES), model(IMAGES), atol=1e-2)


def test_wide_layers_keep_whole_vectors_and_narrow_ones_stay_where_they_can():
    shares = (0.7, 0.5, 0.01)
    assert [channel_pruning._count(96, share, cut_narrow=False) for share in shares] == [64, 48, 16]
    assert [channel_pruning._count(20, share, cut_narrow=False) for share in shares] == [20, 20, 20]
    assert [channel_pruning._count(20, share, cut_narrow=True) for share in shares] == [14, 10, 1]
    assert channel_pruning._count(96, 0.01, cut_narrow=True) == 1


def test_frozen_layers_and_unknown_ones_keep_their_channels(tmp_path):
    images = keras.Input((8, 8, 3))
    x = KINDS.Conv2D(8, 3, name="frozen", trainable=False)(images)
    x = KINDS.LayerNormalization()(KINDS.Conv2D(8, 3, name="read")(x))
    x = KINDS.Conv2D(8, 3, name="free")(x)
    model = keras.Model(images, KINDS.Dense(4)(KINDS.Flatten()(x)))
    narrow = compress.prune_channels(
        model, dataset(), multiply_adds_fraction=0.9, fine_tuning=FineTuning(epochs=1, loss=LOSS)
    )
    assert [narrow.get_layer(name).filters for name in ("frozen", "read")] == [8, 8]
    assert narrow.get_layer("free").filters < 8
    with pytest.raises(InputError, match="`multiply_adds_fraction` must cover what cannot be removed. Received: 0.1"):
        compress.prune_channels(
            model, dataset(), multiply_adds_fraction=0.1, fine_tuning=FineTuning(epochs=1, loss=LOSS)
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"multiply_adds_fraction": 1.0}, r"`multiply_adds_fraction` must lie in \(0, 1\)"),
        ({"fine_tuning": FineTuning(epochs=0, loss=LOSS)}, "must not be empty"),
        ({"fine_tuning": FineTuning(epochs=1)}, "`loss` must be given"),
        ({"model": keras.Sequential([KINDS.Dense(2)])}, "`model` must be built"),
        (
            {"model": keras.Sequential([keras.Input((None, None, 3)), KINDS.Conv2D(4, 3)])},
            "must take inputs of one size",
        ),
    ],
)
def test_prune_channels_refuses_what_it_cannot_do(change, message):
    arguments = {"model": network(), "dataset": dataset(), "fine_tuning": FineTuning(epochs=1, loss=LOSS), **change}
    with pytest.raises(InputError, match=message):
        compress.prune_channels(arguments.pop("model"), arguments.pop("dataset"), **arguments)


def test_prune_channels_refuses_a_hub_module(tmp_path):
    images = keras.Input((8, 8, 3))
    module = layer.HubLayer(str(testing.saved_model(tmp_path / "module")), trainable=True)
    model = keras.Model(images, KINDS.Dense(4)(module(images)))
    with pytest.raises(InputError, match="cannot lose channels: a SavedModel is a finished graph.*`distill={}`"):
        compress.prune_channels(model, dataset(), fine_tuning=FineTuning(epochs=1, loss=LOSS))


@pytest.mark.parametrize(
    "name",
    [
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("MobileNetV2", "ResNet50V2")),
        *(
            pytest.param(name, marks=pytest.mark.chaos)
            for name in ("MobileNet", "DenseNet121", "EfficientNetB0", "Xception")
        ),
    ],
)
def test_networks_of_keras_applications_lose_channels(name):
    model = models.image_classifier(
        backbones.load(f"keras:{name}", weights="random", image_size=(96, 96)), labels=list("abcd")
    )
    models.unfreeze(model, batch_norm=True)
    channels = channel_dependencies.trace(programs.record(model))
    importance = np.random.default_rng(0).random(len(channels.group))
    narrow = without_channels(model, channel_pruning._channels_to_keep(channels, importance, 0.5))
    assert 0.4 < compress.multiply_adds(narrow) / compress.multiply_adds(model) <= 0.5
    assert narrow.output_shape == (None, 4)
