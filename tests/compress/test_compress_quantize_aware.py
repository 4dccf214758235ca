import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from kerastrain import backbones, compress, data, export, models, testing
from kerastrain.backbones import keras_applications
from kerastrain.compress import basic_layers, simulated_int8, tf_keras_models
from kerastrain.compress.fine_tuning import FineTuning
from kerastrain.errors import InputError
from kerastrain.hub import layer as hub_layer
from kerastrain.layers import labels as model_labels

LOSS = keras.losses.CategoricalCrossentropy(from_logits=True)
KINDS = keras.layers
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3)).astype("float32")


def batch_norm(x, seed=0):
    """Batch norm as after a training, with random statistics and factors."""
    x = (layer := KINDS.BatchNormalization())(x)
    draw = np.random.default_rng(seed).uniform
    layer.set_weights([draw(0.5, 1.5, x.shape[-1]), *draw(-0.3, 0.3, (2, x.shape[-1])), draw(0.5, 1.5, x.shape[-1])])
    return x


def network(**options):
    """Scaling, batch norm after convolutions, a branch, a separable convolution, and four kinds of ReLU."""
    images = keras.Input((16, 16, 3))
    x = KINDS.Rescaling(1 / 127.5, -1.0)(images)
    x = KINDS.ReLU(6.0)(batch_norm(KINDS.Conv2D(8, 3, strides=2, padding="same", use_bias=False, **options)(x)))
    y = KINDS.Activation("relu")(batch_norm(KINDS.DepthwiseConv2D(3, padding="same")(x)))
    y = batch_norm(KINDS.Conv2D(8, 1)(y))
    x = KINDS.MaxPooling2D()(KINDS.Add()([x, y]))
    x = KINDS.SeparableConv2D(12, 3, activation="relu")(x)
    x = KINDS.ReLU()(KINDS.Conv2D(16, 2)(x))
    x = KINDS.Dropout(0.2)(KINDS.GlobalAveragePooling2D()(x))
    return keras.Model(images, model_labels.Labels(list("abcd"), name="labels")(KINDS.Dense(4, name="logits")(x)))


def dataset(count=48):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 16, 16, 3)).astype("float32")
    labels = np.eye(4, dtype="float32")[rng.integers(0, 4, count)]
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(16)


def inner():
    """A nested model with the other layers of image networks."""
    inputs = keras.Input((16, 16, 3))
    x = keras_applications.ReverseChannels()(inputs)
    normalization = KINDS.Normalization(mean=[100.0, 110.0, 120.0], variance=[900.0, 1600.0, 2500.0])
    x = KINDS.ZeroPadding2D(1)(normalization(x))
    x = batch_norm(KINDS.Conv2D(6, 3, use_bias=False)(x))
    x = KINDS.LeakyReLU(0.1)(x)
    squeezed = KINDS.Reshape((1, 1, 6))(KINDS.GlobalAveragePooling2D()(x))
    x = KINDS.Multiply()([x, KINDS.Conv2D(6, 1, activation="sigmoid")(KINDS.Conv2D(3, 1, activation="silu")(squeezed))])
    x = KINDS.Concatenate()([x, KINDS.Conv2D(2, 1, activation="relu6")(x)])
    x = x + KINDS.Conv2D(8, 1, activation="tanh")(x)
    return keras.Model(inputs, KINDS.SpatialDropout2D(0.1)(KINDS.AveragePooling2D(4)(KINDS.Cropping2D(2)(x))))


def nested():
    return keras.Sequential(
        [keras.Input((16, 16, 3)), inner(), KINDS.Permute((2, 1, 3)), KINDS.Flatten(), KINDS.Dense(4), KINDS.Softmax()]
    )


@pytest.mark.slow
@pytest.mark.parametrize("make", [network, nested])
def test_a_plain_model_and_its_twin_in_tf_keras_answer_as_the_model(make):
    model = make()
    flat = basic_layers.plain(model)
    expected = model.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(flat.predict(IMAGES, verbose=0), expected, atol=1e-5 * max(1, np.abs(expected).max()))
    assert not any(isinstance(layer, keras.Model) for layer in flat.layers)
    twin = tf_keras_models.twin(flat, IMAGES)
    np.testing.assert_allclose(twin(IMAGES), expected, atol=1e-5 * max(1, np.abs(expected).max()))
    assert tf.keras.Model is keras.Model  # tf_keras does not replace tf.keras.


