"""Which pretrained backbones are found on a machine."""

from kerastrain.hub.bundled import bundled
from kerastrain.recipe import local_backbones


def test_backbones_are_found_in_the_caches(tmp_path, monkeypatch):
    for name in ("TFHUB_CACHE_DIR", "HF_HOME", "KERAS_HOME"):
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
