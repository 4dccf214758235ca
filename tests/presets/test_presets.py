"""What a handle of a pretrained network names, and which folders are refused."""

import importlib.util
import re
import subprocess
import sys

import numpy as np
import pytest
from pretrained_folders import write_json, write_safetensors

from kerastrain import presets
from kerastrain.errors import InputError
from kerastrain.presets import downloads, preset
from kerastrain.presets.handles import repository
from kerastrain.system import network, optional_imports

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.fixture(autouse=True)
def _as_if_installed(monkeypatch):
    """The checks of folders come before that of the extra and do not need it."""
    monkeypatch.setattr(preset, "require_kerashub", lambda: None)


def vit(folder, **config):
    folder.mkdir(exist_ok=True)
    write_json(folder / "config.json", {"model_type": "vit", "image_size": 32, **config})
    write_safetensors(folder / "model.safetensors", {"vit.layernorm.weight": np.ones(4)})
    return folder


def bert(folder):
    folder.mkdir(exist_ok=True)
    write_json(folder / "config.json", {"model_type": "bert"})
    write_safetensors(folder / "model.safetensors", {"embeddings.word_embeddings.weight": np.ones((3, 4))})
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\na\n")
    return folder


def refusal(folder, kind="images"):
    with pytest.raises(InputError) as caught:
        presets.read(folder, kind=kind)
    return str(caught.value)


def test_folders_of_three_formats_are_told_apart(tmp_path):
    found = presets.read(vit(tmp_path / "vit"))
    assert (found.origin, found.architecture, found.family, found.kind) == ("transformers", "vit", "vit", "images")
    assert found.image_size == (32, 32)
    assert found.tensors == {"vit.layernorm.weight": (4,)}
    assert presets.read(bert(tmp_path / "bert"), kind="text").kind == "text"
    timm = tmp_path / "timm"
    timm.mkdir()
    cfg = {"input_size": [3, 64, 48], "mean": [0.5] * 3, "std": [0.5] * 3}
    write_json(timm / "config.json", {"architecture": "vit_tiny_patch16_224", "pretrained_cfg": cfg})
    write_safetensors(timm / "model.safetensors", {"conv1.weight": np.ones((2, 3, 3, 3))})
    found = presets.read(timm)
    assert (found.origin, found.family, found.image_size) == ("timm", "vit", (64, 48))
    assert found.preprocessing["mean"] == [0.5] * 3


@pytest.mark.parametrize(
    ("handle", "is_one"),
    [
        ("kerashub:vit", True),
        ("hf:a/b", True),
        ("keras:MobileNet", False),
        ("kerastrain:fractal_small", False),
        ("https://tfhub.dev/a/b/1", False),
        ("kaggle:a/b/c/d/1", False),
        ("no/such/folder", False),
        ("model.keras", False),
        (None, False),
    ],
)
def test_handles_are_told_by_their_form(handle, is_one):
    assert presets.is_preset(handle) is is_one


@pytest.mark.parametrize(
    ("files", "is_one"),
    [
        (["config.json"], True),
        (["model.safetensors"], True),
        (["pytorch_model.bin"], True),
        (["model.safetensors.incomplete"], True),
        (["snapshots/abc/config.json"], True),
        (["saved_model.pb", "config.json"], False),
        (["variables/variables.index"], False),
        ([], False),
    ],
)
def test_folders_are_told_by_their_files(tmp_path, files, is_one):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert presets.is_preset(tmp_path) is is_one


def test_a_file_that_is_cut_off_is_refused_with_its_sizes(tmp_path):
    path = vit(tmp_path / "vit") / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    assert f"is cut off: it has {len(whole) - 3:,} of {len(whole):,} bytes. Download it again." in refusal(path.parent)
    path.write_bytes(whole + b"\0")
    assert "is damaged" in refusal(path.parent)
    path.write_bytes(whole[:5])
    assert "is cut off or no safetensors file: it has 5 bytes" in refusal(path.parent)
    path.write_bytes(b"<html>Not found</html>")
    assert "is cut off or no safetensors file" in refusal(path.parent)


