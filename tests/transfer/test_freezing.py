import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import backbones, models, optimizers, testing
from kerastrain.errors import InputError
from kerastrain.hub.layer import HubLayer

IMAGES = np.random.default_rng(0).uniform(0, 255, (8, 32, 32, 3)).astype("float32")
TARGETS = np.eye(2, dtype="float32")[np.arange(8) % 2]


def small_backbone():
    inputs = keras.Input((32, 32, 3))
    values = inputs
    for index in range(3):
        values = keras.layers.Conv2D(4, 3, strides=2, name=f"conv_{index}")(values)
        values = keras.layers.BatchNormalization(name=f"norm_{index}")(values)
        values = keras.layers.ReLU()(values)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(values), name="small")


def classifier():
    return models.image_classifier(small_backbone(), labels=["a", "b"])


def trained_layers(model):
    return sorted({variable.path.split("/")[-2] for variable in model.trainable_variables})


def fit(model, **options):
    return model.fit(IMAGES, TARGETS, batch_size=8, verbose=0, **options)


def test_a_new_classifier_trains_its_head_alone():
    assert trained_layers(classifier()) == ["logits"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["conv_0", "conv_1", "conv_2", "logits"]),
        ({"batch_norm": True}, ["conv_0", "conv_1", "conv_2", "logits", "norm_0", "norm_1", "norm_2"]),
        ({"last": 2}, ["conv_2", "logits"]),
        ({"last": 0}, ["logits"]),
        ({"from_layer": "conv_1"}, ["conv_1", "conv_2", "logits"]),
    ],
)
def test_unfreeze_lets_the_named_layers_train(options, expected):
    model = classifier()
    models.unfreeze(model, **options)
    assert trained_layers(model) == expected
    models.freeze(model)
    assert trained_layers(model) == ["logits"]


def test_a_layer_that_trains_inside_a_frozen_backbone_freezes():
    model = classifier()
    model.get_layer("backbone").get_layer("small").get_layer("conv_1").trainable = True
    assert trained_layers(model) == ["conv_1", "logits"]
    models.freeze(model)
    assert trained_layers(model) == ["logits"]


def test_batch_norm_is_still_after_unfreezing_unless_asked():
    for batch_norm in (False, True):
        model = classifier()
        models.unfreeze(model, batch_norm=batch_norm)
        model.compile("sgd", models.loss(model))
        before = model.get_layer("backbone").get_weights()
        fit(model)
        moved = [
            not np.array_equal(*pair) for pair in zip(before, model.get_layer("backbone").get_weights(), strict=True)
        ]
        statistics = [variable.name.startswith("moving") for variable in model.get_layer("backbone").weights]
        assert any(np.array(moved) & np.array(statistics)) == batch_norm


def test_a_plain_model_freezes_before_a_layer():
    model = small_backbone()
    models.freeze(model, before="conv_2")
    assert trained_layers(model) == ["conv_2", "norm_2"]
    models.unfreeze(model, last=1, batch_norm=True)
    assert trained_layers(model) == ["norm_2"]


def test_a_module_unfreezes_as_a_whole_with_still_statistics(tmp_path):
    folder = testing.saved_model(tmp_path / "module", image_size=(32, 32))
    model = models.image_classifier(folder, labels=["a", "b"])
    models.unfreeze(model)
    layer = model.get_layer("backbone")
    assert (layer.trainable, layer.freeze_batch_norm_statistics) == (True, True)
    with pytest.raises(InputError, match="as a whole or not at all"):
        models.unfreeze(model, last=2)
    signature = backbones.load(folder, signature="serving_default", output_key="features")
    model = models.image_classifier(signature, labels=["a", "b"])
    with pytest.raises(InputError, match="a signature cannot be trained"):
        models.unfreeze(model)
    models.unfreeze(model, last=0)
    assert trained_layers(model) == ["logits"]


@pytest.mark.parametrize(
    ("act", "match"),
    [
        (lambda model: models.unfreeze(model, last=1, from_layer="conv_1"), "either `last` or `from_layer`"),
        (lambda model: models.unfreeze(model, from_layer="conf_1"), "Did you mean 'conv_1'"),
        (lambda model: models.unfreeze(model, last=7, batch_norm=True), "`last` must be at most 6"),
        (lambda model: models.freeze(model, before="logit"), "Did you mean 'logits'"),
        (lambda model: models.freeze(keras.Sequential([keras.Input((3,))])), "no layer with weights that could be its"),
        (lambda model: models.layer_rates(model, 0), "must lie in"),
        (lambda model: models.GradualUnfreezing({}), "must map epochs"),
        (lambda model: models.GradualUnfreezing({0: 0}), "must map epochs"),
    ],
)
def test_a_part_that_is_not_there_is_named(act, match):
    with pytest.raises(InputError, match=match):
        act(classifier())


def test_layer_rates_fall_from_the_head_to_the_inputs():
    model = classifier()
    models.unfreeze(model)
    rates = models.layer_rates(model, 0.5)
    model.compile(optimizers.make("sgd", 0.1, layer_rates=rates), models.loss(model))
    plain = classifier()
    plain.set_weights(model.get_weights())
    models.unfreeze(plain)
    plain.compile(optimizers.make("sgd", 0.1), models.loss(plain))
    before = {variable.path: variable.numpy() for variable in model.trainable_variables}
    for classifier_model in (model, plain):
        classifier_model.get_layer("dropout").rate = 0.0
        fit(classifier_model)
    factors = {"conv_0": 0.125, "conv_1": 0.25, "conv_2": 0.5, "logits": 1.0}
    for ours, theirs in zip(model.trainable_variables, plain.trainable_variables, strict=True):
        start = before[ours.path]
        expected = start + factors[ours.path.split("/")[-2]] * (theirs.numpy() - start)
        np.testing.assert_allclose(ours.numpy(), expected, atol=1e-6)


