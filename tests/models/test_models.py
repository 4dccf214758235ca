import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import backbones, models, testing
from kerastrain.errors import InputError

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3)).astype("uint8")
LABELS = np.eye(3, dtype="float32")[np.arange(6) % 3]
TEXTS = ["a good film", "a bad film", "good", "bad and long", "", "what a film"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return testing.saved_model(tmp_path_factory.mktemp("modules") / "images", features=4, l2=0.01)


def tiny():
    inputs = keras.Input((32, 32, 3))
    maps = keras.layers.Conv2D(4, 3, strides=4, activation="relu")(inputs)
    return keras.Model(inputs, maps, name="tiny")


def image_classifier(backbone, **options):
    return models.image_classifier(backbone, labels=["a", "b", "c"], **options)


BUILDERS = {
    "image, module": lambda folder: (image_classifier(folder, image_size=(32, 32)), IMAGES.astype("float32")),
    "image, model": lambda folder: (
        image_classifier(tiny(), hidden_units=(5,), batch_norm=True),
        IMAGES.astype("float32"),
    ),
    "image, many labels": lambda folder: (image_classifier(tiny(), multi_label=True), IMAGES.astype("float32")),
    "regressor": lambda folder: (
        models.image_regressor(tiny(), labels=["x", "y", "z"], mean=[1.0, 2.0, 3.0], stddev=2.0),
        IMAGES.astype("float32"),
    ),
    "text, embedding": lambda folder: (
        models.text_classifier("keras:embedding", labels=["a", "b", "c"], texts=TEXTS, vocabulary_size=20),
        tf.constant(TEXTS),
    ),
    "text, transformer": lambda folder: (
        models.text_classifier(
            "keras:transformer", labels=["a", "b", "c"], texts=TEXTS, vocabulary_size=20, num_layers=1
        ),
        tf.constant(TEXTS),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILDERS)
def test_a_builder_keeps_its_promises(name, folder, tmp_path):
    model, inputs = BUILDERS[name](folder)
    expected = model.predict(inputs, verbose=0)
    assert expected.dtype == np.float32
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(model(inputs), expected, atol=1e-5)
    model.save(tmp_path / "model.keras")
    back = models.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(back.predict(inputs, verbose=0), expected)
    rebuilt = model.__class__.from_config(model.get_config())
    assert rebuilt.count_params() == model.count_params()
    model.export(str(tmp_path / "exported"), verbose=False)
    exported = tf.saved_model.load(str(tmp_path / "exported"))
    np.testing.assert_allclose(exported.serve(inputs), expected, atol=1e-5)
    features, head = models.split_at_backbone(model)
    np.testing.assert_allclose(head.predict(features.predict(inputs, verbose=0), verbose=0), expected, atol=1e-5)
    model.compile("adam", "mse")
    model.fit(inputs, tf.constant(LABELS), batch_size=3, verbose=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILDERS)
def test_a_builder_gives_float32_under_bfloat16(name, folder):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model, inputs = BUILDERS[name](folder)
        outputs = model.predict(inputs, verbose=0)
    finally:
        keras.config.set_dtype_policy(before)
    assert outputs.dtype == np.float32
    assert np.isfinite(outputs).all()


def test_logits_follow_the_formula(folder):
    model = image_classifier(folder, image_size=(32, 32))
    module = tf.saved_model.load(str(folder))
    kernel, bias = model.get_layer("logits").get_weights()
    expected = module(IMAGES.astype("float32") / 255).numpy() @ kernel + bias
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), expected, atol=1e-5)


def test_a_regressor_answers_in_the_targets_unit():
    model = models.image_regressor(tiny(), mean=40.0, stddev=10.0)
    model.get_layer("outputs").set_weights([np.zeros((4, 1)), np.array([0.5])])
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), np.full((6, 1), 45.0), atol=1e-5)


def test_penalties_count_the_heads_kernels_alone():
    model = image_classifier(tiny(), hidden_units=(5,), l1=0.1, l2=0.01)
    kernels = [model.get_layer(name).kernel.numpy() for name in ("hidden_0", "logits")]
    expected = sum(0.1 * np.abs(kernel).sum() + 0.01 * np.square(kernel).sum() for kernel in kernels)
    np.testing.assert_allclose(sum(model.losses), expected, rtol=1e-5)


