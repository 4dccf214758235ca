"""The features of tiny folders are those of transformers and timm, where these are installed.

`python tests/backbones/test_pretrained_origins.py` prints them, for `test_pretrained_images.py`.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from pretrained_folders import IMAGE_KINDS, write_images

CONVOLUTIONAL = ("resnet", "convnext", "convnextv2", "mobilenetv3")
"""The ends of the kinds that need 32 pixels."""


def pixels(size):
    return np.random.default_rng(1).uniform(0, 255, (1, size, size, 3)).astype(np.float32)


def origin_features(folder, kind, size):
    """The features as the library that wrote the format computes them."""
    import torch

    is_timm = kind.startswith("timm_")
    content = json.loads((folder / "config.json").read_text())
    scaling = content["pretrained_cfg"] if is_timm else json.loads((folder / "preprocessor_config.json").read_text())
    mean, std = (np.array(scaling[name if is_timm else f"image_{name}"]) for name in ("mean", "std"))
    images = torch.tensor(((pixels(size) / 255 - mean) / std).transpose(0, 3, 1, 2), dtype=torch.float32)
    with torch.no_grad():
        if is_timm:
            import timm
            from safetensors.torch import load_file

            options = {**content.get("model_args", {}), "num_classes": 0}
            if kind == "timm_vit":
                options |= {"mlp_ratio": 2, "dynamic_img_size": True}
            if kind == "timm_mobilenetv3":
                model = timm.models.mobilenetv3._gen_mobilenet_v3("mobilenetv3_small_100", 0.1, **options).eval()
            else:
                model = timm.create_model(content["architecture"], pretrained=False, **options).eval()
            model.load_state_dict(load_file(folder / "model.safetensors"), strict=kind != "timm_mobilenetv3")
            return model(images).numpy()
        import transformers

        model = transformers.AutoModel.from_pretrained(folder).eval()
        if kind == "resnet" or kind.startswith("convnext"):
            return model(images).pooler_output.reshape(1, -1).numpy()
        options = {} if kind.startswith("dinov") else {"interpolate_pos_encoding": True}
        tokens = model(images, **options).last_hidden_state
        if kind in ("dinov2_with_registers", "dinov3_vit"):
            return torch.cat([tokens[:, 0], tokens[:, 3:].mean(1)], 1).numpy()
        return (tokens.mean(1) if kind.startswith("siglip") else tokens[:, 0]).numpy()


CASES = [(kind, size) for kind in IMAGE_KINDS for size in (16, 32) if size == 32 or not kind.endswith(CONVOLUTIONAL)]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "size"), CASES)
def test_features_are_those_of_the_origin(tmp_path, kind, size):
    for library in ("torch", "timm", "transformers"):
        pytest.importorskip(library)
    from test_pretrained_images import features

    folder = write_images(tmp_path / kind, kind)
    np.testing.assert_allclose(features(folder, size), origin_features(folder, kind, size), atol=1e-3)


if __name__ == "__main__":
    for kind, size in CASES:
        with tempfile.TemporaryDirectory() as place:
            folder = write_images(Path(place) / kind, kind)
            print(f'    ("{kind}", {size}): {np.round(origin_features(folder, kind, size)[0, :8], 4).tolist()},')