@pytest.mark.slow
def test_gradual_unfreezing_trains_each_layer_from_its_epoch_on():
    model = classifier()
    model.compile(optimizers.make("adam", 0.01), models.loss(model))
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.before = {v.path: v.numpy() for v in model.variables}

        def on_epoch_end(self, epoch, logs=None):
            moved = {
                v.path.split("/")[-2] for v in model.variables if not np.array_equal(v.numpy(), self.before[v.path])
            }
            seen.append(sorted(name for name in moved if name.startswith(("conv", "logits", "norm"))))

    fit(model, epochs=4, callbacks=[models.GradualUnfreezing({1: 2, 3: None}), Watch()])
    assert seen == [["logits"], ["conv_2", "logits"], ["conv_2", "logits"], ["conv_0", "conv_1", "conv_2", "logits"]]
    resumed = classifier()
    resumed.compile(optimizers.make("adam", 0.01), models.loss(resumed))
    fit(resumed, initial_epoch=2, epochs=3, callbacks=[models.GradualUnfreezing({1: 2, 3: None})])
    assert trained_layers(resumed) == ["conv_2", "logits"]


def test_gradual_unfreezing_refuses_an_optimizer_made_for_less():
    model = classifier()
    model.compile("adam", models.loss(model))
    fit(model)
    with pytest.raises(InputError, match="compile the model with a new optimizer"):
        fit(model, callbacks=[models.GradualUnfreezing({0: None})])


def plain(nested):
    """A model that kerastrain did not build: nested as in Keras's guide to fine-tuning, or one flat stack."""
    values = inputs = keras.Input((32, 32, 3))
    if nested:
        values = small_backbone()(values)
    else:
        for layer in small_backbone().layers[1:]:
            values = layer(values)
    values = keras.layers.Dense(2, name="answers")(values)
    return keras.Model(inputs, keras.layers.BatchNormalization(name="norm_last")(values), name="plain")


@pytest.mark.parametrize("nested", [False, True])
def test_a_plain_model_freezes_all_but_its_last_layer_with_weights(nested):
    model = plain(nested)
    models.freeze(model)
    assert trained_layers(model) == ["answers", "norm_last"]
    model.compile("sgd", "mse")
    before = {variable.path: variable.numpy() for variable in model.variables}
    fit(model)
    moved = {v.path.split("/")[-2] for v in model.variables if not np.array_equal(v.numpy(), before[v.path])}
    assert moved - {"norm_last"} == {"answers"}


@pytest.mark.parametrize("nested", [False, True])
def test_layer_rates_of_a_plain_model_fall_from_its_last_layer(nested):
    model = plain(nested)
    rates = {pattern.strip("^$").split("/")[-2]: rate for pattern, rate in models.layer_rates(model, 0.5).items()}
    convolutions = {"conv_2": 0.5, "conv_1": 0.25, "conv_0": 0.125}
    assert {name: rate for name, rate in rates.items() if name.startswith("conv")} == convolutions
    assert not {"answers", "norm_last"} & set(rates)
    model.compile(optimizers.make("sgd", 0.1, layer_rates=models.layer_rates(model, 0.5)), "mse")
    fit(model)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.slow
def test_gradual_unfreezing_works_on_a_plain_model(nested):
    model, seen = plain(nested), []
    model.compile(keras.optimizers.Adam(0.01), "mse")
    record = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(trained_layers(model)))
    fit(model, epochs=3, callbacks=[models.GradualUnfreezing({1: 4, 2: None}), record])
    assert seen == [["answers", "norm_last"], ["answers", "conv_2"], ["answers", "conv_0", "conv_1", "conv_2"]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"last": 0}, "unfreezing last=0 of 'backbone' trains nothing: no layer with weights is among them"),
        (
            {"last": 1},
            "unfreezing last=1 of 'backbone' trains nothing: they are batch norm, which stays frozen with batch_norm=False",
        ),
        (
            {"from_layer": "pooled"},
            "unfreezing from_layer='pooled' of 'backbone' trains nothing: no layer with weights is among them",
        ),
        ({"from_layer": "relu_1"}, None),
    ],
)
def test_unfreezing_layers_that_have_nothing_to_train_warns(options, message, caplog):
    inputs = keras.Input((8, 8, 3))
    values = inputs
    for index in range(3):
        values = keras.layers.Conv2D(4, 3, padding="same", name=f"conv_{index}")(values)
        values = keras.layers.BatchNormalization(name=f"norm_{index}")(values)
        values = keras.layers.ReLU(name=f"relu_{index}")(values)
    network = keras.Model(inputs, keras.layers.GlobalAveragePooling2D(name="pooled")(values))
    model = models.image_classifier(network, labels=["a", "b"])
    caplog.clear()
    models.unfreeze(model, **options)
    assert [record.getMessage() for record in caplog.records] == ([message] if message else [])
    assert trained_layers(model) == (["logits"] if message else ["conv_2", "logits"])


def test_a_module_without_trainable_variables_warns(tmp_path, caplog):
    module = tf.Module()
    module.__call__ = tf.function(lambda images: tf.reduce_mean(images / 255, [1, 2]))
    module.__call__.get_concrete_function(tf.TensorSpec((None, None, None, 3)))
    tf.saved_model.save(module, str(tmp_path / "module"))
    HubLayer(tmp_path / "module", trainable=True, name="mean")
    model = models.image_classifier(tmp_path / "module", labels=["a", "b"])
    models.unfreeze(model)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "the Hub module 'mean' has no trainable variables: trainable=True has no effect",
        "the Hub module 'backbone' has no trainable variables: unfreezing it trains nothing",
    ]