def test_label_smoothing_is_in_the_loss():
    logits, target = np.array([[2.0, 0.0, -1.0]], "float32"), np.array([[1.0, 0.0, 0.0]], "float32")
    probabilities = np.exp(logits) / np.exp(logits).sum()
    expected = -(np.array([0.9 + 0.1 / 3, 0.1 / 3, 0.1 / 3]) * np.log(probabilities)).sum()
    model = image_classifier(tiny())
    np.testing.assert_allclose(models.loss(model, label_smoothing=0.1)(target, logits), expected, rtol=1e-5)
    many = models.loss(image_classifier(tiny(), multi_label=True))(target, logits)
    sigmoid = 1 / (1 + np.exp(-logits))
    expected = -(target * np.log(sigmoid) + (1 - target) * np.log(1 - sigmoid)).mean()
    np.testing.assert_allclose(many, expected, rtol=1e-5)


def test_the_loss_of_a_regressor_is_in_the_targets_deviations():
    targets, numbers = np.array([[10.0, 1.0], [20.0, 3.0]], "float32"), np.array([[14.0, 1.5], [20.0, 2.0]], "float32")
    model = models.image_regressor(tiny(), labels=["a", "b"], stddev=[4.0, 0.5])
    expected = np.mean([[1.0, 1.0], [0.0, 4.0]])
    np.testing.assert_allclose(models.loss(model)(targets, numbers), expected, rtol=1e-6)
    again = keras.losses.deserialize(keras.losses.serialize(models.loss(model)))
    np.testing.assert_allclose(again(targets, numbers), expected, rtol=1e-6)
    weights = np.array([1.0, 3.0], "float32")
    np.testing.assert_allclose(models.loss(model)(targets, numbers, weights), (1 * 1.0 + 3 * 2.0) / 2, rtol=1e-6)
    with pytest.raises(InputError, match="`label_smoothing` must be 0 for a regressor. Received: 0.1"):
        models.loss(model, label_smoothing=0.1)


@pytest.mark.parametrize("task", ["single_label", "multi_label", "regression"])
def test_data_with_other_labels_than_the_model_is_one_sentence(task, tmp_path):
    model = models.image_regressor(tiny(), labels=["a", "b", "c"])
    if task != "regression":
        model = image_classifier(tiny(), multi_label=task == "multi_label")
    model.compile("sgd", models.loss(model), metrics=["mse"])
    model.save(tmp_path / "model.keras")
    ten = np.eye(10, dtype="float32")[:6]
    for compiled in (model, models.load(tmp_path / "model.keras")):
        for act in (compiled.fit, compiled.evaluate):
            compiled.compile("sgd", compiled.loss, metrics=["mse"])
            with pytest.raises(InputError, match=r"^the data has 10 labels, the model 3\. Build the model with"):
                act(IMAGES.astype("float32"), ten, verbose=0)


def test_labels_travel_with_the_model():
    model = image_classifier(tiny())
    assert models.labels(model) == ("a", "b", "c")
    assert models.task(model) == "single_label"
    assert models.task(image_classifier(tiny(), multi_label=True)) == "multi_label"
    ages = models.image_regressor(tiny(), labels=["age", "height"], stddev=[2.0, 5.0])
    assert (models.labels(ages), models.task(ages)) == (("age", "height"), "regression")
    models.check_labels(model, ["a", "b", "c"])
    with pytest.raises(InputError, match="has d, unknown to the model; it lacks b, c"):
        models.check_labels(model, ["a", "d"])
    with pytest.raises(InputError, match="in another order"):
        models.check_labels(model, ["b", "a", "c"])
    with pytest.raises(InputError, match="has no labels"):
        models.labels(tiny())


def test_a_hub_text_module_classifies_strings(tmp_path):
    folder = testing.text_saved_model(tmp_path / "text", words=["good", "bad"], size=3)
    model = models.text_classifier(folder, labels=["no", "yes"])
    table = tf.saved_model.load(str(folder)).embeddings.numpy()
    kernel, bias = model.get_layer("logits").get_weights()
    np.testing.assert_allclose(model.predict(tf.constant(["bad"]), verbose=0), table[1:2] @ kernel + bias, atol=1e-5)


def test_a_model_from_strings_to_features_is_a_text_backbone_and_one_of_images_is_none():
    strings = keras.Input((), dtype="string")
    tokens = keras.layers.TextVectorization(vocabulary=["good", "bad"], output_sequence_length=3)(strings)
    own = keras.Model(strings, keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(4, 5)(tokens)))
    model = models.text_classifier(own, labels=["no", "yes"])
    assert [weight.path for weight in model.trainable_weights] == ["logits/kernel", "logits/bias"]
    kernel, bias = model.get_layer("logits").get_weights()
    expected = own(tf.constant(["bad"])).numpy() @ kernel + bias
    np.testing.assert_allclose(model.predict(tf.constant(["bad"]), verbose=0), expected, atol=1e-6)
    with pytest.raises(InputError, match="the model 'tiny' takes no texts, which are strings"):
        models.text_classifier(tiny(), labels=["no", "yes"])


