"""The tokenizer of a pretrained language model, read from the files of Hugging Face.

Takes a `Preset` of a language model; returns `LanguageTokens`. Must not import TensorFlow.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kerastrain.errors import InputError
from kerastrain.presets import files, kerashub_language_tokens
from kerastrain.presets.preset import Preset, require_language
from kerastrain.tokenization.language_tokens import LanguageTokens, opened

_NAMES = ("bos_token", "eos_token", "pad_token", "unk_token")


def read(preset: Preset, *, needs_template: bool = False) -> LanguageTokens:
    """Reads the tokenizer of a language model.

    A reply ends at the end of a text, at the tokens that generation_config.json and config.json name, and at the usual ends
    of a turn that the chat template writes.

    Args:
        preset: Preset for language; its JSON files are enough.
        needs_template: bool, whether its chat template is used, so that an unclear one is refused.

    Returns:
        LanguageTokens.

    Raises:
        InputError: the files describe no tokenizer, or one without a token that ends a text.
        MissingExtra: a library of the extra `language` is not installed.
    """
    require_language()
    folder, usual = Path(preset.location), {}
    if preset.origin == "kerashub":
        content, usual = kerashub_language_tokens.read(preset)
    else:
        content = _text(folder / "tokenizer.json")
    tokenizer = opened(content, repr(str(folder / "tokenizer.json")))
    settings = {**usual, **_settings(folder)}
    names = {name: text for name in _NAMES if (text := _token(settings.get(name))) is not None}
    ids = {name: tokenizer.token_to_id(text) for name, text in names.items()}
    missing = next((name for name, index in ids.items() if index is None), None)
    if missing is not None:
        raise InputError(
            f"{preset.handle!r}: the tokenizer has no token {names[missing]!r}, which tokenizer_config.json names as its "
            f"{missing}. Copy the tokenizer's files of one network."
        )
    generation = _json(folder / "generation_config.json")
    named = [*_ids(generation.get("eos_token_id")), *_ids(preset.config.get("eos_token_id"))]
    end = ids.get("eos_token", next(iter(named), None))
    if end is None:
        raise InputError(
            f"{preset.handle!r}: no file names the token that ends a text. Set eos_token in tokenizer_config.json, or "
            "eos_token_id in config.json."
        )
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    stops = dict.fromkeys(index for index in (end, *named) if index is not None and 0 <= index < size)
    pads = (ids.get("pad_token"), *_ids(preset.config.get("pad_token_id")), end)
    begin = ids.get("bos_token")
    tokens = LanguageTokens(
        content=content,
        begin=begin,
        end=end,
        pad=next(index for index in pads if index is not None and 0 <= index < size),
        stops=tuple(stops),
        names={"eos_token": tokenizer.id_to_token(end)} | names,
        # The library transformers does as tokenizer.json says, too, whatever add_bos_token in the other file is.
        adds_begin=begin is not None and tokenizer.encode("a").ids[:1] == [begin],
    )
    return tokens.with_template(template(preset, is_needed=needs_template))


def check_fits(preset: Preset, tokens: LanguageTokens, vocabulary_size: int) -> None:
    """Raises an error if a tokenizer makes ids that its network does not have.

    Args:
        preset: Preset, for the message.
        tokens: LanguageTokens from `read`.
        vocabulary_size: int, the number of embeddings of the network.

    Raises:
        InputError: the vocabulary is larger.
    """
    if tokens.size > vocabulary_size:
        raise InputError(
            f"{preset.handle!r}: the tokenizer and the network do not belong together: the tokenizer has {tokens.size:,} "
            f"tokens, and the network {vocabulary_size:,} embeddings. Copy the tokenizer's files of the same network."
        )


def template(preset: Preset, *, is_needed: bool = False) -> str | None:
    """The chat template of a folder: that of chat_template.jinja counts before those inside JSON files, as in transformers.

    Args:
        preset: Preset for language.
        is_needed: bool, whether an unclear one is refused.

    Returns:
        str, Jinja text, or None.

    Raises:
        InputError: it is needed, and several are given, or one that is no text.
    """
    folder = Path(preset.location)
    settings = _settings(folder)
    if (folder / "chat_template.jinja").is_file():
        return _text(folder / "chat_template.jinja")
    found = settings.get("chat_template") or _json(folder / "chat_template.json").get("chat_template")
    if isinstance(found, list):  # named templates, such as "default" and "tool_use"
        named = {item.get("name"): item.get("template") for item in found if isinstance(item, Mapping)}
        found = named.get("default") or (next(iter(named.values())) if len(named) == 1 else None)
        if found is None and named and is_needed:
            raise InputError(
                f"{preset.handle!r}: none of its chat templates is called default: {', '.join(map(str, named))}. Write the one "
                "that you mean to chat_template.jinja in the folder, or set data.chat_template."
            )
    if found is not None and not isinstance(found, str) and is_needed:
        raise InputError(
            f"{preset.handle!r}: chat_template in tokenizer_config.json must be a text. Received: {type(found).__name__}."
        )
    return found if isinstance(found, str) and found else None


def _settings(folder: Path) -> dict[str, Any]:
    """The content of tokenizer_config.json, with the special tokens of special_tokens_map.json where it names none."""
    settings = _json(folder / "special_tokens_map.json")
    own = _json(folder / "tokenizer_config.json")
    return settings | {key: value for key, value in own.items() if value is not None or key not in settings}


def _token(value: Any) -> str | None:
    """The text of a token, which may be written with its properties."""
    value = value.get("content") if isinstance(value, Mapping) else value
    return value if isinstance(value, str) and value else None


def _ids(value: Any) -> list[int]:
    values = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, int) and not isinstance(item, bool)]


def _json(path: Path) -> dict:
    return files.read_json(path) if path.is_file() else {}


def _text(path: Path) -> str:
    files.refuse_pointer(path)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{str(path)!r} must be UTF-8 ({error.reason}). Download it again.") from None
