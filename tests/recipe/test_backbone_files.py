"""The checksum of a backbone's files changes with what is read from them, and with nothing else."""

import pytest
from pretrained_folders import write_images

from kerastrain import config as configs
from kerastrain.recipe import backbone_files


def digest(*overrides):
    return backbone_files.sha256(configs.load(overrides=list(overrides)))


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["model.backbone=keras:VGG16"],
        ["model.backbone=kaggle:a/b/tensorFlow2/c/1"],
        ["model.backbone=https://a.b/c"],
    ],
)
def test_what_cannot_change_has_no_checksum(overrides):
    assert digest(*overrides) is None


def test_a_folder_counts_by_what_is_read_from_it(tmp_path):
    folder = write_images(tmp_path / "vit", "vit", size=32)
    before = digest(f"model.backbone={folder}")
    assert len(before) == 64
    (folder / "README.md").write_text("a card")
    (folder / ".cache").mkdir()
    (folder / ".cache/etag").write_text("1")
    assert digest(f"model.backbone={folder}") == before
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert digest(f"model.backbone={folder}") != before


def test_a_weights_file_and_a_keras_file_count(tmp_path):
    weights, network = tmp_path / "w.h5", tmp_path / "network.keras"
    seen = set()
    for content in (b"1", b"2"):
        weights.write_bytes(content)
        network.write_bytes(content)
        seen |= {digest("model.backbone=keras:VGG16", f"model.weights={weights}"), digest(f"model.backbone={network}")}
    assert len(seen) == 2
