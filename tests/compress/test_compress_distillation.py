import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import compress, data, testing
from kerastrain.compress import distillation, distillation_loss
from kerastrain.compress.fine_tuning import FineTuning
from kerastrain.errors import InputError
from kerastrain.hub import layer
from kerastrain.train_step import keras_trainer

LOSS = keras.losses.CategoricalCrossentropy(from_logits=True)
KINDS = keras.layers


def teacher(activation=None, outputs=3, channels=8):
    """A network with dropout and batch norm, which must run in inference mode, and a nested model with feature maps."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((6, 6, 2))
    x = KINDS.Conv2D(channels, 3, activation="relu", name="maps")(inputs)
    inner = keras.Model(inputs, KINDS.BatchNormalization()(KINDS.Dropout(0.5)(x)), name="backbone")
    images = keras.Input((6, 6, 2))
    x = KINDS.GlobalAveragePooling2D(name="pooled")(inner(images))
    return keras.Model(images, KINDS.Dense(outputs, activation=activation, name="logits")(x))


def student(l2=0.0, outputs=3, activation=None):
    keras.utils.set_random_seed(4)
    images = keras.Input((6, 6, 2))
    x = KINDS.Conv2D(4, 3, activation="tanh", name="own_maps", kernel_regularizer=keras.regularizers.L2(l2))(images)
    return keras.Model(images, KINDS.Dense(outputs, activation=activation)(KINDS.Flatten()(x)))


def arrays(count=27):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(count, 6, 6, 2)).astype("float32")
    labels = np.eye(3, dtype="float32")[rng.integers(0, 3, count)]
    return images, labels, rng.uniform(0, 2, count).astype("float32")


def dataset(batch_size=6, weights=True):
    return tf.data.Dataset.from_tensor_slices(arrays() if weights else arrays()[:2]).batch(batch_size)


def softmax(logits):
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def test_one_step_moves_the_student_along_the_gradient_of_the_formula():
    large, small = teacher(), student(l2=0.1)
    images, labels, weights = arrays(8)
    examples = tf.data.Dataset.from_tensors((images, labels, weights))
    trained = compress.distill(
        large,
        small,
        examples,
        temperature=3.0,
        soft_weight=0.7,
        fine_tuning=FineTuning(epochs=1, optimizer=keras.optimizers.SGD(0.1), loss=LOSS),
    )
    soft = softmax(large.predict(images, verbose=0) / 3)
    with tf.GradientTape() as tape:
        logits = small(images)
        hard = tf.nn.softmax_cross_entropy_with_logits(labels, logits)
        divergence = tf.reduce_sum(soft * (np.log(soft) - tf.nn.log_softmax(logits / 3)), axis=-1)
        loss = tf.reduce_mean(weights * (0.3 * hard + 0.7 * 9 * divergence))
        loss += 0.1 * tf.reduce_sum(tf.square(small.trainable_variables[0].value))
    gradients = tape.gradient(loss, [variable.value for variable in small.trainable_variables])
    for before, gradient, after in zip(small.get_weights(), gradients, trained.get_weights(), strict=True):
        np.testing.assert_allclose(after, before - 0.1 * gradient.numpy(), atol=1e-5)


def test_the_models_given_stay_as_they_are_and_the_student_comes_back_plain(tmp_path):
    large, small = teacher(), student()
    before = [w.copy() for w in (*large.get_weights(), *small.get_weights())]
    trained = compress.distill(
        large,
        small,
        dataset(),
        features={"own_maps": "maps"},
        fine_tuning=FineTuning(epochs=2, loss=LOSS, metrics=["accuracy"]),
    )
    for now, then in zip((*large.get_weights(), *small.get_weights()), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert large.trainable
    assert (type(trained), trained.name) == (type(small), small.name)
    assert [v.path for v in trained.variables] == [v.path for v in small.variables]
    assert [v.shape for v in trained.variables] == [v.shape for v in small.variables]
    assert trained.evaluate(dataset(), verbose=0, return_dict=True).keys() == {"accuracy", "loss"}
    trained.save(tmp_path / "student.keras")
    loaded = keras.saving.load_model(tmp_path / "student.keras")
    np.testing.assert_array_equal(loaded(arrays()[0]), trained(arrays()[0]))


def test_a_student_comes_near_its_teacher():
    large, small = teacher(), student()
    images = arrays()[0]
    examples = dataset(weights=False)
    trained = compress.distill(
        large,
        small,
        examples,
        soft_weight=1.0,
        fine_tuning=FineTuning(epochs=60, learning_rate=5e-3, loss=LOSS),
    )
    wanted, before, after = (softmax(model(images).numpy()) for model in (large, small, trained))
    assert np.abs(wanted - after).mean() < 0.2 * np.abs(wanted - before).mean()


def test_features_alone_bring_the_projected_maps_near_the_teachers():
    large, small = teacher(), student()
    trained = compress.distill(
        large,
        small,
        dataset(),
        soft_weight=0.0,
        features={"own_maps": "maps"},
        feature_weight=50.0,
        fine_tuning=FineTuning(epochs=40, loss=LOSS, learning_rate=0.02),
    )
    images = arrays()[0]
    inner = large.get_layer("backbone")
    teacher_maps = keras.Model(inner.input, inner.get_layer("maps").output)(images)

    def unexplained(model):
        """The fraction of the teacher's feature maps that no linear function of the model's maps explains."""
        maps = keras.Model(model.input, model.get_layer("own_maps").output)(images).numpy().reshape(-1, 4)
        target = teacher_maps.numpy().reshape(-1, 8)
        return np.linalg.lstsq(maps, target, rcond=None)[1].sum() / np.square(target).sum()

    assert unexplained(trained) < 0.6 * unexplained(small)


@pytest.mark.slow
def test_examples_are_taught_from_answers_that_were_asked_for_once(monkeypatch):
    images, labels, weights = arrays()
    examples = data.Examples(labels.argmax(1), ("a", "b", "c"), images, weights=weights)
    large, small = teacher(), student()
    teacher_calls = []
    forward_with_features = distillation_loss.forward_with_features

    def counting(model, layers=()):
        forward = forward_with_features(model, layers)

        def call(inputs, training):
            if model is large:
                tf.py_function(lambda: teacher_calls.append(1), [], [])
            return forward(inputs, training)

        return call

    monkeypatch.setattr(distillation, "forward_with_features", counting)

    def fine_tuning(epochs):
        return FineTuning(epochs=epochs, loss=LOSS, optimizer=keras.optimizers.SGD(0.1))

    options = {"features": {"own_maps": "maps"}}
    keras.utils.set_random_seed(6)
    cached = compress.distill(
        large, small, examples, global_batch_size=6, seed=5, fine_tuning=fine_tuning(3), **options
    )
    assert len(teacher_calls) == 5 + 1  # each of five batches once, and the first one to check that the models fit
    batches = data.batches(examples, 6, shuffle=True, seed=5, epochs=3)
    keras.utils.set_random_seed(6)
    live = compress.distill(large, small, batches, fine_tuning=fine_tuning(1), **options)
    assert len(teacher_calls) == 6 + 15 + 1
    for cached_weight, live_weight in zip(cached.get_weights(), live.get_weights(), strict=True):
        np.testing.assert_allclose(cached_weight, live_weight, atol=1e-6)


def test_augmented_examples_are_shown_to_the_teacher_as_to_the_student():
    images = np.random.default_rng(0).integers(0, 256, (12, 6, 6, 3)).astype("uint8")
    examples = data.Examples(np.arange(12) % 3, ("a", "b", "c"), images)
    inputs = keras.Input((6, 6, 3))
    same = keras.Model(inputs, KINDS.Dense(3)(KINDS.Flatten()(KINDS.Rescaling(1 / 255)(inputs))))
    fine_tuning = FineTuning(epochs=2, loss=LOSS, optimizer=keras.optimizers.SGD(0.1))
    options = {"soft_weight": 1.0, "augment": data.augment("flip")}
    trained = compress.distill(same, same, examples, fine_tuning=fine_tuning, **options)
    for after, before in zip(trained.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_allclose(after, before, atol=1e-6)  # A student that is its own teacher has nothing to learn.


@pytest.fixture(scope="module")
def two_devices():
    keras_trainer.patch()
    yield tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.HierarchicalCopyAllReduce())
    keras_trainer.unpatch()


@pytest.mark.slow
def test_two_devices_teach_as_one_with_an_uneven_last_batch(two_devices):
    def distilled():
        return compress.distill(
            teacher(),
            student(l2=0.1),
            dataset(6),  # The last batch of the 27 examples has 3.
            features={"own_maps": "maps"},
            fine_tuning=FineTuning(
                epochs=3, optimizer=keras.optimizers.SGD(0.1, momentum=0.9), loss=LOSS, metrics=["accuracy"]
            ),
        )

    keras.utils.set_random_seed(5)
    one = distilled()
    with two_devices.scope():
        two = distilled()
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("kind", ["layer", "folder", "file"])
@pytest.mark.slow
def test_a_teacher_may_be_a_hub_module_a_folder_or_a_file(kind, tmp_path):
    folder = testing.saved_model(tmp_path / "module", features=3)
    images = keras.Input((6, 6, 3))
    model = keras.Model(images, KINDS.Dense(3)(KINDS.Flatten()(images)))
    model.save(tmp_path / "model.keras")
    large = {"layer": layer.HubLayer(folder), "folder": folder, "file": tmp_path / "model.keras"}[kind]
    pictures = tf.data.Dataset.from_tensor_slices(
        (np.random.default_rng(0).uniform(size=(12, 6, 6, 3)).astype("float32"), arrays(12)[1])
    ).batch(6)
    trained = compress.distill(
        large,
        model,
        pictures,
        fine_tuning=FineTuning(epochs=1, loss=LOSS, optimizer=keras.optimizers.SGD(0.5)),
    )
    moved = np.abs(trained.get_weights()[0] - model.get_weights()[0]).max()
    assert moved > 0


def test_probabilities_of_a_teacher_teach_like_its_logits():
    logits, probabilities = teacher(), teacher("softmax")
    probabilities.set_weights(logits.get_weights())

    def distilled(large, **options):
        fine_tuning = FineTuning(epochs=1, loss=LOSS, optimizer=keras.optimizers.SGD(0.1))
        return compress.distill(large, student(), dataset(), fine_tuning=fine_tuning, **options).get_weights()

    for a, b in zip(distilled(logits), distilled(probabilities, teacher_probabilities=True), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_soft_answers_of_many_labels_are_compared_label_by_label():
    student_logits, teacher_logits = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    p, q = (1 / (1 + np.exp(-logits / 2)) for logits in (teacher_logits, student_logits))
    expected = 4 * np.mean(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))
    loss = distillation_loss.DistillationLoss(2.0, "multi_label")(teacher_logits, student_logits)
    assert float(loss) == pytest.approx(expected, rel=1e-4)


def test_numbers_are_taught_by_their_own_loss():
    rng = np.random.default_rng(0)
    numbers = tf.data.Dataset.from_tensors((rng.normal(size=(4, 6, 6, 2)), rng.normal(size=(4, 3)).astype("float32")))
    large, small = teacher(), student()
    images, targets = next(iter(numbers))
    fine_tuning = FineTuning(epochs=1, loss="mse", optimizer=keras.optimizers.SGD(0.1))
    trained = compress.distill(large, small, numbers, soft_weight=0.25, fine_tuning=fine_tuning)
    with tf.GradientTape() as tape:
        outputs = small(images)
        hard, soft = (tf.reduce_mean(tf.square(outputs - wanted)) for wanted in (targets, large(images)))
        loss = 0.75 * hard + 0.25 * soft
    gradients = tape.gradient(loss, [variable.value for variable in small.trainable_variables])
    for before, gradient, after in zip(small.get_weights(), gradients, trained.get_weights(), strict=True):
        np.testing.assert_allclose(after, before - 0.1 * gradient.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, "`temperature` must be above 0. Received: 0.0"),
        ({"soft_weight": 1.5}, r"`soft_weight` must lie in \[0, 1\]. Received: 1.5"),
        ({"feature_weight": -1.0}, "`feature_weight` must be at least 0"),
        ({"fine_tuning": FineTuning(epochs=0, loss=LOSS)}, "must not be empty"),
        ({"fine_tuning": FineTuning(epochs=1)}, "`loss` must be given"),
        (
            {"fine_tuning": FineTuning(epochs=1, loss="categorical_crossentropy")},
            "`loss` must take logits. Received: 'categorical_crossentropy'",
        ),
        ({"fine_tuning": FineTuning(epochs=1, loss=keras.losses.CategoricalCrossentropy())}, "`loss` must take logits"),
        ({"teacher": teacher("softmax")}, "`teacher` must give logits. Received: probabilities.*teacher_probabilities"),
        ({"student": student(activation="softmax")}, "`student` must give logits. Received: probabilities"),
        ({"student": student(outputs=4)}, "`student` must give as many outputs as `teacher`. Received: .4,. and .3,."),
        ({"student": keras.Sequential([KINDS.Dense(3)])}, "`model` must be built"),
        ({"features": {"own_maps": "map"}}, "unknown layer 'map'.*Did you mean 'maps'"),
        ({"features": {"maps": "maps"}}, "unknown layer 'maps'.*Did you mean 'own_maps'"),
        (
            {"features": {"own_maps": "pooled"}},
            "`features` must pair maps of the same size. Received: .4, 4, 4. of 'own",
        ),
        ({"dataset": dataset().repeat()}, "`dataset` must have a known, finite length"),
    ],
)
def test_distill_refuses_what_it_cannot_do(change, message):
    arguments = {
        "teacher": teacher(),
        "student": student(),
        "dataset": dataset(),
        "fine_tuning": FineTuning(epochs=1, loss=LOSS),
        **change,
    }
    with pytest.raises(InputError, match=message):
        compress.distill(arguments.pop("teacher"), arguments.pop("student"), arguments.pop("dataset"), **arguments)


def test_distill_refuses_a_teacher_that_is_no_model():
    with pytest.raises(
        TypeError, match="`teacher` must be a keras.Model, a HubLayer or a path. Received: builtins.int"
    ):
        compress.distill(7, student(), dataset(), fine_tuning=FineTuning(epochs=1, loss=LOSS))
