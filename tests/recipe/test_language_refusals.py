"""What cannot be the model of a language run is refused in a sentence before TensorFlow starts."""

import importlib.util
import json
import shutil
import sys

import pytest

pytest.importorskip("tokenizers")
pytest.importorskip("safetensors")

from language_folders import lines, write_language_model
from pretrained_folders import write_json

from kerastrain import config
from kerastrain.errors import InputError
from kerastrain.presets.architectures import LANGUAGE_MODELS
from kerastrain.recipe import requirements

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 3\n"
BUILT = ", ".join(LANGUAGE_MODELS)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_language_model(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return lines(tmp_path_factory.mktemp("data") / "qa.jsonl", [{"prompt": "a", "response": "b"}])


def require(backbone, path, *overrides, kind="chat"):
    run = config.load(overrides=[f"data.kind={kind}", f"data.path={path}", f"model.backbone={backbone}", *overrides])
    requirements.require(run)


def refusal(backbone, path, *overrides):
    with pytest.raises((InputError, OSError)) as raised:
        require(backbone, path, *overrides)
    return str(raised.value)


def changed(name, drop=(), **values):
    """A change of a JSON file of a folder."""

    def change(folder):
        content = json.loads((folder / name).read_text()) | values
        write_json(folder / name, {key: value for key, value in content.items() if key not in drop})

    return change


def renamed(old, new):
    return lambda folder: (folder / old).rename(folder / new)


def removed(name):
    return lambda folder: (folder / name).unlink()


def written(name, text):
    return lambda folder: (folder / name).write_text(text)


def cut(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def without_a_shard(folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    write_json(folder / "model.safetensors.index.json", {"weight_map": dict(zip("ab", names, strict=True))})


def adapter(folder):
    for name in ("config.json", "model.safetensors"):
        (folder / name).unlink()
    write_json(folder / "adapter_config.json", {"base_model_name_or_path": "meta-llama/Llama-3.2-1B"})


CHANGES = {
    "no weights": (removed("model.safetensors"), "holds no model.safetensors, the weights. Download the folder again."),
    "PyTorch": (
        renamed("model.safetensors", "pytorch_model.bin"),
        "only weights of PyTorch (pytorch_model.bin), which may",
    ),
    "PyTorch in several files": (
        renamed("model.safetensors", "pytorch_model-00001-of-00002.bin"),
        "only weights of PyTorch in several files. Convert them with the library transformers: python -c",
    ),
    "GGUF": (
        renamed("model.safetensors", "m.Q4_K_M.gguf"),
        "holds no model.safetensors, only weights in the format of GGUF.",
    ),
    "cut off": (cut, "model.safetensors' is cut off: it has 36,973 of 37,073 bytes. Download it again."),
    "pointer of weights": (
        written("model.safetensors", LFS),
        "is a pointer of Git LFS instead of the file. Run `git lfs pull`",
    ),
    "pointer of a tokenizer": (
        written("tokenizer.json", LFS),
        "tokenizer.json' is a pointer of Git LFS instead of the file.",
    ),
    "a shard": (
        without_a_shard,
        "is half downloaded: model-00002-of-00002.safetensors is missing, one of 2 files of weights",
    ),
    "adapter": (
        adapter,
        "holds an adapter, which is of no use without its network (meta-llama/Llama-3.2-1B). Merge them",
    ),
    "tokenizer.model": (
        renamed("tokenizer.json", "tokenizer.model"),
        "no tokenizer.json, only the tokenizer in an older format.",
    ),
    "no tokenizer": (
        removed("tokenizer.json"),
        "holds no tokenizer (tokenizer.json), without which texts cannot become tokens.",
    ),
    "no template": (
        changed("tokenizer_config.json", drop=["chat_template"]),
        "the tokenizer has no chat template, which makes a text of a conversation: the model may be one that continues texts. "
        "Set data.chat_template to a file with the template of its chat model, or data.kind=language for texts.",
    ),
    "template": (
        changed("tokenizer_config.json", chat_template="{% for m in messages %}"),
        "the chat template has a fault in line 1: Unexpected end of template.",
    ),
    "templates": (
        changed(
            "tokenizer_config.json", chat_template=[{"name": "rag", "template": "a"}, {"name": "b", "template": "b"}]
        ),
        "none of its chat templates is called default: rag, b. Write the one that you mean to chat_template.jinja",
    ),
    "GPTQ": (
        changed("config.json", quantization_config={"quant_method": "gptq"}),
        "holds quantized weights (gptq), which",
    ),
    "bitsandbytes": (
        changed("config.json", quantization_config={"quant_method": "bitsandbytes"}),
        "holds quantized weights (bitsandbytes), which cannot be fine-tuned here. Give the folder of the network before",
    ),
    "gpt2": (
        changed("config.json", model_type="gpt2"),
        f"`model.backbone` must be a language model that kerastrain builds: {BUILT}. Received: 'FOLDER', a network of the kind "
        "'gpt2'. Give the folder of one of these.",
    ),
    "mixtral": (
        changed("config.json", model_type="mixtral"),
        "a network of the kind 'mixtral'. Give the folder of one of these.",
    ),
    "mamba": (
        changed("config.json", model_type="mamba"),
        "a network of the kind 'mamba'. Give the folder of one of these.",
    ),
    "images too": (
        changed("config.json", model_type="qwen2_5_vl", vision_config={}),
        "a network of the kind 'qwen2_5_vl', which reads images too. Give the folder of one of these.",
    ),
    "BERT": (
        changed("config.json", model_type="bert"),
        f"must be a language model, which writes text. Received: 'FOLDER', a network of the kind bert. Give the folder of one of "
        f"{BUILT}, or set data.kind=text.",
    ),
    "images": (changed("config.json", model_type="vit"), "a network of the kind vit. Give the folder of one of"),
    "classifier": (
        changed("config.json", architectures=["LlamaForSequenceClassification"]),
        "Received: 'FOLDER', a LlamaForSequenceClassification, which was trained for another task. Give the folder of the model",
    ),
    "sizes": (changed("config.json", hidden_size=32), "config.json and the weights do not belong together:"),
    "rotation": (
        changed("config.json", rope_scaling={"rope_type": "linear"}),
        "the rotation of positions 'linear' in config.json needs the number factor. Received: 'nothing'.",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_folder_that_is_no_whole_language_model(name, model, path, tmp_path):
    change, sentence = CHANGES[name]
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    change(folder)
    message = refusal(folder, path)
    assert sentence.replace("FOLDER", str(folder)) in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("backbone", "sentence"),
    [
        (
            "qa.gguf",
            "Received: 'FOLDER/qa.gguf', a file of GGUF, whose weights cannot be fine-tuned here. Give the folder of",
        ),
        ("none", "no folder at 'FOLDER/none': the path does not exist. Give the folder of a language model"),
        ("gguf", "'FOLDER/gguf' holds no config.json, which names the network, only weights in the format of GGUF."),
    ],
)
def test_what_is_no_folder_of_a_model(backbone, sentence, path, tmp_path):
    (tmp_path / "qa.gguf").write_bytes(b"GGUF")
    (tmp_path / "gguf").mkdir()
    (tmp_path / "gguf" / "a.gguf").write_bytes(b"GGUF")
    assert sentence.replace("FOLDER", str(tmp_path)) in refusal(tmp_path / backbone, path)


@pytest.mark.parametrize(
    "handle", ["owner/name", "https://huggingface.co/owner/name", "huggingface.co/owner/name/tree/main"]
)
def test_a_handle_without_its_prefix(handle, path):
    assert refusal(handle, path) == f"no folder at '{handle}': the path does not exist. Did you mean hf:owner/name?"


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "fine_tune.lora_layers=[zzz]",
            "`fine_tune.lora_layers` must be found in paths of kernels such as 'block_0/query/kernel'.",
        ),
        ("fine_tune.lora_layers=['(']", "`fine_tune.lora_layers` must hold regular expressions. Received: '(' ("),
        (
            "memory.remat_blocks=[block_0, block_7]",
            "`memory.remat_blocks`: unknown layer 'block_7'. Known: block_0, block_1, embedding, norm.",
        ),
        (
            "export.formats=[onnx]",
            "`export.formats` of a language model must be of adapter, hugging_face, saved_model.",
        ),
    ],
)
def test_settings_that_the_model_does_not_have(override, sentence, model, path):
    require(model, path, "fine_tune.lora_rank=2")
    assert sentence in refusal(model, path, "fine_tune.lora_rank=2", override)


def test_more_blocks_than_there_are(model, path):
    require(model, path, "fine_tune.last=2")
    sentence = "`fine_tune.last` must lie in [1, 2], the blocks of the model. Received: 3. Leave it out to train all."
    assert refusal(model, path, "fine_tune.last=3") == sentence


def test_templates_that_are_not_used_may_be_unclear(model, path, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    change, sentence = CHANGES["templates"]
    change(folder)
    assert sentence in refusal(folder, path)
    require(folder, path, kind="language")
    require(folder, path, "data.chat_template={% for m in messages %}{{ m.content }}{% endfor %}")


def test_a_missing_library_and_an_old_python(model, path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "tokenizers" else found(name, *more)
    )
    sentence = "to open a language model, kerastrain needs tokenizers. Install it: pip install 'kerastrain[language]'."
    assert refusal(model, path) == sentence
    monkeypatch.setattr(sys, "version_info", (3, 10, 1))
    assert refusal(model, path) == (
        "language models need Python 3.11 or later, for which Keras has their layers. Received: Python 3.10."
    )


def test_files_of_language_models_of_other_models():
    with pytest.raises(
        InputError, match=r"`export.formats`: adapter is for language models\. Received: data\.kind=images\."
    ):
        requirements.require(config.load(overrides=["export.formats=[adapter]"]))
