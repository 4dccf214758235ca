"""Pretrained networks of images from folders of Hugging Face and timm: their features, training, explanations and files."""

import json

import keras
import numpy as np
import pytest
from pretrained_folders import IMAGE_KINDS, write_images, write_json

from kerastrain import backbones, explain, models, saving
from kerastrain.backbones import vision_transformer
from kerastrain.errors import InputError
from kerastrain.memory import remat
from kerastrain.transfer import freezing, lora

# The first eight features of `pixels(size)` in PyTorch: python tests/backbones/test_pretrained_origins.py
FEATURES = {
    ("vit", 16): [0.364, 0.1152, -0.0704, -0.237, -2.3979, 0.8832, 0.5909, 0.5416],
    ("vit", 32): [0.2788, -0.2847, 0.0672, -0.1269, -2.3209, 1.051, 0.628, 0.479],
    ("deit", 16): [0.8182, -0.3553, -0.2618, -1.4982, -0.0716, 2.386, -1.2675, 0.1312],
    ("deit", 32): [1.1426, 1.5595, 0.9127, -1.9114, -0.5317, 0.0176, -0.186, -1.0824],
    ("dinov2_with_registers", 16): [2.227, -0.3087, -1.277, -0.3469, 0.1963, 0.7202, 1.0613, -1.4838],
    ("dinov2_with_registers", 32): [2.353, -0.3478, -0.9116, -0.4825, 0.2941, 0.6387, 0.8955, -1.6854],
    ("siglip_vision_model", 16): [-0.5103, 0.6615, 1.3866, -0.9272, -1.1021, 0.028, 0.3225, 0.5612],
    ("siglip_vision_model", 32): [-0.1182, -0.6343, 0.9679, -0.3383, -0.8118, 0.2084, 0.6094, 0.4406],
    ("timm_vit", 16): [0.14, 2.3297, 0.5744, -1.3254, -0.5255, -0.3911, -1.1702, 0.1855],
    ("timm_vit", 32): [-0.1976, 2.4896, 0.9618, -1.0693, -0.5717, -0.6684, -0.857, -0.2086],
    ("dinov3_vit", 16): [1.0682, -0.6718, 0.1329, 0.7518, -0.6389, -1.4904, -0.9841, 1.4526],
    ("dinov3_vit", 32): [0.9796, -0.9262, -0.1226, 0.7379, -0.1538, -1.4674, -1.0047, 1.5522],
    ("convnext", 32): [1.1609, 0.0821, -0.5324, 0.6559, 0.9977, 0.0531, -2.3534, -1.0735],
    ("convnextv2", 32): [-0.0335, -0.2423, 1.4138, -1.3984, 0.9575, -1.2545, -1.3446, 1.4242],
    ("timm_convnext", 32): [1.7693, -0.4659, -1.9091, -0.7466, -0.2908, 0.364, 0.4443, 0.7686],
    ("timm_mobilenetv3", 32): [0.154, 0.2454, 0.1679, -0.188, -0.163, 0.369, 0.0238, 0.0578],
    ("resnet", 32): [0.7266, 4.4511, 8.6778, 6.909, 1.4107, 9.0488, 10.7087, 1.497],
}


def pixels(size, count=1):
    return np.random.default_rng(1).uniform(0, 255, (count, size, size, 3)).astype(np.float32)


def features(folder, size):
    """The features that a model of this folder gives its head for raw pixels."""
    backbone = backbones.load(folder, image_size=(size, size))
    values = pixels(size)
    for layer in (*backbone.preprocessing, backbone.layer):
        values = layer(values)
    values = np.asarray(values)
    return values.mean((1, 2)) if values.ndim == 4 else values


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "size"), FEATURES)
def test_features_of_raw_pixels_are_those_of_pytorch(tmp_path, kind, size):
    # At 32 pixels, the position embeddings of 16 are resampled.
    found = features(write_images(tmp_path / kind, kind), size)
    np.testing.assert_allclose(found[0, :8], FEATURES[kind, size], atol=1e-3)


def classifier(folder, kind):
    size = 32 if kind in ("resnet", "convnextv2") else 16
    backbone = backbones.load(folder, image_size=(size, size))
    return models.image_classifier(backbone, labels=["a", "b"], dropout=0.0), pixels(size, 8), np.arange(8) % 2