def test_twins_that_answer_otherwise_are_refused():
    flat = basic_layers.plain(network())
    twin = tf_keras_models.twin(flat, IMAGES)
    weights = twin.get_weights()
    twin.set_weights([weights[0] * 1.001, *weights[1:]])
    with pytest.raises(
        InputError, match=r"gives other outputs in tf_keras. Received: a difference of \d.*1e-05 is allowed"
    ):
        tf_keras_models.require_equal(flat, twin, IMAGES)


@pytest.mark.slow
def test_the_simulation_holds_the_weights_of_each_layer_in_their_order():
    model = network()
    model.layers[2].trainable = model.layers[3].trainable = False
    flat = basic_layers.plain(model)
    simulation = simulated_int8.simulate(tf_keras_models.twin(flat, IMAGES), per_channel=True)
    for layer in flat.layers:
        simulated = [variable.numpy() for variable in simulation.weights.get(layer.name, [])]
        for weight, expected in zip(simulated, layer.get_weights(), strict=True):
            np.testing.assert_array_equal(weight, expected)
    # Rounding of the input, both parts of the scaling, and each convolution, sum, pooling and dense layer.
    assert len(simulation.ranges) == 12


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(0)
    split = data.digits(image_size=(16, 16), test_fraction=0.2)
    images = keras.Input((16, 16, 3))
    x = KINDS.Rescaling(1 / 127.5, -1.0)(images)
    x = KINDS.ReLU()(KINDS.BatchNormalization()(KINDS.Conv2D(16, 3, strides=2, use_bias=False)(x)))
    x = KINDS.ReLU()(KINDS.BatchNormalization()(KINDS.Conv2D(32, 3, use_bias=False)(x)))
    x = KINDS.Flatten()(KINDS.MaxPooling2D()(x))
    model = keras.Model(images, KINDS.Dense(10)(x))
    model.compile(keras.optimizers.Adam(3e-3), LOSS, metrics=["accuracy"])
    model.fit(data.batches(split.train, 32, shuffle=True, epochs=4), shuffle=False, verbose=0)
    return model, split


def batches(split, epochs=2):
    return data.batches(split.train, 32, shuffle=True, epochs=epochs, seed=1)


def tensors(path):
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(
        model_path=str(path), experimental_op_resolver_type=plain, experimental_preserve_all_tensors=True
    )
    interpreter.allocate_tensors()
    return [(details, interpreter.get_tensor(details["index"])) for details in interpreter.get_tensor_details()]


@pytest.mark.slow
def test_quantize_aware_loses_little_and_its_file_answers_as_it_predicts(trained, tmp_path):
    model, split = trained
    before = [w.copy() for w in model.get_weights()]
    quantized = compress.quantize_aware(model, batches(split), fine_tuning=FineTuning(epochs=1, metrics=["accuracy"]))
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    test = data.batches(split.test, 64)
    assert quantized.evaluate(test, verbose=0)[1] >= model.evaluate(test, verbose=0)[1] - 0.003
    quantized.save(tmp_path / "quantized.keras")
    loaded = models.load(tmp_path / "quantized.keras")
    parity = export.tflite(loaded, tmp_path / "a.tflite", quantize="int8", samples=split.test, labels=split.labels)
    assert parity.agreement > 0.99  # Two outputs that differ by a step may swap ranks.
    assert {details["dtype"] for details, _ in tensors(tmp_path / "a.tflite")} <= {np.int8, np.uint8, np.int32}
    outputs = export.litert.run(tmp_path / "a.tflite", split.test.read(np.arange(64)))
    steps = 2 * next(layer for layer in loaded.layers[::-1] if hasattr(layer, "high")).high / 255 * 2
    assert np.abs(outputs - loaded.predict(data.batches(split.test, 64), verbose=0)[:64]).max() <= steps


