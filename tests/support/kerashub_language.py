"""Writes tiny language models as KerasHub's `save_to_preset` does, with weights that make a difference."""

import io
import json

import numpy as np
from language_folders import CORPUS, tokenizer

SIZES = {
    "num_layers": 2,
    "num_query_heads": 4,
    "num_key_value_heads": 2,
    "hidden_dim": 16,
    "intermediate_dim": 24,
}
SPECIALS = {
    "Llama3": ("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"),
    "Qwen": ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
}


def write_backbone(folder, name, seed=0, **settings):
    """Writes the network of a class such as "Llama3", and returns it and its logits of some tokens: (ids, logits)."""
    import keras_hub

    random = np.random.default_rng(seed)
    backbone = getattr(keras_hub.models, f"{name}Backbone")(**settings)
    for variable in backbone.weights:
        if "rotary" not in variable.path:  # SmolLM3 stores its angles.
            is_scale = variable.path.endswith("scale")
            center = 1.0 if is_scale and "Gemma" not in name else 0.0
            variable.assign(random.normal(center, 0.1 if is_scale else 0.2, variable.shape))
    ids = random.integers(5, settings["vocabulary_size"], (2, 12)).astype("int32")
    values = backbone({"token_ids": ids, "padding_mask": np.ones_like(ids)}, training=False)
    logits = np.asarray(backbone.token_embedding(values, reverse=True))
    backbone.save_to_preset(str(folder))
    return ids, logits


def byte_pairs(name):
    """The vocabulary and the merges of the tokenizer of `language_folders`, with the special tokens of a family."""
    model = json.loads(tokenizer().to_str())["model"]
    vocabulary = {token: index for token, index in model["vocab"].items() if not token.startswith("<")}
    vocabulary = {token: index for index, token in enumerate(sorted(vocabulary, key=vocabulary.get))}
    for token in SPECIALS[name]:
        vocabulary[token] = len(vocabulary)
    return vocabulary, [" ".join(pair) if isinstance(pair, list) else pair for pair in model["merges"]]


def sentence_pieces(**options):
    """A file of SentencePiece with the special tokens of Gemma."""
    import sentencepiece

    written = io.BytesIO()
    settings = {
        "sentence_iterator": iter(CORPUS),
        "model_writer": written,
        "vocab_size": 310,
        "model_type": "BPE",
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "add_dummy_prefix": False,
        "hard_vocab_limit": False,
        "minloglevel": 2,
        **{f"{key}_id": index for index, key in enumerate(("pad", "eos", "bos", "unk"))},
        **{f"{key}_piece": f"<{key}>" for key in ("pad", "eos", "bos", "unk")},
        "user_defined_symbols": ["<start_of_turn>", "<end_of_turn>"],
    }
    sentencepiece.SentencePieceTrainer.train(**{**settings, **options})
    return written.getvalue()


def write_preset(folder, name):
    """Writes a whole preset of the class "Llama3", "Qwen" or "Gemma", and returns the tokenizer of KerasHub."""
    import keras_hub

    if name == "Gemma":
        made = keras_hub.models.GemmaTokenizer(proto=sentence_pieces())
    else:
        vocabulary, merges = byte_pairs(name)
        specials = {"misc_special_tokens": set(SPECIALS[name])} if name == "Llama3" else {}
        made = getattr(keras_hub.models, f"{name}Tokenizer")(vocabulary=vocabulary, merges=merges, **specials)
    heads = {"head_dim": 8} if name == "Gemma" else {}
    write_backbone(folder, name, vocabulary_size=made.vocabulary_size(), **SIZES, **heads)
    made.save_to_preset(str(folder))
    return made
