"""The tokenizer of a pretrained text encoder, read from the files of Hugging Face or KerasHub.

Takes a `Preset` of a text encoder; returns `EncoderTokens`. Must not import TensorFlow or KerasHub.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kerastrain.errors import InputError
from kerastrain.presets import files, sentence_transformers
from kerastrain.presets.preset import Preset
from kerastrain.system import optional_imports
from kerastrain.tokenization.encoder_tokens import EncoderTokens

_SPECIAL = {  # where each special token stands in the files of a tokenizer, and its usual names
    "start": ("cls_token", ("[CLS]", "<s>")),
    "end": ("sep_token", ("[SEP]", "</s>")),
    "pad": ("pad_token", ("[PAD]", "<pad>")),
    "unknown": ("unk_token", ("[UNK]", "<unk>")),
}
_PIECES = ("sentencepiece.bpe.model", "spiece.model", "sentencepiece.model", "spm.model")
_FAIRSEQ = {"start": 0, "pad": 1, "end": 2, "unknown": 3}  # XLM-R's ids, before those of SentencePiece
_PURPOSE = {"extra": "kerashub", "to": "read texts as a pretrained encoder does"}
_PROBES = (
    "A moving, wonderful story!",
    "It's NOT good -- at all... (3/10)",
    "Café naïve Ünïcödé",
    "two\nlines\tand  spaces ",
    "don't stop",
    "日本語 text",
    "Привет, мир!",
    "",
)


def read(preset: Preset) -> EncoderTokens:
    """Reads the tokenizer of an encoder, with the text that its folder puts before every input.

    Args:
        preset: Preset for texts, fetched if its tokenizer must be downloaded.

    Returns:
        EncoderTokens.

    Raises:
        InputError: the files lack a vocabulary or a special token, or describe a tokenizer of another kind.
    """
    folder = Path(preset.location)
    if preset.origin == "kerashub":
        return _of_kerashub(preset, folder)
    whole = files.read_json(folder / "tokenizer.json") if (folder / "tokenizer.json").is_file() else {}
    plain = _plain_vocabulary(folder)
    size, count = preset.config.get("vocab_size", 0), len((whole.get("model") or {}).get("vocab") or ())
    # Transformers 5 writes a tokenizer.json of the special tokens only when it is given a vocabulary that it does not read.
    is_whole = bool(whole) and not count < min(size, len(plain))
    tokens = _of_hugging_face(preset, folder, plain, whole if is_whole else {})
    if is_whole:
        _check(preset, folder / "tokenizer.json", tokens)
    prefix = sentence_transformers.prefix(folder)
    return tokens if not prefix else dataclasses.replace(tokens, prefix=prefix)


def check_fits(preset: Preset, tokens: EncoderTokens, vocabulary_size: int) -> None:
    """Raises an error if a tokenizer makes ids that its network does not have.

    Args:
        preset: Preset, for the message.
        tokens: EncoderTokens from `read`.
        vocabulary_size: int, the number of embeddings of the network.

    Raises:
        InputError: the vocabulary is larger.
    """
    count = tokens.size
    if count > vocabulary_size:
        raise InputError(
            f"{preset.handle!r}: the tokenizer and the network do not belong together: the vocabulary has {count:,} tokens, and "
            f"the network {vocabulary_size:,} embeddings. Copy the tokenizer's files of the same network."
        )


def _of_hugging_face(preset: Preset, folder: Path, plain: list[str], whole: Mapping[str, Any]) -> EncoderTokens:
    settings = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            settings |= files.read_json(folder / name)
    model = whole.get("model") or {}
    proto = next((folder / name for name in _PIECES if (folder / name).is_file()), None)
    if proto is not None:
        return _sentence_pieces(preset, proto, settings)
    vocabulary = _in_order(model["vocab"]) if model.get("type") in ("WordPiece", "BPE") else plain
    if model.get("type") == "WordPiece" or (not model and (folder / "vocab.txt").is_file()):
        return _word_pieces(preset, vocabulary, settings, whole.get("normalizer") or {})
    if model.get("type") == "BPE" or (not model and (folder / "vocab.json").is_file()):
        merges = model["merges"] if model else _merges(folder / "merges.txt")
        return _byte_pairs(preset, vocabulary, merges, settings, whole.get("pre_tokenizer") or {})
    if model.get("type") == "Unigram":
        raise InputError(
            f"{preset.handle!r}: its tokenizer.json holds the pieces of SentencePiece, which are read from their own file. "
            f"Copy {_PIECES[-1] if preset.family == 'deberta_v3' else _PIECES[0]} of the same network into the folder."
        )
    raise InputError(
        f"{preset.handle!r}: tokenizers with word pieces, byte pairs or SentencePiece are read. Received: "
        f"{model.get('type') or 'none'} in tokenizer.json."
    )


def _plain_vocabulary(folder: Path) -> list[str]:
    """The tokens of vocab.txt or vocab.json; none if the folder has neither."""
    if (folder / "vocab.txt").is_file():
        return _lines(folder / "vocab.txt")
    return _in_order(files.read_json(folder / "vocab.json")) if (folder / "vocab.json").is_file() else []


def _lines(file: Path) -> list[str]:
    files.refuse_pointer(file)
    return file.read_text(encoding="utf-8").rstrip("\n").split("\n")


def _merges(file: Path) -> list[str]:
    if not file.is_file():
        raise InputError(
            f"{str(file.parent)!r} holds a vocabulary of byte pairs, and no {file.name}. Copy it from where the network comes "
            "from."
        )
    return [line for line in _lines(file) if line and not line.startswith("#version")]


def _word_pieces(preset: Preset, vocabulary: list[str], settings: Mapping, normalizer: Mapping) -> EncoderTokens:
    lowercase = bool(_known(settings.get("do_lower_case"), normalizer.get("lowercase"), True))
    strip = _known(settings.get("strip_accents"), normalizer.get("strip_accents"), lowercase)
    chinese = _known(settings.get("tokenize_chinese_chars"), normalizer.get("handle_chinese_chars"), True)
    return EncoderTokens(
        "word_pieces",
        **_special(preset, vocabulary, settings),
        vocabulary=vocabulary,
        lowercase=lowercase,
        strip_accents=bool(strip),
        split_chinese=bool(chinese),
        clean=bool(normalizer.get("clean_text", True)),
    )


def _byte_pairs(
    preset: Preset, vocabulary: list[str], merges: list, settings: Mapping, pre_tokenizer: Mapping
) -> EncoderTokens:
    space_before = _known(settings.get("add_prefix_space"), pre_tokenizer.get("add_prefix_space"), False)
    return EncoderTokens(
        "byte_pairs",
        **_special(preset, vocabulary, settings),
        vocabulary=vocabulary,
        merges=[merge if isinstance(merge, str) else " ".join(merge) for merge in merges],
        space_before=bool(space_before),
    )


def _sentence_pieces(preset: Preset, file: Path, settings: Mapping) -> EncoderTokens:
    """XLM-R counts its special tokens before the pieces; DeBERTa's are pieces."""
    proto = file.read_bytes()
    if preset.family != "deberta_v3":
        return EncoderTokens("sentence_pieces", **_FAIRSEQ, proto=proto, offset=1)
    sentencepiece = optional_imports.need("sentencepiece", **_PURPOSE)
    processor = sentencepiece.SentencePieceProcessor(model_proto=proto)
    vocabulary = [processor.id_to_piece(index) for index in range(processor.get_piece_size())]
    special = _special(preset, vocabulary, settings)
    return EncoderTokens(
        "sentence_pieces", **special, proto=proto, lowercase=bool(settings.get("do_lower_case", False))
    )