@pytest.mark.slow
def test_quantize_aware_keeps_zeros_and_clusters_to_the_integers_of_the_file(trained, tmp_path):
    model, split = trained
    pruned = compress.prune(model, batches(split, 1), fraction=0.6, fine_tuning=FineTuning(epochs=1))
    clustered = compress.cluster(pruned, batches(split, 1), clusters=16, fine_tuning=FineTuning(epochs=1))
    quantized = compress.quantize_aware(clustered, batches(split, 1), fine_tuning=FineTuning(epochs=1))
    assert compress.sparsity(quantized).zeros == compress.sparsity(pruned).zeros
    assert set(compress.distinct_values(quantized).values()) == {16}
    export.tflite(quantized, tmp_path / "a.tflite", quantize="int8", samples=split.test)
    kernels = [
        values for _, values in tensors(tmp_path / "a.tflite") if values.dtype == np.int8 and values.ndim in (2, 4)
    ]
    kernels = [values for values in kernels if values.shape[0] in (10, 16, 32)]
    assert [len(np.unique(values)) <= 16 for values in kernels] == [True] * 3
    assert sum(int(np.sum(values == 0)) for values in kernels) >= compress.sparsity(pruned).zeros


@pytest.mark.slow
def test_quantize_aware_keeps_the_zeros_of_a_pruned_model(trained):
    model, split = trained
    pruned = compress.prune(model, batches(split, 1), fraction=0.8, fine_tuning=FineTuning(epochs=1))
    quantized = compress.quantize_aware(pruned, batches(split, 1), fine_tuning=FineTuning(epochs=1, learning_rate=1e-3))
    assert compress.sparsity(quantized).fraction == compress.sparsity(pruned).fraction
    assert np.abs(quantized.get_weights()[0] - pruned.get_weights()[0]).max() > 1e-4


@pytest.mark.slow
def test_quantize_aware_starts_from_the_ranges_of_the_data():
    model = network()
    quantized = compress.quantize_aware(
        model, dataset(), fine_tuning=FineTuning(epochs=1, loss=LOSS, learning_rate=1e-9)
    )
    flat = basic_layers.plain(model)
    sums = keras.Model(flat.input, flat.get_layer("add").output)
    values = [sums(batch, training=False).numpy() for batch, _ in dataset()]
    layer = quantized.get_layer("add_rounded")
    assert layer.low == pytest.approx(np.mean([batch.min() for batch in values]), rel=0.02)
    assert layer.high == pytest.approx(np.mean([batch.max() for batch in values]), rel=0.02)
    inputs = quantized.get_layer("inputs_rounded")
    assert (inputs.low, inputs.high) == (0, 255)


@pytest.mark.slow
def test_quantize_aware_takes_a_model_whose_answers_are_all_negative(tmp_path):
    model = network()
    model.get_layer("logits").bias.assign([-900.0, -901.0, -902.0, -903.0])
    quantized = compress.quantize_aware(
        model, dataset(), fine_tuning=FineTuning(epochs=1, learning_rate=1e-6, loss=LOSS)
    )
    np.testing.assert_allclose(quantized.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0), atol=8)


@pytest.mark.slow
def test_quantize_aware_leaves_frozen_layers_and_counts_regularizers():
    model = network(kernel_regularizer=keras.regularizers.L2(1.0))
    for layer in model.layers[4:]:
        layer.trainable = False
    quantized = compress.quantize_aware(
        model,
        dataset(),
        fine_tuning=FineTuning(epochs=2, loss=LOSS, optimizer=keras.optimizers.SGD(0.05, momentum=0.0)),
    )
    before, after = basic_layers.plain(model), quantized
    first = np.linalg.norm(before.get_layer("conv2d").get_weights()[0])
    assert np.linalg.norm(after.get_layer("conv2d").get_weights()[0]) < 0.7 * first  # L2 alone: (1 - 0.05 * 2) ** 6
    for name in ("conv2d_1", "batch_normalization_1", "separable_conv2d", "logits"):
        for old, new in zip(before.get_layer(name).get_weights(), after.get_layer(name).get_weights(), strict=True):
            np.testing.assert_array_equal(new, old)


@pytest.mark.slow
def test_a_model_of_quantize_aware_is_exported_as_int8_alone(trained, tmp_path):
    model, split = trained
    quantized = compress.quantize_aware(model, batches(split, 1).take(2), fine_tuning=FineTuning(epochs=1))
    with pytest.raises(
        InputError, match='`quantize` must be "int8" for a model that was trained for it. Received: None'
    ):
        export.tflite(quantized, tmp_path / "a.tflite", samples=split.test)


def preactivated():
    images = keras.Input((16, 16, 3))
    x = KINDS.ReLU()(KINDS.BatchNormalization(name="first")(KINDS.MaxPooling2D()(images)))
    return keras.Model(images, KINDS.Dense(4)(KINDS.GlobalAveragePooling2D()(x)))