def test_a_missing_shard_is_named(tmp_path):
    folder = vit(tmp_path / "vit")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"vit.layernorm.weight": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    write_json(folder / "model.safetensors.index.json", {"weight_map": shards})
    message = refusal(folder)
    assert "is half downloaded: model-00002-of-00002.safetensors is missing, one of 2 files of weights" in message
    (folder / "model-00002-of-00002.safetensors.incomplete").write_bytes(b"")
    assert "(model-00002-of-00002.safetensors.incomplete is a download that was not finished)" in refusal(folder)
    write_safetensors(folder / "model-00002-of-00002.safetensors", {"b": np.ones(2)})
    assert presets.read(folder).tensors == {"vit.layernorm.weight": (4,), "b": (2,)}


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_pointer_of_git_lfs_is_no_file(tmp_path, name):
    folder = vit(tmp_path / "vit")
    (folder / name).write_bytes(LFS)
    assert refusal(folder) == (
        f"{str(folder / name)!r} is a pointer of Git LFS instead of the file. Run `git lfs pull` in {str(folder)!r}."
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "pytorch_model.bin",
            "only weights of PyTorch (pytorch_model.bin), which may run code when they are opened. Convert",
        ),
        ("model.q4.gguf", "only weights in the format of GGUF. Download the safetensors file of the same repository."),
        ("tf_model.h5", "only weights in the format of TensorFlow."),
        ("onnx/model.onnx", "only weights in the format of ONNX."),
        ("model.safetensors.incomplete", "(model.safetensors.incomplete is a download that was not finished)"),
        ("model-00001-of-00002.safetensors", "without model.safetensors.index.json"),
    ],
)
def test_a_folder_without_weights_says_what_is_there(tmp_path, name, message):
    folder = vit(tmp_path / "vit")
    (folder / "model.safetensors").unlink()
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"")
    assert message in refusal(folder)


def test_a_network_for_other_data_is_refused(tmp_path):
    assert refusal(vit(tmp_path / "vit"), "text") == (
        f"`model.backbone` must be for texts. Received: '{tmp_path / 'vit'}', a network of the kind vit, which is for images. "
        "Choose one of bert, deberta-v2, distilbert, electra, mpnet, roberta, xlm-roberta, or set data.kind=images."
    )
    assert "a network of the kind bert, which is for texts. Choose one of convnext, convnextv2, deit," in refusal(
        bert(tmp_path / "bert")
    )


def test_an_unknown_architecture_names_those_that_are_known(tmp_path):
    folder = vit(tmp_path / "vit", model_type="siglop")
    message = refusal(folder)
    assert "unknown architecture 'siglop'. Known: convnext, convnextv2, deit, dinov2, " in message
    assert message.endswith("Did you mean 'siglip'?")
    assert "bert" not in message
    assert refusal(vit(tmp_path / "vit", model_type="mobilenet_v2")).endswith("Use keras:MobileNetV2 instead.")
    assert "has none of the keys registered_name, model_type and architecture" in refusal(
        vit(tmp_path / "vit", model_type=None)
    )


@pytest.mark.parametrize("kind", ["images", "text", None])
def test_a_language_model_is_refused(tmp_path, kind):
    message = refusal(vit(tmp_path / "llama", model_type="llama"), kind)
    assert "must compute features to classify" in message
    assert "a network of the kind llama, which is a language model, which writes text. Choose one of: " in message


def test_a_folder_of_texts_needs_its_tokenizer(tmp_path):
    folder = bert(tmp_path / "bert")
    (folder / "vocab.txt").unlink()
    assert "holds no tokenizer (vocab.txt or sentencepiece.bpe.model or tokenizer.json)" in refusal(folder, "text")


def test_quantized_weights_are_refused(tmp_path):
    folder = vit(tmp_path / "vit", quantization_config={"quant_method": "bitsandbytes"})
    assert "holds quantized weights (bitsandbytes), which cannot be fine-tuned here" in refusal(folder)
    folder = vit(tmp_path / "vit2")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"F32"', b'"I8" '))
    assert "holds quantized weights (I8)" in refusal(folder)


def test_the_folder_inside_is_named(tmp_path):
    vit(tmp_path / "snapshots").rename(tmp_path / "abc")
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "abc").rename(tmp_path / "snapshots/abc")
    assert refusal(tmp_path).endswith(f"Give the folder inside it, '{tmp_path / 'snapshots/abc'}'.")
    (tmp_path / "1_Pooling").mkdir()
    write_json(tmp_path / "1_Pooling/config.json", {"pooling_mode_mean_tokens": True})
    assert refusal(tmp_path).endswith(f"Give the folder inside it, '{tmp_path / 'snapshots/abc'}'.")
    for name in "abcd":
        vit(tmp_path / name)
    names = " or ".join(repr(str(tmp_path / name)) for name in "abc")
    assert refusal(tmp_path).endswith(f"Give the folder inside it, {names} or another of the 5.")


def test_an_adapter_needs_its_network(tmp_path):
    write_json(tmp_path / "adapter_config.json", {"peft_type": "LORA", "base_model_name_or_path": "bert-base-uncased"})
    assert presets.is_preset(tmp_path)
    assert refusal(tmp_path, "text") == (
        f"'{tmp_path}' holds an adapter, which is of no use without its network (bert-base-uncased). Merge them with "
        "`merge_and_unload` of PEFT, and give the folder of the merged network."
    )


