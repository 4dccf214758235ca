import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import backbones, models, testing
from kerastrain.backbones import pixel_range
from kerastrain.errors import InputError

KERNEL = np.random.default_rng(0).normal(0, 0.3, (3, 3, 3, 8)).astype("float32")
STANDARD_DEVIATION = [0.229, 0.224, 0.225]


class Module(tf.Module):
    """A module that rescales in a function of its own, as Keras layers do, and then convolves twice."""

    def __init__(self, rescale, *, spec=None, last=lambda features: features):
        super().__init__()
        self.kernel, self.mean = tf.Variable(KERNEL), tf.Variable([0.485, 0.456, 0.406], trainable=False)
        self.rescale = tf.function(lambda images: rescale(self, images))
        self.last = last
        self.__call__ = tf.function(self.call)
        for training in (True, False):
            self.__call__.get_concrete_function(
                tf.TensorSpec((None, None, None, 3)) if spec is None else spec, training=training
            )

    def call(self, images, training=False):
        maps = tf.nn.relu(tf.nn.conv2d(self.rescale(tf.identity(images)), self.kernel, 2, "SAME") + 0.5)
        return self.last(tf.reduce_mean(maps, [1, 2]))


def saved(folder, rescale, **options):
    tf.saved_model.save(Module(rescale, **options), str(folder))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rescale", "value_range", "certainty", "reason"),
    [
        (lambda _, x: x / 255, (0, 255), "certain", "its graph divides by 255"),
        (lambda _, x: tf.cast(x, tf.float32) * (1 / 255), (0, 255), "certain", "its graph divides by 255"),
        (lambda _, x: x / 127.5 - 1, (0, 255), "certain", "its graph divides by 127.5 and subtracts 1"),
        (lambda _, x: (x - 127.5) / 127.5, (0, 255), "certain", "its graph subtracts 127.5 and divides by 127.5"),
        (
            lambda _, x: x[..., ::-1] - [103.94, 116.78, 123.68],
            (0, 255),
            "certain",
            "its graph subtracts [103.9, 116.8, 123.7]",
        ),
        (
            lambda self, x: (x / 255 - self.mean) / STANDARD_DEVIATION,
            (0, 255),
            "certain",
            "its graph divides by 255, subtracts [0.485, 0.456, 0.406] and divides by [0.229, 0.224, 0.225]",
        ),
        (
            lambda self, x: (x - self.mean) / STANDARD_DEVIATION,
            (0, 1),
            "certain",
            "its graph subtracts [0.485, 0.456, 0.406] and divides by [0.229, 0.224, 0.225]",
        ),
        (lambda _, x: x * 2 - 1, (0, 1), "certain", "its graph multiplies by 2 and subtracts 1"),
        (lambda _, x: x - 0.5, (0, 1), "certain", "its graph subtracts 0.5"),
        (lambda _, x: x * 255 - 120.0, (0, 1), "certain", "its graph multiplies by 255 and subtracts 120"),
        (lambda _, x: (x + 1) / 2, (-1, 1), "certain", "its graph adds 1 and divides by 2"),
        (lambda _, x: (x + 1) * 127.5, (-1, 1), "certain", "its graph adds 1 and multiplies by 127.5"),
        (lambda _, x: tf.image.resize(x, (32, 32)) / 255, (0, 255), "certain", "its graph divides by 255"),
        (
            lambda _, x: (x - 110) / 55,
            (0, 255),
            "certain",
            "its graph subtracts 110 and divides by 55",
        ),
        (
            lambda _, x: x,
            (0, 1),
            "unknown",
            r"its graph does not scale its input, and its features vary under \[0, 1\], \[-1, 1\] and \[0, 255\]",
        ),
        (
            lambda _, x: tf.image.per_image_standardization(x),
            (0, 1),
            "certain",
            "its features are the same under every",
        ),
        (  # Arithmetic that the walk cannot follow: only the features tell.
            lambda _, x: tf.concat([x, x], -1)[..., :3] / 255 - [0.4, 0.5, 0.6],
            (0, 255),
            "likely",
            r"its features vary \d+ times more under \[0, 255\] than under \[-1, 1\]",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:AutoGraph")
def test_the_range_follows_from_the_first_operations_of_the_graph(tmp_path, rescale, value_range, certainty, reason):
    rescale = tf.autograph.experimental.do_not_convert(rescale)
    found = backbones.load(saved(tmp_path / "module", rescale), image_size=(32, 32)).pixel_range
    assert (found.value_range, found.certainty) == (value_range, certainty)
    assert re.match(reason if "\\" in reason else re.escape(reason), found.reason)


def test_modules_of_keras_and_their_signatures_are_read_too(tmp_path):
    inputs = keras.Input((None, None, 3))
    values = keras.layers.Normalization(mean=[120.0] * 3, variance=[3600.0] * 3)(inputs)
    values = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(values))
    model = keras.Model(inputs, values)
    model.export(tmp_path / "exported", verbose=False)
    model.save(tmp_path / "model.keras")
    options = {"image_size": (32, 32), "signature": "serving_default", "output_key": "output_0"}
    exported = backbones.load(tmp_path / "exported", **options)
    of_file = backbones.load(tmp_path / "model.keras", image_size=(32, 32))
    for backbone in (exported, of_file):
        assert backbone.value_range == (0, 255)
        assert backbone.pixel_range.reason.startswith("its graph subtracts 120 and divides by 60")
    backbone = backbones.load(tmp_path / "model.keras", image_size=(32, 32), value_range=(0, 1))
    assert (backbone.value_range, backbone.pixel_range.certainty) == ((0, 1), "stated")


def test_doctor_measures_and_says_how_sure_it_is(tmp_path):
    facts = backbones.describe(saved(tmp_path / "module", lambda _, x: x / 255), image_size=(32, 32))
    spreads = facts["feature_spreads"]
    assert facts["value_range"] == [0, 255]
    assert facts["value_range_certainty"] == "certain"
    times = spreads["[0, 255]"] / spreads["[-1, 1]"]
    assert facts["value_range_reason"].startswith("its graph divides by 255, and its features vary ")
    assert times > 20
    assert facts["warnings"] == []


def test_features_that_hardly_vary_over_the_training_images_warn(tmp_path):
    folder, photos = saved(tmp_path / "module", lambda _, x: x / 255), pixel_range.sample_photos((32, 32))
    wrong = backbones.load(folder, image_size=(32, 32), value_range=(0, 1))
    warning = wrong.hardly_varying(photos)
    assert warning.startswith(
        f"the features of '{folder}' hardly vary over the training images under model.value_range=[0, 1] (relative spread 0.0"
    )
    assert warning.endswith("times more under [0, 255]: set model.value_range=[0,255]")
    assert backbones.load(folder, image_size=(32, 32)).hardly_varying(photos) is None
    assert wrong.hardly_varying(np.zeros((4, 32, 32, 3))) is None  # The images do not vary either.
    dead = saved(tmp_path / "dead", lambda _, x: x * 0 + 1)
    assert backbones.load(dead, image_size=(32, 32)).hardly_varying(photos).endswith("no head can learn from them")


def test_a_range_that_is_not_known_is_asked_for(tmp_path, caplog):
    folder = testing.saved_model(tmp_path / "module")
    backbones.load(folder, image_size=(32, 32))
    assert caplog.records[-1].getMessage() == (
        f"backbone: which pixel values '{folder}' expects is not known: its graph does not scale its input, and its features "
        "vary under [0, 1], [-1, 1] and [0, 255]. It gets [0, 1], the convention of TF Hub. Set model.value_range to [0, 1], "
        "[-1, 1] or [0, 255], as its documentation says"
    )
    caplog.clear()
    backbones.load(folder, image_size=(32, 32), value_range=(0, 1))
    assert not caplog.records


def test_a_module_of_uint8_gets_whole_pixels(tmp_path):
    folder = saved(
        tmp_path / "module",
        lambda _, x: tf.cast(x, tf.float32) / 255,
        spec=tf.TensorSpec((None, None, None, 3), tf.uint8),
    )
    backbone = backbones.load(folder, image_size=(32, 32))
    assert (backbone.value_range, backbone.pixel_range.reason) == ((0, 255), "it takes uint8 pixels")
    model = models.image_classifier(backbone, labels=["a", "b"])
    assert model.predict(np.full((2, 32, 32, 3), 254.6, "float32"), verbose=0).shape == (2, 2)
    pixels = pixel_range.sample_photos((32, 32))
    expected = tf.saved_model.load(str(folder))(pixels)
    np.testing.assert_allclose(backbone.layer(pixels.astype("float32") + 0.3), expected, atol=1e-6)
    with pytest.raises(
        InputError, match=r"takes uint8 pixels, which are in \[0, 255\]. Received: value_range=\(0, 1\)"
    ):
        backbones.load(folder, value_range=(0, 1))
    assert backbones.image_size(folder) == (224, 224)


@pytest.mark.parametrize(
    ("last", "warning"),
    [
        (lambda x: tf.nn.softmax(x), "ends in a softmax over 8 classes, which tells little about other classes"),
        (lambda x: tf.nn.sigmoid(x), "ends in a sigmoid of 8 outputs, which look like classes"),
        (lambda x: tf.tile(x, (1, 125)), "returns 1,000 numbers, as many as ImageNet has classes"),
        (lambda x: x, None),
    ],
)
@pytest.mark.filterwarnings("ignore:AutoGraph")
def test_a_module_that_returns_classes_warns(tmp_path, last, warning):
    rescale = tf.autograph.experimental.do_not_convert(lambda _, x: x / 255)
    folder = saved(tmp_path / "module", rescale, last=tf.autograph.experimental.do_not_convert(last))
    warnings = backbones.load(folder, image_size=(32, 32)).warnings
    assert warnings == (
        (f"{str(folder)!r} {warning}. Use its feature vector version, or the output before it (model.output_key)",)
        if warning
        else ()
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            (None, None, None, 1),
            "takes grey images of one channel, and images here have the three channels of RGB, last",
        ),
        ((None, 3, 32, 32), "takes channels first, and images here have the three channels of RGB, last"),
        ((None, None, None, 4), "takes images of 4 channels, and images here have"),
        ((1, None, None, 3), "takes exactly 1 image at a time, and training needs batches of any size"),
        (
            (None, None, 3),
            r"takes no images, .* It takes: float32 \(None, None, 3\). Save it with a first axis for the",
        ),
    ],
)
def test_a_module_that_takes_other_images_is_refused(tmp_path, spec, message):
    module = tf.Module()
    module.__call__ = tf.function(lambda images: images)
    module.__call__.get_concrete_function(tf.TensorSpec(spec))
    tf.saved_model.save(module, str(tmp_path / "module"))
    with pytest.raises(InputError, match=message):
        backbones.load(tmp_path / "module")
    assert backbones.describe(tmp_path / "module")["problem"].startswith(f"the module '{tmp_path / 'module'}' takes ")


def test_a_module_of_texts_is_no_backbone_of_images_and_the_reverse(tmp_path):
    texts, images = testing.text_saved_model(tmp_path / "texts", words=["a"]), testing.saved_model(tmp_path / "images")
    with pytest.raises(InputError, match=r"takes no images, .* A module of texts needs data.kind=text."):
        backbones.load(texts)
    with pytest.raises(InputError, match=r"takes no texts, .* A module of images needs data.kind=images."):
        models.text_classifier(images, labels=["a", "b"])


def test_a_module_that_cannot_run_on_the_images_says_why(tmp_path):
    module = tf.Module()
    module.__call__ = tf.function(lambda images, scale: images * scale)
    module.__call__.get_concrete_function(tf.TensorSpec((None, None, None, 3)), tf.TensorSpec(()))
    tf.saved_model.save(module, str(tmp_path / "module"))
    with pytest.raises(
        InputError, match="cannot be run on images of 32 by 32 pixels: .*missing a required argument: 'sc"
    ):
        backbones.load(tmp_path / "module", image_size=(32, 32))