@pytest.mark.parametrize("name", ["keras:embedding", pytest.param("keras:transformer", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_a_text_classifier_learns_which_word_matters(name):
    texts = [
        f"{a} {word} {b}" for word in ("good", "bad") for a in ("a", "the", "one") for b in ("film", "book", "play")
    ]
    targets = np.eye(2, dtype="float32")[np.repeat([1, 0], 9)]
    sizes = {"embedding_dim": 16, "sequence_length": 8, "num_layers": 1}
    model = models.text_classifier(name, labels=["no", "yes"], texts=texts, dropout=0.0, **sizes)
    model.compile(keras.optimizers.Adam(0.02), models.loss(model), metrics=["accuracy"])
    model.fit(tf.constant(texts), tf.constant(targets), epochs=15, verbose=0)
    assert model.evaluate(tf.constant(texts), tf.constant(targets), verbose=0)[1] == 1.0


@pytest.mark.parametrize(
    ("build", "error", "match"),
    [
        (lambda: models.image_classifier(tiny(), labels=["a"]), InputError, "at least two labels"),
        (lambda: models.image_classifier(tiny(), labels=["a", "a"]), InputError, "Received twice: a"),
        (lambda: models.image_classifier(tiny(), labels="ab"), TypeError, "must be a sequence of str"),
        (lambda: image_classifier(tiny(), dropout=1.0), InputError, "`dropout` must lie in"),
        (lambda: image_classifier(tiny(), l2=-1.0), InputError, "`l2` must be at least 0"),
        (lambda: image_classifier(tiny(), hidden_units=(0,)), InputError, "whole numbers above 0"),
        (lambda: image_classifier(tiny(), image_size=(64, 64)), InputError, "32 by 32 pixels only"),
        (lambda: image_classifier(backbones.load(tiny()), image_size=(8, 8)), InputError, "was loaded for images"),
        (lambda: models.image_regressor(tiny(), labels=[]), InputError, "a model needs at least one label"),
        (lambda: models.image_regressor(tiny(), stddev=0.0), InputError, "must be above 0"),
        (lambda: models.image_regressor(tiny(), labels=["a", "b"], mean=[1, 2, 3]), InputError, "or 2, one for each"),
        (lambda: image_classifier(tiny(), drop_out=0.1), TypeError, "image_classifier: 'drop_out'.*mean 'dropout'"),
        (lambda: image_classifier(tiny(), multilabel=True), TypeError, "Did you mean 'multi_label'"),
        (lambda: models.text_classifier(labels=["a", "b"]), InputError, "set `texts`"),
        (lambda: models.text_classifier(labels=["a", "b"], texts=[" "]), InputError, "Received: no word"),
        (lambda: models.text_classifier("keras:embeding", labels=["a", "b"]), InputError, "Did you mean 'embedding'"),
        (lambda: models.loss(image_classifier(tiny()), label_smoothing=1), InputError, "`label_smoothing` must lie"),
    ],
)
def test_a_wrong_argument_is_named(build, error, match):
    with pytest.raises(error, match=match):
        build()


def test_a_text_module_refuses_images_and_an_image_module_texts(folder, tmp_path):
    text = testing.text_saved_model(tmp_path / "text", words=["good"])
    with pytest.raises(InputError, match="takes no images"):
        image_classifier(text)
    with pytest.raises(InputError, match="takes no texts"):
        models.text_classifier(folder, labels=["a", "b"])


def test_load_says_what_is_wrong_with_a_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        models.load(tmp_path / "model.keras")
    (tmp_path / "model.keras").write_text("no model")
    with pytest.raises(InputError, match="is damaged or not a zip archive, which a .keras file must be"):
        models.load(tmp_path / "model.keras")


def test_a_model_whose_layers_do_not_follow_one_another_is_not_divided():
    inputs = keras.Input((4,))
    features = keras.layers.Dense(3, name="backbone")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Concatenate()([inputs, features])), name="own")
    with pytest.raises(InputError, match="Received: 'own', which is connected otherwise"):
        models.split_at_backbone(model)
    with pytest.raises(InputError, match="no layer named 'backbone'"):
        models.split_at_backbone(keras.Sequential([inputs, keras.layers.Dense(2)]))
