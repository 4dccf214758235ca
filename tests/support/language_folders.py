"""Writes tiny language models as Hugging Face does, with random weights, a tokenizer of bytes and a chat template."""

import json

import numpy as np
from pretrained_folders import write_json, write_safetensors

from kerastrain.presets import decoders
from kerastrain.presets.preset import Preset
from kerastrain.tokenization.language_tokens import LanguageTokens

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>")
CORPUS = ["user assistant system The capital of France is Paris. What is two and two? Four."] * 4


def tokenizer(adds_begin=False):
    """A tokenizer of byte pairs, which every text survives; the special tokens come first."""
    import tokenizers
    from tokenizers import decoders as backs
    from tokenizers import models, pre_tokenizers, processors, trainers

    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = backs.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=list(SPECIALS), initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(CORPUS, trainer)
    if adds_begin:
        made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 3)])
    return made


def language_tokens(template=CHATML, *, stops=(), adds_begin=False):
    """The tokenizer as `LanguageTokens`; texts begin with "<s>" and end with "</s>"."""
    made = tokenizer()
    tokens = LanguageTokens(
        content=made.to_str(),
        begin=3,
        end=4,
        pad=0,
        stops=(4, *(SPECIALS.index(stop) for stop in stops)),
        names={"bos_token": "<s>", "eos_token": "</s>"},
        adds_begin=adds_begin,
    )
    return tokens.with_template(template)


def write_tokenizer(folder, template=CHATML, **settings):
    """Writes tokenizer.json and tokenizer_config.json; a setting of None is left out."""
    tokenizer().save(str(folder / "tokenizer.json"))
    content = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<|endoftext|>",
        "chat_template": template,
        "tokenizer_class": "PreTrainedTokenizerFast",
        **settings,
    }
    write_json(folder / "tokenizer_config.json", {key: value for key, value in content.items() if value is not None})
    return folder


def write_language_model(folder, model_type="llama", template=CHATML, seed=0, **config):
    """Writes a model of two blocks, 16 wide, and returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder, template)
    content = {
        "model_type": model_type,
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": tokenizer().get_vocab_size(),
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "tie_word_embeddings": True,
        "rms_norm_eps": 1e-6,
        "eos_token_id": 4,
        **config,
    }
    write_json(folder / "config.json", content)
    options = {"handle": str(folder), "location": str(folder), "origin": "transformers", "family": "llama3"}
    preset = Preset(**options, kind="language", architecture=model_type, config=content, is_fetched=False)
    network = decoders.network(preset)
    random, tensors = np.random.default_rng(seed), {}
    for path, name in decoders.names(network).items():
        shape = decoders._shape(path, network, network.width)
        is_norm = path.endswith("/scale")
        tensors[name] = random.normal(1.0 if is_norm else 0.0, 0.02 if is_norm else 0.2, shape).astype(np.float32)
    write_safetensors(folder / "model.safetensors", tensors)
    return folder


def lines(path, records):
    """Writes JSON Lines."""
    path.write_text("\n".join(json.dumps(record, ensure_ascii=False) for record in records) + "\n", encoding="utf-8")
    return path