def test_a_byte_order_mark_is_read_over(tmp_path):
    folder = vit(tmp_path / "vit")
    (folder / "config.json").write_text((folder / "config.json").read_text(), encoding="utf-8-sig")
    assert presets.read(folder).architecture == "vit"


@pytest.mark.parametrize(
    ("size", "crop", "expected"),
    [
        ({"height": 24, "width": 20}, None, (24, 20)),
        ({"shortest_edge": 40}, {"height": 32, "width": 32}, (32, 32)),
        (28, None, (28, 28)),
        (None, None, (48, 48)),
    ],
)
def test_the_image_size_is_that_of_the_preprocessing(size, crop, expected):
    preprocessing = {name: value for name, value in (("size", size), ("crop_size", crop)) if value}
    assert preset.image_size("transformers", {"image_size": 48}, preprocessing) == expected


@pytest.mark.parametrize("handle", ["hf:a b", "hf:", "hf:a/b/c", "hf:a/b@"])
def test_a_handle_of_hugging_face_has_a_form(handle):
    with pytest.raises(InputError, match="has the form `hf:OWNER/NAME` or `hf:OWNER/NAME@REVISION`. Received: "):
        repository(handle)
    with pytest.raises(InputError, match=r"Received: 'hf://a/b'. Did you mean hf:a/b\?"):
        repository("hf://a/b")


def test_without_a_network_the_folder_route_is_named(monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(network, "reachable", lambda *_: False)
    with pytest.raises(ConnectionError) as caught:
        presets.read("hf:owner/name")
    assert str(caught.value) == (
        f"'hf:owner/name' is not in the cache of Hugging Face, '{tmp_path}', and https://huggingface.co does not answer. "
        "Download its files on a machine with internet access, and give their folder as `model.backbone`."
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match="and HF_HUB_OFFLINE forbids to download it. Download its files on a"):
        presets.read("hf:owner/name")


def test_a_copy_in_the_cache_needs_no_network(monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(network, "reachable", lambda *_: pytest.fail("the network was asked"))
    commit = "0123456789abcdef0123456789abcdef01234567"
    base = tmp_path / "models--owner--name"
    (base / "refs").mkdir(parents=True)
    (base / "refs/main").write_text(commit)
    (base / "snapshots").mkdir()
    vit(base / "snapshots" / commit)
    for handle in ("hf:owner/name", f"hf:owner/name@{commit}"):
        found = presets.read(handle, kind="images")
        assert (found.architecture, found.is_fetched) == ("vit", True)
        assert presets.fetch(found).tensors == {"vit.layernorm.weight": (4,)}
    (base / "snapshots" / commit / "model.safetensors").unlink()
    monkeypatch.setattr(network, "reachable", lambda *_: False)
    with pytest.raises(ConnectionError, match="the weights of 'hf:owner/name' are not in the cache of Hugging Face, '"):
        presets.read("hf:owner/name")


def test_a_gated_repository_says_how_to_be_let_in(monkeypatch, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(network, "reachable", lambda *_: True)
    monkeypatch.setattr(downloads, "_cached_snapshot", lambda *_: None)
    errors = pytest.importorskip("huggingface_hub.errors")
    error = errors.GatedRepoError.__new__(errors.GatedRepoError)

    def refuse(**_):
        raise error

    monkeypatch.setattr(hub, "snapshot_download", refuse)
    with pytest.raises(
        InputError, match="is gated: accept its terms at https://huggingface.co/owner/name, and log in with"
    ):
        presets.read("hf:owner/name")


def test_without_the_extra_it_is_named(monkeypatch, tmp_path):
    monkeypatch.undo()
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "keras_hub" else find(name))
    with pytest.raises(optional_imports.MissingExtra, match=re.escape("pip install 'kerastrain[kerashub]'")):
        presets.read("kerashub:resnet_50_imagenet")
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    with pytest.raises(
        InputError, match=r"need Python 3.11 or later, for which KerasHub exists. Received: Python 3.10."
    ):
        presets.read("kerashub:resnet_50_imagenet")
    assert presets.read(vit(tmp_path / "vit")).family == "vit"  # built without KerasHub


def test_tensorflow_is_not_started(tmp_path):
    program = (
        "import sys; from kerastrain import presets; presets.preset.require_kerashub = lambda: None; "
        f"presets.read({str(vit(tmp_path / 'vit'))!r}); "
        "sys.exit('tensorflow' in sys.modules or 'keras_hub' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
