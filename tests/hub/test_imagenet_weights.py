import urllib.error
from pathlib import Path

import h5py
import keras
import pytest

from kerastrain import backbones
from kerastrain.errors import InputError
from kerastrain.hub import imagenet_weights

SERVER = "https://storage.googleapis.com/tensorflow/keras-applications"
V2 = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96_no_top.h5"
OPTIONS = {"alpha": 0.35, "image_size": (96, 96)}
ADVICE = (
    f"Download {SERVER}/mobilenet_v2/{V2} on a machine with a network and put it there as {{copy}}, or give its path as "
    "model.weights. Without a download: model.backbone=kerastrain:efficientnet_lite0, which has ImageNet weights too, or "
    "model.weights=random."
)


@pytest.fixture
def copy(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))  # read once, when Keras was imported
    (tmp_path / "models").mkdir()
    return tmp_path / "models" / V2


@pytest.fixture
def online(monkeypatch):
    monkeypatch.setattr("kerastrain.system.network.reachable", lambda *addresses: True)


class Asked(Exception):
    pass


def asked_file(monkeypatch, name, alpha, size):
    """The file and the address that Keras itself would fetch."""

    def get_file(name, address, **options):
        raise Asked(address, name)

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    options = {} if alpha is None else {"alpha": alpha}
    with pytest.raises(Asked) as asked:
        getattr(keras.applications, name)(include_top=False, weights="imagenet", input_shape=(*size, 3), **options)
    return asked.value.args


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "alpha", "side"),
    [
        *[("MobileNet", 0.25, 128), ("MobileNet", 0.5, 224), ("MobileNet", 0.75, 96), ("MobileNet", 1.0, 160)],
        *[("MobileNetV2", None, 96), ("MobileNetV2", 1.4, 224), ("MobileNetV2", 0.35, 100)],
        *[("MobileNetV3Small", 0.75, 224), ("MobileNetV3Large", None, 224)],
        *[("ConvNeXtTiny", None, 224), ("EfficientNetB0", None, 224), ("VGG16", None, 64), ("Xception", None, 128)],
        *[
            pytest.param(name, None, side, marks=pytest.mark.chaos)
            for name, side in [("EfficientNetV2B0", 224), ("DenseNet121", 64), ("InceptionV3", 128), ("ResNet50", 64)]
        ],
        pytest.param("ResNet50V2", None, 64, marks=pytest.mark.chaos),
    ],
)
@pytest.mark.filterwarnings("ignore:`input_shape` is undefined or non-square")
def test_the_file_is_the_one_that_keras_fetches(monkeypatch, name, alpha, side):
    address, copy = imagenet_weights.location(name, alpha, (side, side))
    assert (address, copy.name) == asked_file(monkeypatch, name, alpha, (side, side))


def test_every_network_and_width_has_a_file():
    from kerastrain.recipe import networks

    addresses = [
        imagenet_weights.location(name, alpha)[0]
        for name in networks.IMAGE_NETWORKS
        for alpha in imagenet_weights.ALPHAS.get(name, (None,))
    ]
    assert len(set(addresses)) == len(addresses)
    assert f"{SERVER}/nasnet/NASNet-large-no-top.h5" in addresses
    assert imagenet_weights.location("NASNetLarge")[1].name == "nasnet_large_no_top.h5"


def test_a_folder_that_cannot_be_written_is_replaced_as_keras_does(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "not" / "there" / "keras"))
    assert imagenet_weights.location("VGG16")[1].parent in (
        Path("/tmp/.keras/models"),
        tmp_path / "not/there/keras/models",
    )
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert imagenet_weights.location("VGG16")[1].parent == tmp_path / "models"


def test_without_a_network_the_file_and_the_offline_backbone_are_named(copy):
    with pytest.raises(ConnectionError) as error:
        backbones.load("keras:MobileNetV2", **OPTIONS)
    assert str(error.value) == (
        "the ImageNet weights of MobileNetV2 are not on this machine, and storage.googleapis.com cannot be reached. "
        + ADVICE.format(copy=copy)
    )


def test_a_copy_that_is_cut_off_stays_until_it_can_be_fetched_again(copy, monkeypatch):
    copy.write_bytes(b"half")
    with pytest.raises(ConnectionError) as error:
        imagenet_weights.require("MobileNetV2", **OPTIONS)
    assert str(error.value) == (
        f"the ImageNet weights of MobileNetV2 are cut off in '{copy}', and storage.googleapis.com cannot be reached. "
        + ADVICE.format(copy=copy)
    )
    assert copy.read_bytes() == b"half"


def test_a_copy_on_this_machine_is_taken_without_a_network(copy):
    network = keras.applications.MobileNetV2(weights=None, alpha=0.35, include_top=False, input_shape=(96, 96, 3))
    network.save_weights(copy.with_suffix(".weights.h5"))
    with h5py.File(copy, "w") as file:
        keras.src.legacy.saving.legacy_h5_format.save_weights_to_hdf5_group(file, network)
    loaded = backbones.load("keras:MobileNetV2", **OPTIONS).layer
    for expected, value in zip(network.get_weights(), loaded.get_weights(), strict=True):
        assert (expected == value).all()


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (
            urllib.error.ContentTooShortError("retrieval incomplete: got only 4 out of 9 bytes", None),
            "retrieval incomplete: got only 4 out of 9 bytes",
        ),
        (urllib.error.HTTPError("", 404, "Not Found", None, None), "Not Found"),
        (ConnectionResetError(104, "Connection reset by peer"), "[Errno 104] Connection reset by peer"),
    ],
)
def test_a_download_that_is_cut_leaves_nothing_and_says_so(copy, online, monkeypatch, failure, reason):
    copy.write_bytes(b"half")

    def urlretrieve(address, path, progress):
        Path(path).write_bytes(b"more")
        raise failure

    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", urlretrieve)
    with pytest.raises(ConnectionError) as error:
        backbones.load("keras:MobileNetV2", **OPTIONS)
    assert str(error.value) == (
        f"the ImageNet weights of MobileNetV2 could not be downloaded: {reason}. " + ADVICE.format(copy=copy)
    )
    assert list(copy.parent.iterdir()) == []


def test_a_download_with_another_checksum_is_refused(copy, online, monkeypatch):
    copy = copy.with_name("weights_mobilenet_v3_small_224_0.75_float_no_top_v2.h5")
    with h5py.File(copy, "w") as file:
        file["other"] = 1.0
    monkeypatch.setattr(
        "keras.src.utils.file_utils.urlretrieve", lambda address, path, _: Path(path).write_bytes(b"<html>")
    )
    with pytest.raises(ConnectionError) as error:
        backbones.load("keras:MobileNetV3Small", alpha=0.75)
    assert str(error.value).startswith(
        "the ImageNet weights of MobileNetV3Small could not be downloaded: what arrived does not have the checksum that Keras "
        f"expects; the copy '{copy}' did not have the checksum that Keras expects, and Keras removed it. Download {SERVER}/"
    )
    assert not copy.exists()


def test_a_width_without_imagenet_weights_is_refused(copy):
    with pytest.raises(InputError) as error:
        backbones.load("keras:MobileNet", alpha=0.3)
    assert str(error.value) == (
        "`model.alpha` must be one of 0.25, 0.5, 0.75, 1 with the ImageNet weights of MobileNet. Received: 0.3. Choose one of "
        "them, or set model.weights=random."
    )
    assert backbones.load("keras:MobileNet", alpha=0.3, weights="random", image_size=(32, 32)).image_size == (32, 32)