def with_layer(layer):
    images = keras.Input((16, 16, 3))
    return keras.Model(images, KINDS.Dense(4)(KINDS.Flatten()(layer(images))))


def shared_layer():
    images, layer = keras.Input((16, 16, 3)), KINDS.Conv2D(3, 3, padding="same", name="twice")
    return keras.Model(images, KINDS.Dense(4)(KINDS.Flatten()(layer(layer(images)))))


def two_outputs():
    model = network()
    return keras.Model(model.input, [model.output, model.layers[5].output])


def frozen():
    model = network()
    model.trainable = False
    return model


class Subclass(keras.Model):
    def call(self, inputs):
        return inputs


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            preactivated,
            r"layer 'first' \(keras.BatchNormalization\) cannot be trained for int8: batch norm becomes part",
        ),
        (lambda: with_layer(KINDS.LayerNormalization(name="norm")), "layer 'norm' .*no rule for it. Quantize after"),
        (
            lambda: with_layer(KINDS.Conv2D(3, 3, activation="gelu", name="c")),
            "layer 'c' .*its activation 'gelu' has no int8",
        ),
        (lambda: with_layer(lambda x: keras.ops.sqrt(x)), "layer 'sqrt.*operation outside of any layer"),
        (shared_layer, "layer 'twice' .*called more than once"),
        (two_outputs, "`model` must have one input and one output. Received: .* with 1 and 2"),
        (frozen, "`model` must have something to train. Received: .*all frozen"),
        (Subclass, "`model` must be a functional model"),
        (lambda: keras.Sequential([KINDS.Dense(2)]), "`model` must be a functional model, or a Sequential one with"),
    ],
)
def test_quantize_aware_refuses_what_it_cannot_carry(make, message):
    with pytest.raises(InputError, match=message):
        compress.quantize_aware(make(), dataset(), fine_tuning=FineTuning(epochs=1, loss=LOSS))


def test_quantize_aware_refuses_a_hub_module_and_names_the_alternative(tmp_path):
    images = keras.Input((16, 16, 3))
    module = hub_layer.HubLayer(str(testing.saved_model(tmp_path / "module")), trainable=True, name="backbone")
    model = keras.Model(images, KINDS.Dense(4)(module(images)))
    with pytest.raises(
        InputError, match=r"layer 'backbone' \(kerastrain.HubLayer\).*finished graph.*Quantize after training"
    ):
        compress.quantize_aware(model, dataset(), fine_tuning=FineTuning(epochs=1, loss=LOSS))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fine_tuning": FineTuning(epochs=0, loss=LOSS)}, "must not be empty"),
        ({"fine_tuning": FineTuning(epochs=1)}, "`loss` must be given"),
        ({"dataset": dataset().repeat()}, "`dataset` must have a known, finite length"),
    ],
)
def test_quantize_aware_refuses_options_out_of_range(change, message):
    arguments = {"model": network(), "dataset": dataset(), "fine_tuning": FineTuning(epochs=1, loss=LOSS), **change}
    with pytest.raises(InputError, match=message):
        compress.quantize_aware(arguments.pop("model"), arguments.pop("dataset"), **arguments)


def test_quantize_aware_refuses_several_devices():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.HierarchicalCopyAllReduce())
    with strategy.scope(), pytest.raises(InputError, match="`quantize_aware` trains on one device"):
        compress.quantize_aware(network(), dataset(), fine_tuning=FineTuning(epochs=1, loss=LOSS))


# For each network, the variance of all batch norms with which random weights give logits near 1.
NETWORKS = {"EfficientNetB0": 0.65, "MobileNet": 0.02, "MobileNetV2": 0.03, "ResNet50": 1, "VGG16": 1, "Xception": 0.03}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name.endswith("V2") else pytest.mark.chaos) for name in NETWORKS],
)
def test_networks_of_keras_applications_have_twins(name):
    model = models.image_classifier(
        backbones.load(f"keras:{name}", weights="random", image_size=(96, 96)), labels=list("abcd")
    )
    for variable in model.variables:
        if "moving_variance" in variable.path:
            variable.assign(np.full(variable.shape, NETWORKS[name], "float32"))
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3)).astype("float32")
    outputs = tf_keras_models.twin(basic_layers.plain(model), images)(images).numpy()
    assert np.abs(outputs).max() > 1e-3
    np.testing.assert_allclose(outputs, model(images), atol=1e-5 * max(1, np.abs(outputs).max()))
