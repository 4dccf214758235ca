"""Text of people among the control tokens of a chat template: what they type is never read as a control token.

Takes texts and `LanguageTokens`; returns token ids. Must not import TensorFlow.
"""

import functools
import json
import re
from collections.abc import Iterable

from kerastrain.tokenization.language_tokens import LanguageTokens, opened

_GUARD, _AROUND = "\ufdd2", "\ufdd3"  # Unicode reserves them for the inside of programs.
_RESERVED = re.compile("[\ufdd0-\ufdef]")


def guarded(text: str, tokens: LanguageTokens) -> str:
    """Marks the special tokens that a text spells out, so that `ids` reads them as letters.

    Args:
        text: str, what somebody typed.
        tokens: LanguageTokens.

    Returns:
        str, without the characters that Unicode reserves for programs.
    """
    text = _RESERVED.sub("", text)
    # Overlapping ones are marked too, because the rest of one may begin another.
    return _pattern(tuple(tokens.specials), inside=True).sub(_GUARD, text) if tokens.specials else text


def ids(text: str, tokens: LanguageTokens) -> list[int]:
    """The token ids of a text with parts from `guarded`.

    Args:
        text: str, such as a conversation that a chat template has written.
        tokens: LanguageTokens.

    Returns:
        list of int.
    """
    if _GUARD not in text:
        return tokens.ids([text])[0]

    def renamed(match: re.Match) -> str:
        return match[1] if match[1] is not None else f"{_AROUND}{match[2]}{_AROUND}"

    text = _pattern(tuple(tokens.specials), inside=False).sub(renamed, text)
    return opened(_with_renamed_specials(tokens.content)).encode(text, add_special_tokens=False).ids


@functools.lru_cache(4)
def _pattern(specials: tuple[str, ...], *, inside: bool) -> re.Pattern:
    names = "|".join(map(re.escape, sorted(specials, key=len, reverse=True)))
    return re.compile(f"(?={names})" if inside else f"{_GUARD}(.)|({names})", re.DOTALL)


@functools.lru_cache(1)
def _with_renamed_specials(content: str) -> str:
    """A tokenizer.json whose special tokens have names that nobody can type, and the same ids."""
    settings = json.loads(content)
    model = settings["model"]
    names = {token["content"] for token in settings["added_tokens"] if token["special"]}

    def renamed(name: str) -> str:
        return f"{_AROUND}{name}{_AROUND}" if name in names else name

    for token in settings["added_tokens"]:
        token["content"] = renamed(token["content"])
    vocabulary: dict | Iterable = model["vocab"]
    if isinstance(vocabulary, dict):
        model["vocab"] = {renamed(name): index for name, index in vocabulary.items()}
    else:  # Unigram
        model["vocab"] = [[renamed(name), score] for name, score in vocabulary]
    if model.get("unk_token") is not None:
        model["unk_token"] = renamed(model["unk_token"])
    settings["post_processor"] = None  # It names special tokens, and nothing is added here.
    return json.dumps(settings)