def _of_kerashub(preset: Preset, folder: Path) -> EncoderTokens:
    settings = files.read_json(folder / "tokenizer.json").get("config") or {}
    assets = folder / "assets" / "tokenizer"

    def content(name: str) -> Path:
        if not (assets / name).is_file():
            raise InputError(
                f"{str(folder)!r} is half downloaded: it holds no assets/tokenizer/{name}, the vocabulary. Download it again."
            )
        return assets / name

    if preset.family in ("xlm_roberta", "deberta_v3"):
        return _sentence_pieces(preset, content("vocabulary.spm"), {})
    if preset.family == "roberta":
        vocabulary, merges = _in_order(files.read_json(content("vocabulary.json"))), _merges(content("merges.txt"))
        return _byte_pairs(preset, vocabulary, merges, settings, {})
    return _word_pieces(
        preset,
        _lines(content("vocabulary.txt")),
        {
            "unk_token": settings.get("oov_token"),
            "do_lower_case": bool(settings.get("lowercase")),
            "strip_accents": bool(settings.get("strip_accents")),
        },
        {},
    )


def _in_order(vocabulary: Mapping[str, int]) -> list[str]:
    """The token of each id; an id without a token gets one that no text has."""
    tokens = {index: token for token, index in vocabulary.items()}
    return [tokens.get(index, f"[no token {index}]") for index in range(max(tokens, default=-1) + 1)]


def _special(preset: Preset, vocabulary: list[str], settings: Mapping[str, Any]) -> dict[str, int]:
    ids = {token: index for index, token in enumerate(vocabulary)}
    found = {}
    for name, (key, usual) in _SPECIAL.items():
        named = settings.get(key)
        named = named.get("content") if isinstance(named, Mapping) else named
        token = next((token for token in (named, *usual) if token in ids), None)
        if token is None:
            raise InputError(
                f"{preset.handle!r}: the vocabulary of {len(vocabulary):,} tokens lacks {named or ' and '.join(usual)}, the "
                f"{key} of the tokenizer. It may be cut off: copy the tokenizer's files again."
            )
        found[name] = ids[token]
    return found


def _known(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _check(preset: Preset, file: Path, tokens: EncoderTokens) -> None:
    """Raises an error if the tokenizer of tokenizer.json reads texts by other rules."""
    if not file.is_file():
        return
    tokenizers = optional_imports.need("tokenizers", **_PURPOSE)
    try:
        reference = tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises a bare Exception
        raise InputError(f"{str(file)!r} is no tokenizer ({error}). Download it again.") from None
    reference.no_truncation()
    reference.no_padding()
    expected = [encoding.ids for encoding in reference.encode_batch(list(_PROBES))]
    for text, ours, theirs in zip(_PROBES, tokens.ids(_PROBES), expected, strict=True):
        if ours != theirs:
            raise InputError(
                f"{preset.handle!r}: its tokenizer.json has rules that kerastrain does not know: it reads {text!r} as "
                f"{theirs}, and BERT's, RoBERTa's or XLM-R's rules as {ours}."
            )
