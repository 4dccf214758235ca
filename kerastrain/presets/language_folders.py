"""The files of a language model's folder beside its weights: config.json, the tokenizer, the chat template, the licence.

Takes a `Preset` and its `LanguageTokens`; writes files of Hugging Face. Must not import TensorFlow.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from kerastrain.presets import files, language_tokenizers
from kerastrain.presets.preset import Preset
from kerastrain.tokenization.language_tokens import LanguageTokens

COPIED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
)
"""What is taken over from the folder of Hugging Face that a model comes from."""

LICENCES = ("LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*")
"""What is taken over from any folder."""


def config(preset: Preset, tokens: LanguageTokens) -> dict[str, Any]:
    """The content of config.json of a language model; KerasHub's lacks the ids of the special tokens.

    Args:
        preset: Preset for language.
        tokens: LanguageTokens of it.

    Returns:
        dict.
    """
    ids = {"bos_token_id": tokens.begin, "eos_token_id": tokens.end, "pad_token_id": tokens.pad}
    return {**preset.config, **(ids if preset.origin == "kerashub" else {})}


def write(folder: Path, preset: Preset, tokens: LanguageTokens) -> None:
    """Writes all files of a language model but its weights.

    Args:
        folder: Path of an existing folder.
        preset: Preset for language.
        tokens: LanguageTokens of it; a chat template that is not the folder's own is written to chat_template.jinja, and
            stops that the folder does not name to generation_config.json.
    """
    source = Path(preset.location)
    patterns = LICENCES if preset.origin == "kerashub" else (*COPIED, *LICENCES)
    for path in (path for pattern in patterns for path in sorted(source.glob(pattern))):
        if path.is_file():
            shutil.copyfile(path, folder / path.name)
    content = config(preset, tokens)
    _write_json(folder / "config.json", content)
    if preset.origin == "kerashub":
        (folder / "tokenizer.json").write_text(tokens.content, encoding="utf-8")
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **tokens.names}
        _write_json(folder / "tokenizer_config.json", settings)
    if tokens.template is not None and tokens.template != language_tokenizers.template(preset):
        (folder / "chat_template.jinja").write_text(tokens.template, encoding="utf-8")
    ids = {key: content[key] for key in ("bos_token_id", "pad_token_id") if isinstance(content.get(key), int)}
    path = folder / "generation_config.json"
    generation = files.read_json(path) if path.exists() else ids
    named = generation.get("eos_token_id")
    named = named if isinstance(named, list) else [named]
    if not set(tokens.stops) <= set(named):  # such as the end of a turn of another chat template
        stops = dict.fromkeys((*(index for index in named if index is not None), *tokens.stops))
        _write_json(path, {**generation, "eos_token_id": list(stops)})


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
