"""Image networks from folders that KerasHub's own `save_to_preset` writes."""

import importlib.util
import json
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest
from kerashub_folders import IMAGE_FAMILIES, write_image_preset
from pretrained_folders import write_json

from kerastrain import backbones, models, presets, saving
from kerastrain.errors import InputError
from kerastrain.presets import image_networks, preset

needs_kerashub = pytest.mark.skipif(not importlib.util.find_spec("keras_hub"), reason="needs keras_hub")


def image(size):
    rows, columns = np.mgrid[:size, :size]
    channels = [columns * 255 / size, rows * 255 / size, 128 + 80 * np.sin(columns / 3 + rows / 5)]
    return np.stack(channels, axis=-1)[None].astype(np.float32)


def origin_features(folder, family):
    """The features as KerasHub computes them, with its own preprocessing."""
    import keras_hub

    pixels = keras_hub.layers.ImageConverter.from_preset(str(folder), image_size=(32, 32))(image(32))
    network = keras_hub.models.Backbone.from_preset(str(folder))
    if family == "siglip":
        network = network.vision_encoder
        network = keras.Model(network.inputs, network.post_layer_norm.output)
    values = np.asarray(
        network({name: pixels for name in network.input} if isinstance(network.input, dict) else pixels)
    )
    if values.ndim == 4:
        return values.mean((1, 2))
    registers = 3 if family.startswith("dinov") else 0
    if registers:
        return np.concatenate([values[:, 0], values[:, registers:].mean(1)], axis=1)
    return values.mean(1) if family == "siglip" else values[:, 0]


@needs_kerashub
@pytest.mark.slow
@pytest.mark.parametrize("family", IMAGE_FAMILIES)
def test_features_of_raw_pixels_are_those_of_kerashub(tmp_path, family):
    folder = write_image_preset(tmp_path / family, family)
    backbone = backbones.load(folder)
    assert backbone.image_size == (32, 32)
    model = models.image_classifier(backbone, labels=["a", "b"])
    values = image(32)
    for layer in (*backbone.preprocessing, backbone.layer):
        values = layer(values)
    values = np.asarray(values)
    found = values.mean((1, 2)) if values.ndim == 4 else values
    np.testing.assert_allclose(found, origin_features(folder, family), atol=1e-5)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(saving.load(tmp_path / "model.keras")(image(32)), model(image(32)))


@needs_kerashub
@pytest.mark.slow
def test_a_saved_model_opens_without_kerashub(tmp_path):
    model = models.image_classifier(write_image_preset(tmp_path / "vit", "vit"), labels=["a", "b"])
    model.save(tmp_path / "model.keras")
    code = (
        "import sys; sys.modules['keras_hub'] = None; from kerastrain import saving; import numpy as np; "
        f"print(saving.load({str(tmp_path / 'model.keras')!r})(np.zeros((1, 32, 32, 3))).shape)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "(1, 2)"


VIT = {
    "image_shape": [32, 32, 3],
    "patch_size": [8, 8],
    "num_layers": 1,
    "num_heads": 2,
    "hidden_dim": 8,
    "mlp_dim": 16,
}


def described(folder, name, config, converter):
    folder.mkdir()
    write_json(folder / "config.json", {"registered_name": f"keras_hub>{name}", "config": config})
    if converter is not None:
        write_json(folder / "image_converter.json", {"config": converter})
    h5py.File(folder / "model.weights.h5", "w").close()
    return folder


@pytest.mark.parametrize(
    ("name", "config", "converter", "message"),
    [
        ("ViTBackbone", {**VIT, "patch_size": [8, 4]}, {"scale": 1}, "has patch_size=[8, 4]: patches must be square."),
        (
            "ViTBackbone",
            {**VIT, "use_class_token": False},
            {"scale": 1},
            "has use_class_token=False: only True is built",
        ),
        ("ViTBackbone", {**VIT, "image_shape": [32, 32, 1]}, {"scale": 1}, "images must have three channels."),
        ("ViTBackbone", {**VIT, "hidden_dim": None}, {"scale": 1}, "has hidden_dim=None: it must be a whole number"),
        ("ViTBackbone", VIT, None, "its image_converter.json is missing or has no scale. Copy that file"),
        (
            "DINOV2Backbone",
            {**VIT, "use_swiglu_ffn": True},
            {"scale": 1},
            "has use_swiglu_ffn=True: only False is built",
        ),
        (
            "EfficientNetBackbone",
            {"stackwise_block_types": ["fused", "v1"]},
            {"scale": 1},
            "has stackwise_block_types=['fused']: EfficientNetV2 is not built here. Use keras:EfficientNetV2B0.",
        ),
        (
            "ResNetBackbone",
            {"use_pre_activation": True},
            {"scale": 1},
            "has use_pre_activation=True: ResNetV2 is not built here. Use a ResNet or keras:ResNet50V2.",
        ),
    ],
)
def test_what_is_not_built_is_refused_before_kerashub_opens_it(tmp_path, monkeypatch, name, config, converter, message):
    for module in (preset, image_networks):
        monkeypatch.setattr(module, "require_kerashub", lambda: None)
    found = presets.read(described(tmp_path / "folder", name, config, converter), kind="images")
    with pytest.raises(InputError) as caught:
        image_networks.check(found)
    assert message in str(caught.value)


def test_what_the_origin_does_otherwise_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(image_networks, "require_kerashub", lambda: None)
    converter = {"scale": [0.1, 0.2, 0.2], "offset": [-1.0, -2.0, 0.0], "interpolation": "bicubic", "antialias": False}
    converter |= {"image_size": [32, 32], "crop_to_aspect_ratio": False, "pad_to_aspect_ratio": True}
    found = presets.read(described(tmp_path / "folder", "ViTBackbone", VIT, converter), kind="images")
    said = image_networks.description(found)
    assert image_networks.description(found, resize="pad") == said[:-1]
    assert said == [
        "ViTBackbone of KerasHub, images of 32 by 32 pixels",
        "its features are the class token",
        "pixels scaled by the means (0.0392, 0.0392, -0) and standard deviations (0.0392, 0.0196, 0.0196) of [0, 1], as "
        "image_converter.json says",
        "its origin resizes images with not antialiased bicubic resampling, kerastrain with antialiased bilinear",
        "its origin adds a border instead of distorting an image: data.resize=pad does so too",
    ]


@needs_kerashub
@pytest.mark.slow
def test_weights_of_another_network_are_refused(tmp_path):
    folder = write_image_preset(tmp_path / "vit", "vit")
    content = json.loads((folder / "config.json").read_text())
    content["config"]["num_layers"] = 3
    write_json(folder / "config.json", content)
    with pytest.raises(InputError, match="KerasHub cannot open it: "):
        backbones.load(folder)
