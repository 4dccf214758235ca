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
ELECTRA = {**BERT, "model_type": "electra"}
MPNET = {**BERT, "model_type": "mpnet", "pad_token_id": 1, "relative_attention_num_buckets": 8}
DEBERTA = {
    **BERT,
    "model_type": "deberta-v2",
    "relative_attention": True,
    "position_buckets": 4,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": "p2c|c2p",
    "position_biased_input": False,
    "type_vocab_size": 0,
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
_REST = list(_BERT_NAMES)[5:]
_NAMES = {  # of the others than BERT, in the order of _BERT_NAMES
    "distilbert": _DISTIL_NAMES,
    "mpnet": [*(f"attention.attn.{letter}" for letter in "qkvo"), "attention.LayerNorm", *_REST],
    "deberta-v2": [*(f"attention.self.{name}_proj" for name in ("query", "key", "value")), *list(_BERT_NAMES)[3:]],
}


def _blocks(config):
    """What the names of each block begin with, and the names of its layers."""
    kind = config["model_type"]
    start = "transformer.layer" if kind == "distilbert" else "encoder.layer"
    return [f"{start}.{index}" for index in range(BLOCKS)], list(_NAMES.get(kind, _BERT_NAMES))


def tensors(config, prefix=""):
    """Random weights under the names of Hugging Face."""
    random = np.random.default_rng(7)
    kind, places = config["model_type"], config["max_position_embeddings"]
    shapes = {"word_embeddings": (config["vocab_size"], WIDTH), "position_embeddings": (places, WIDTH)}
    if kind not in ("distilbert", "mpnet"):
        shapes["token_type_embeddings"] = (config.get("type_vocab_size", 1), WIDTH)
    if kind == "deberta-v2":
        shapes = {"word_embeddings": shapes["word_embeddings"]}
    found = {f"{prefix}embeddings.{name}.weight": random.normal(size=shape) for name, shape in shapes.items()}
    layers = {"embeddings.LayerNorm": (WIDTH,)}
    if kind == "mpnet":
        found[f"{prefix}encoder.relative_attention_bias.weight"] = random.normal(size=(8, HEADS))
    if kind == "deberta-v2":
        found[f"{prefix}encoder.rel_embeddings.weight"] = random.normal(size=(8, WIDTH))
        layers["encoder.LayerNorm"] = (WIDTH,)
    for start in _blocks(config)[0]:
        names = _blocks(config)[1]
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


def hidden_states(config, found, ids, pad=0, prefix="", scores_of=None):
    """The vectors of one text's tokens, by the formulas of BERT's paper.

    `scores_of` is a callable (q, k, found, dense, head) to the scores of a head in place of q · k / sqrt(d); `dense` are the
    names of the layers of queries and keys, and `head` the columns of the head.
    """
    found = {name.removeprefix(prefix): value.astype(np.float64) for name, value in found.items()}
    offset = pad + 1 if config["model_type"] in ("roberta", "mpnet") else 0
    values = found["embeddings.word_embeddings.weight"][ids]
    if "embeddings.position_embeddings.weight" in found:
        values = values + found["embeddings.position_embeddings.weight"][offset : offset + len(ids)]
    if "embeddings.token_type_embeddings.weight" in found:
        values = values + found["embeddings.token_type_embeddings.weight"][0]
    values = _norm(values, found, "embeddings.LayerNorm")
    starts, layers = _blocks(config)
    for start in starts:
        names = [f"{start}.{name}" for name in layers]
        query, key, value, output, norm, first, second, last_norm = names
        heads = []
        for columns in np.split(np.arange(WIDTH), HEADS):
            q, k, v = (_dense(values, found, name)[:, columns] for name in (query, key, value))
            raw = scores_of(q, k, found, (query, key), columns) if scores_of else q @ k.T / math.sqrt(len(columns))
            scores = np.exp(raw)
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
