"""The tokenizer of a language model of KerasHub as Hugging Face's tokenizer.json describes it.

Takes a `Preset` of KerasHub; returns the text of a tokenizer.json and the names of its special tokens. Must not import
TensorFlow or KerasHub.
"""

import re
from pathlib import Path
from typing import Any

from kerastrain.errors import InputError
from kerastrain.presets import files
from kerastrain.presets.preset import Preset
from kerastrain.system import optional_imports

_PURPOSE = {"extra": "language", "to": "read texts as a language model does"}
_LLAMA_3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_QWEN = _LLAMA_3.replace(r"\p{N}{1,3}", r"\p{N}")
_NAMES = {  # the special tokens of the families; KerasHub's files hold none of them
    **dict.fromkeys(("llama", "mistral"), {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}),
    **dict.fromkeys(
        ("gemma", "gemma3"),
        {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"},
    ),
    "llama3": {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"},
    "qwen": {"eos_token": "<|endoftext|>"},
    "qwen3": {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
    "smollm3": {"eos_token": "<|end_of_text|>"},
}
_SPECIAL = re.compile(r"<\|[^|]*\|>|<(?:start|end)_of_(?:turn|image)>|\[/?[A-Z_]+\]|</?s>|<(?:bos|eos|pad|unk|img)>")
_CONTROL, _USER_DEFINED, _BYTE_PAIRS = 3, 4, 2  # as in the files of SentencePiece
_PROBES = (
    "A moving, wonderful story!",
    "It's NOT good -- at all... (3/10)",
    "Café naïve Ünïcödé",
    "two\nlines\tand  spaces ",
    " don't stop\n\n",
    "日本語 text 😀",
)


def read(preset: Preset) -> tuple[str, dict[str, str]]:
    """Reads the tokenizer of a language model of KerasHub.

    Args:
        preset: Preset of KerasHub for language; its tokenizer must be in the folder.

    Returns:
        (str, the content of a tokenizer.json; dict from "bos_token", "eos_token", "pad_token" and "unk_token", those that
        exist, to their texts).

    Raises:
        InputError: the folder lacks the vocabulary, or it has rules that tokenizer.json cannot describe.
        MissingExtra: a library of the extra `language` is not installed, or of `kerashub` for SentencePiece.
    """
    folder = Path(preset.location)
    settings = files.read_json(folder / "tokenizer.json").get("config") or {}
    assets = folder / "assets" / "tokenizer"
    pieces = assets / "vocabulary.spm"
    if pieces.is_file():
        files.refuse_pointer(pieces)
        tokenizer = _sentence_pieces(preset, pieces.read_bytes())
    else:
        for name in ("vocabulary.json", "merges.txt"):
            if not (assets / name).is_file():
                raise InputError(
                    f"{str(folder)!r} is half downloaded: it holds no assets/tokenizer/{name}, the vocabulary. Download it again."
                )
            files.refuse_pointer(assets / name)
        tokenizer = _byte_pairs(preset, assets, settings)
    names = {name: text for name, text in _NAMES[preset.family].items() if tokenizer.token_to_id(text) is not None}
    if "bos_token" in names:
        begin = names["bos_token"]
        processors = optional_imports.need("tokenizers.processors", **_PURPOSE)
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A", special_tokens=[(begin, tokenizer.token_to_id(begin))]
        )
    return tokenizer.to_str(), names


def _byte_pairs(preset: Preset, assets: Path, settings: dict[str, Any]):
    """A tokenizer of byte pairs, which splits texts as the family did in its training."""
    tokenizers = optional_imports.need("tokenizers", **_PURPOSE)
    vocabulary = files.read_json(assets / "vocabulary.json")
    lines = (assets / "merges.txt").read_text(encoding="utf-8").split("\n")
    merges = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    pattern = settings.get("split_pattern") or (_QWEN if preset.family in ("qwen", "qwen3") else _LLAMA_3)
    try:
        model = tokenizers.models.BPE(
            vocab=vocabulary, merges=merges, ignore_merges=preset.family in ("llama3", "smollm3")
        )
    except Exception as error:  # the library raises a bare Exception
        raise InputError(
            f"{str(assets)!r}: vocabulary.json and merges.txt do not belong together ({error}). Copy both of one network."
        ) from None
    tokenizer = tokenizers.Tokenizer(model)
    if preset.family in ("qwen", "qwen3"):
        tokenizer.normalizer = tokenizers.normalizers.NFC()
    byte_level, split = tokenizers.pre_tokenizers.ByteLevel, tokenizers.pre_tokenizers.Split
    space = bool(settings.get("add_prefix_space"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            split(tokenizers.Regex(pattern), behavior="isolated"),
            byte_level(add_prefix_space=space, use_regex=False),
        ]
    )
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    whole = {text for text in settings.get("unsplittable_tokens") or () if text in vocabulary}
    whole |= {text for text in vocabulary if _SPECIAL.fullmatch(text)}
    tokenizer.add_special_tokens(sorted(whole, key=vocabulary.get))
    return tokenizer


def _sentence_pieces(preset: Preset, content: bytes):
    """A tokenizer of SentencePiece as byte pairs, compared with the library's own results."""
    tokenizers = optional_imports.need("tokenizers", **_PURPOSE)
    purpose = "read a tokenizer of SentencePiece"
    sentencepiece = optional_imports.need("sentencepiece", extra="kerashub", to=purpose)
    sentencepiece.set_min_log_level(1)  # It would say of each file without rules that it has none.
    processor = sentencepiece.SentencePieceProcessor(model_proto=content)
    protobuf = optional_imports.need("sentencepiece.sentencepiece_model_pb2", extra="kerashub", to=purpose)
    proto = protobuf.ModelProto.FromString(content)
    if proto.trainer_spec.model_type != _BYTE_PAIRS or proto.normalizer_spec.precompiled_charsmap:
        raise InputError(
            f"{preset.handle!r}: a tokenizer of SentencePiece must be of byte pairs, and leave texts as they are. Received: "
            f"{'other pieces' if proto.trainer_spec.model_type != _BYTE_PAIRS else f'the rule {proto.normalizer_spec.name}'}. "
            "Give the folder of Hugging Face of the same model."
        )
    pieces = [(piece.piece, piece.score, piece.type) for piece in proto.pieces]
    ids = {text: index for index, (text, _, _) in enumerate(pieces)}
    unknown, is_prefixed = processor.id_to_piece(processor.unk_id()), proto.normalizer_spec.add_dummy_prefix
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.BPE(
            vocab=ids,
            merges=_merges(pieces, ids),
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=proto.trainer_spec.byte_fallback,
        )
    )
    replace = tokenizers.normalizers.Replace(" ", "▁")
    prefix = [tokenizers.normalizers.Prepend("▁")] if is_prefixed else []
    tokenizer.normalizer = tokenizers.normalizers.Sequence([*prefix, replace])
    back = tokenizers.decoders
    strip = [back.Strip(" ", 1, 0)] if is_prefixed else []
    tokenizer.decoder = back.Sequence([back.Replace("▁", " "), back.ByteFallback(), back.Fuse(), *strip])
    tokenizer.add_tokens(
        [
            tokenizers.AddedToken(
                text,
                normalized="▁" in text and not is_prefixed,
                special=kind == _CONTROL or text == unknown or bool(_SPECIAL.fullmatch(text)),
            )
            for text, _, kind in pieces
            if kind in (_CONTROL, _USER_DEFINED) or text == unknown
        ]
    )
    for text in _PROBES:
        ours, theirs = tokenizer.encode(text, add_special_tokens=False).ids, processor.encode(text)
        if ours != theirs:
            raise InputError(
                f"{preset.handle!r}: its SentencePiece file has rules that tokenizer.json cannot describe: it reads {text!r} as "
                f"{theirs}, and byte pairs as {ours}. Give the folder of Hugging Face of the same model."
            )
    return tokenizer


def _merges(pieces: list[tuple[str, float, int]], ids: dict[str, int]) -> list[tuple[str, str]]:
    """The pairs that make each piece, the likeliest piece first, as SentencePiece merges them."""
    plain = {text for text, _, kind in pieces if kind != _CONTROL}
    found = []
    for text, score, kind in pieces:
        if kind == _CONTROL:
            continue
        pairs = [(text[:place], text[place:]) for place in range(1, len(text))]
        pairs = [pair for pair in pairs if pair[0] in plain and pair[1] in plain]
        pairs.sort(key=lambda pair: (ids[pair[0]], ids[pair[1]]))
        found += [(pair, score) for pair in pairs]
    found.sort(key=lambda item: (item[1], len(item[0][0]), len(item[0][1])), reverse=True)
    return [pair for pair, _ in found]