# What `unfreeze(last=4, batch_norm=True)` trains of each kind.
LAST_FOUR = {
    "dinov2_with_registers": [
        *(f"block_1_dense_{number}/{part}" for number in (1, 2) for part in ("kernel", "bias")),
        *("block_1_scale_2/scale", "norm/gamma", "norm/beta"),
    ],
    "dinov3_vit": [
        *(f"block_1_dense_{number}/{part}" for number in (1, 2) for part in ("kernel", "bias")),
        *("block_1_scale_2/scale", "norm/gamma", "norm/beta"),
    ],
    "resnet": [
        *(f"stage_1_block_1_conv_{number}/kernel" for number in (1, 2)),
        *(f"stage_1_block_1_conv_{number}_norm/{part}" for number in (1, 2) for part in ("gamma", "beta")),
    ],
    "convnextv2": [
        *(f"stage_1_block_1_pointwise_{number}/{part}" for number in (1, 2) for part in ("kernel", "bias")),
        *(f"stage_1_block_1_response/{part}" for part in ("gamma", "beta")),
        *("norm/gamma", "norm/beta"),
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dinov2_with_registers", "dinov3_vit", "resnet", "convnextv2"])
def test_a_network_trains_in_parts_and_its_file_needs_no_folder(tmp_path, kind):
    folder = write_images(tmp_path / kind, kind)
    model, images, targets = classifier(folder, kind)
    assert not freezing.backbone_of(model).trainable_weights
    (folder / "model.safetensors").unlink()
    freezing.unfreeze(model, last=4, batch_norm=True)
    assert {variable.path for variable in model.trainable_variables} == {
        *LAST_FOUR[kind],
        "logits/kernel",
        "logits/bias",
    }
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    remat(model, blocks=2)
    losses = model.fit(images, targets, epochs=2, verbose=0, shuffle=False).history["loss"]
    assert losses[1] < losses[0]
    found = explain.heatmaps(model, images[:2])
    assert found.method == ("gradcam" if kind in ("resnet", "convnextv2") else "rollout"), found.reason
    assert found.values.shape == (2, *images.shape[1:3])
    assert found.values.max() == 1
    assert np.ptp(found.values) > 0.1
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(saving.load(tmp_path / "model.keras")(images), model(images))


@pytest.mark.parametrize("kind", ["vit", "dinov3_vit"])
def test_a_transformer_takes_low_rank_pairs(tmp_path, kind):
    model, images, _ = classifier(write_images(tmp_path / kind, kind), kind)
    before = model(images)
    # In each of two blocks four projections of the attention and two dense layers.
    assert lora.add_lora(model, 2) == 12
    np.testing.assert_allclose(model(images), before, atol=1e-6)


def test_resampling_is_that_of_pytorch():
    # torch.nn.functional.interpolate(torch.tensor([[[[0., 0, 1, 0]]]]), size=(1, N), mode="bicubic", antialias=...)
    impulse = np.array([0.0, 0.0, 1.0, 0.0])
    found = vision_transformer.resampling(4, 2, is_antialiased=False) @ impulse
    np.testing.assert_allclose(found, [-0.09375, 0.59375], atol=1e-6)
    found = vision_transformer.resampling(4, 2, is_antialiased=True) @ impulse
    np.testing.assert_allclose(found, [0.1198, 0.4587], atol=1e-4)


def change(folder, name, **values):
    path = folder / name
    content = json.loads(path.read_text())
    content.update(values)
    write_json(path, {key: value for key, value in content.items() if value is not None})


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (
            "config.json",
            {"hidden_act": "quick_gelu"},
            "has hidden_act='quick_gelu': known are gelu, gelu_pytorch_tanh, gelu_new",
        ),
        ("config.json", {"num_channels": 1}, "has num_channels=1: this variant is not built here."),
        ("config.json", {"num_hidden_layers": 3}, "its weights hold no encoder.layer.2.layernorm_before.weight."),
        ("config.json", {"num_hidden_layers": 1}, "it also has the tensor encoder.layer.1."),
        ("config.json", {"hidden_size": 12}, "must have the shape [12, 3, 8, 8]. Received: [8, 3, 8, 8]."),
        ("config.json", {"patch_size": None}, "has patch_size=None: it must be a whole number above 0."),
        ("preprocessor_config.json", {"image_mean": None}, "image_mean in preprocessor_config.json of"),
        (
            "preprocessor_config.json",
            {"image_std": [0.5, 0, 1]},
            "must be three numbers above 0, for red, green and blue.",
        ),
        ("preprocessor_config.json", {"rescale_factor": -1}, "must be above 0. Received: -1."),
        ("preprocessor_config.json", {"rescale_offset": True}, "has rescale_offset=True, which is not known here."),
    ],
)
def test_a_folder_that_does_not_fit_itself_is_refused(tmp_path, name, values, message):
    folder = write_images(tmp_path / "vit", "vit")
    change(folder, name, **values)
    with pytest.raises(InputError) as caught:
        backbones.load(folder)
    assert message in str(caught.value)


def test_pixels_are_scaled_as_the_folder_says(tmp_path):
    folder = write_images(tmp_path / "vit", "vit")
    (layer,) = backbones.load(folder).preprocessing
    np.testing.assert_allclose(layer(np.full((1, 1, 1, 3), 255.0)), [[[[1, 1.2, 1.4]]]], atol=1e-6)
    with pytest.raises(InputError, match=r"`model.value_range` is fixed by preprocessor_config.json of .* Remove it"):
        backbones.load(folder, value_range=(0, 1))
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match=r"it holds no preprocessor_config.json. .* or set model.value_range, such as"):
        backbones.load(folder)
    assert backbones.load(folder, value_range=(-1, 1)).value_range == (-1, 1)


def test_images_must_divide_into_patches(tmp_path):
    folder = write_images(tmp_path / "vit", "vit")
    with pytest.raises(
        InputError, match=r"must be multiples of 8, the patch size of .*Received: \[20, 16\]. Set data.image_size="
    ):
        backbones.load(folder, image_size=(20, 16))
    assert backbones.image_size(folder) == (16, 16)


def test_every_kind_is_described(tmp_path):
    for kind in IMAGE_KINDS:
        folder = write_images(tmp_path / kind, kind, size=32)
        described = backbones.describe(str(folder))
        assert described["image_size"] == [32, 32], kind
        assert "images of 32 by 32 pixels" in described["facts"][0]
        assert any(fact.startswith("pixels scaled ") for fact in described["facts"])
