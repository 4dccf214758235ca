"""Writes tiny pretrained text encoders as Hugging Face does, with random weights, and computes them with NumPy."""

import math

import numpy as np
from pretrained_folders import write_json, write_safetensors

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ["film", "story", "good", "bad", "great", "dull", "the", "a", "is", "was", "!", ",", ".", "?"]
VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *WORDS,
    *LETTERS[1:],
    *(f"##{letter}" for letter in LETTERS),
]
WIDTH, BETWEEN, HEADS, BLOCKS, PLACES = 16, 24, 2, 2, 24

BERT = {
    "model_type": "bert",
    "vocab_size": len(VOCABULARY),
    "hidden_size": WIDTH,
    "num_hidden_layers": BLOCKS,
    "num_attention_heads": HEADS,
    "intermediate_size": BETWEEN,
    "max_position_embeddings": PLACES,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}
DISTIL_BERT = {
    "model_type": "distilbert",
    "vocab_size": len(VOCABULARY),
    "dim": WIDTH,
    "n_layers": BLOCKS,
    "n_heads": HEADS,
    "hidden_dim": BETWEEN,
    "max_position_embeddings": PLACES,
    "activation": "gelu",
    "dropout": 0.0,
    "attention_dropout": 0.0,
}
_BERT_NAMES = {
    "attention.self.query": (WIDTH, WIDTH),
    "attention.self.key": (WIDTH, WIDTH),
    "attention.self.value": (WIDTH, WIDTH),
    "attention.output.dense": (WIDTH, WIDTH),
    "attention.output.LayerNorm": (WIDTH,),
    "intermediate.dense": (BETWEEN, WIDTH),
    "output.dense": (WIDTH, BETWEEN),
    "output.LayerNorm": (WIDTH,),
}
_DISTIL_NAMES = ("attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin", "sa_layer_norm")
_DISTIL_NAMES += ("ffn.lin1", "ffn.lin2", "output_layer_norm")


def tensors(config, prefix=""):
    """Random weights under the names of Hugging Face."""
    random = np.random.default_rng(7)
    places = config["max_position_embeddings"]
    shapes = {"word_embeddings": (config["vocab_size"], WIDTH), "position_embeddings": (places, WIDTH)}
    if config["model_type"] != "distilbert":
        shapes["token_type_embeddings"] = (config.get("type_vocab_size", 1), WIDTH)
    found = {f"{prefix}embeddings.{name}.weight": random.normal(size=shape) for name, shape in shapes.items()}
    layers = {"embeddings.LayerNorm": (WIDTH,)}
    is_distilled = config["model_type"] == "distilbert"
    for index in range(BLOCKS):
        start = f"transformer.layer.{index}" if is_distilled else f"encoder.layer.{index}"
        names = _DISTIL_NAMES if is_distilled else _BERT_NAMES
        layers.update({f"{start}.{name}": shape for name, shape in zip(names, _BERT_NAMES.values(), strict=True)})
    for name, shape in layers.items():
        found[f"{prefix}{name}.weight"] = random.normal(size=shape) / 4 + (len(shape) == 1)
        found[f"{prefix}{name}.bias"] = random.normal(size=shape[:1]) / 4
    return {name: value.astype(np.float32) for name, value in found.items()}


def write_encoder(folder, config=BERT, *, prefix="", values=None):
    """Writes config.json, model.safetensors and a tokenizer; returns the folder."""
    folder.mkdir(parents=True)
    write_json(folder / "config.json", config)
    write_safetensors(folder / "model.safetensors", tensors(config, prefix) if values is None else values)
    if config["model_type"] == "roberta":
        from kerastrain.layers.encoder_pieces import byte_letters

        letters = byte_letters()
        merges = ["Ġ g", "o o", "oo d", "Ġg ood", "b a", "ba d"]
        tokens = ["<s>", "<pad>", "</s>", "<unk>", *letters, *(merge.replace(" ", "") for merge in merges)]
        write_json(folder / "vocab.json", {token: index for index, token in enumerate(tokens)})
        (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    else:
        (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
        write_json(folder / "tokenizer_config.json", {"do_lower_case": True, "model_max_length": PLACES})
    return folder


def hidden_states(config, found, ids, pad=0, prefix=""):
    """The vectors of one text's tokens, by the formulas of BERT's paper."""
    found = {name.removeprefix(prefix): value.astype(np.float64) for name, value in found.items()}
    offset = pad + 1 if config["model_type"] == "roberta" else 0
    values = found["embeddings.word_embeddings.weight"][ids]
    values = values + found["embeddings.position_embeddings.weight"][offset : offset + len(ids)]
    if "embeddings.token_type_embeddings.weight" in found:
        values = values + found["embeddings.token_type_embeddings.weight"][0]
    values = _norm(values, found, "embeddings.LayerNorm")
    is_distilled = config["model_type"] == "distilbert"
    for index in range(BLOCKS):
        start = f"transformer.layer.{index}" if is_distilled else f"encoder.layer.{index}"
        names = [f"{start}.{name}" for name in (_DISTIL_NAMES if is_distilled else _BERT_NAMES)]
        query, key, value, output, norm, first, second, last_norm = names
        heads = []
        for columns in np.split(np.arange(WIDTH), HEADS):
            q, k, v = (_dense(values, found, name)[:, columns] for name in (query, key, value))
            scores = np.exp(q @ k.T / math.sqrt(len(columns)))
            heads.append(scores / scores.sum(axis=1, keepdims=True) @ v)
        values = _norm(values + _dense(np.concatenate(heads, axis=1), found, output), found, norm)
        inner = _dense(values, found, first)
        inner = inner * (1 + np.vectorize(math.erf)(inner / math.sqrt(2))) / 2
        values = _norm(values + _dense(inner, found, second), found, last_norm)
    return values


def _dense(values, found, name):
    return values @ found[f"{name}.weight"].T + found[f"{name}.bias"]


def _norm(values, found, name):
    centred = values - values.mean(axis=1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-12)
    return scaled * found[f"{name}.weight"] + found[f"{name}.bias"]
