"""Which pretrained backbones are found on a machine."""

import pytest

from kerastrain.hub.bundled import bundled
from kerastrain.keras_internals.kerashub_presets import builtin_presets
from kerastrain.recipe import local_backbones


def test_backbones_are_found_in_the_caches(tmp_path, monkeypatch):
    for name in ("TFHUB_CACHE_DIR", "HF_HOME", "KERAS_HOME", "KAGGLEHUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    shipped = tuple(f"kerastrain:{name}" for name in bundled())
    assert local_backbones.found("images") == shipped
    assert local_backbones.found("text") == ()
    hub = tmp_path / "TFHUB_CACHE_DIR"
    (hub / "0ab").mkdir(parents=True)
    (hub / "0ab.descriptor.txt").write_text("Module: https://tfhub.dev/google/small/1\nDownload Time: x\n")
    (hub / "1cd.descriptor.txt").write_text("Module: https://tfhub.dev/google/deleted/1\n")
    snapshot = tmp_path / "HF_HOME/hub/models--timm--resnet18.a1/snapshots/123"
    snapshot.mkdir(parents=True)
    (tmp_path / "HF_HOME/hub/models--owner--empty/snapshots").mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    models = tmp_path / "KERAS_HOME/models"
    models.mkdir(parents=True)
    (models / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5").write_bytes(b"")
    in_caches = ("https://tfhub.dev/google/small/1", "hf:timm/resnet18.a1")
    assert local_backbones.found("images") == (*shipped, "keras:MobileNetV2", *in_caches)
    assert local_backbones.found("text") == in_caches


def test_presets_of_kerashub_are_found_with_their_weights(tmp_path, monkeypatch):
    pytest.importorskip("keras_hub")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    for name in ("bert_tiny_en_uncased", "bert_small_en_uncased", "gpt2_base_en"):
        folder = tmp_path / "models" / builtin_presets()[name].address.removeprefix("kaggle://")
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        if name != "bert_small_en_uncased":
            (folder / "model.weights.h5").write_bytes(b"")
    assert [handle for handle in local_backbones.found("text") if "kerashub:" in handle] == [
        "kerashub:bert_tiny_en_uncased"
    ]
    assert not [handle for handle in local_backbones.found("images") if "kerashub:" in handle]
