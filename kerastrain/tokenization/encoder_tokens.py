"""The tokenizer of a pretrained text encoder: word pieces, byte pairs or SentencePiece, as plain settings.

Takes texts, returns token ids by the libraries `tokenizers` and `sentencepiece`; `layers.encoder_text` does the same in a
graph. Must not import TensorFlow.
"""

import base64
import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from kerastrain.system import optional_imports

Kind = Literal["word_pieces", "byte_pairs", "sentence_pieces"]

LONGEST_WORD = 100  # characters; BERT reads a longer word as one unknown token
_PURPOSE = {"extra": "kerashub", "to": "read texts as a pretrained encoder does"}
_CUT_PERCENTILE = 99
_MULTIPLE = 8  # Matrix units of GPUs and CPUs are used whole at multiples of 8.
_AT_ONCE = 10_000


@dataclasses.dataclass(frozen=True)
class EncoderTokens:
    """How a pretrained encoder reads a text.

    Special tokens such as "[SEP]" that a text spells out are read as plain characters.

    Args:
        kind: "word_pieces" (BERT, DistilBERT, MiniLM, E5), "byte_pairs" (RoBERTa) or "sentence_pieces" (XLM-R).
        start: int, the id before every text.
        end: int, the id after every text.
        pad: int, the id that fills texts up to the sequence length.
        unknown: int, the id of what the vocabulary does not hold.
        vocabulary: sequence of str, the token of each id; empty for "sentence_pieces".
        merges: sequence of str, "LEFT RIGHT", the pairs that "byte_pairs" joins, first the most important.
        proto: bytes, the model file of SentencePiece.
        offset: int >= 0, what is added to the ids of SentencePiece.
        lowercase: bool, whether texts are lower-cased.
        strip_accents: bool, whether accents are removed.
        split_chinese: bool, whether each Chinese character is a word; for "word_pieces".
        clean: bool, whether control characters are removed; for "word_pieces".
        space_before: bool, whether a space is put before a text, so that its first word is read like the others; for
            "byte_pairs".
        prefix: str, put before every text, such as "query: " of E5.
    """

    kind: Kind
    start: int
    end: int
    pad: int
    unknown: int
    vocabulary: Sequence[str] = ()
    merges: Sequence[str] = ()
    proto: bytes = b""
    offset: int = 0
    lowercase: bool = False
    strip_accents: bool = False
    split_chinese: bool = True
    clean: bool = True
    space_before: bool = False
    prefix: str = ""

    @property
    def special(self) -> int:
        """The number of special tokens around a text."""
        return 2

    @property
    def size(self) -> int:
        """The number of tokens of the vocabulary."""
        if self.kind != "sentence_pieces":
            return len(self.vocabulary)
        sentencepiece = optional_imports.need("sentencepiece", **_PURPOSE)
        return sentencepiece.SentencePieceProcessor(model_proto=self.proto).get_piece_size() + self.offset

    def ids(self, texts: Iterable[str]) -> list[list[int]]:
        """The token ids of texts, with the special tokens, neither cut nor padded.

        Args:
            texts: iterable of str.

        Returns:
            list of lists of int.
        """
        texts = [self.prefix + text for text in texts]
        encode = self._sentence_pieces() if self.kind == "sentence_pieces" else self._fast()
        batches = (encode(texts[index : index + _AT_ONCE]) for index in range(0, len(texts), _AT_ONCE))
        return [[self.start, *ids, self.end] for batch in batches for ids in batch]

    def to_config(self) -> dict:
        """The settings as JSON values, for `from_config`."""
        config = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        config |= {"vocabulary": list(self.vocabulary), "merges": list(self.merges)}
        return config | {"proto": base64.b64encode(self.proto).decode()}

    @classmethod
    def from_config(cls, config: Mapping) -> "EncoderTokens":
        """Makes the settings from JSON values.

        Args:
            config: mapping, as from `to_config`.

        Returns:
            EncoderTokens.
        """
        values = {**config, "vocabulary": tuple(config["vocabulary"]), "merges": tuple(config["merges"])}
        return cls(**{**values, "proto": base64.b64decode(config["proto"])})

    def tokenizer(self):
        """The tokenizer of the library `tokenizers`, without `prefix` and special tokens; not for "sentence_pieces".

        Returns:
            tokenizers.Tokenizer.
        """
        tokenizers = optional_imports.need("tokenizers", **_PURPOSE)
        models, normalizers, pre_tokenizers = tokenizers.models, tokenizers.normalizers, tokenizers.pre_tokenizers
        vocabulary = {token: index for index, token in enumerate(self.vocabulary)}
        if self.kind == "word_pieces":
            unknown = self.vocabulary[self.unknown]
            model = models.WordPiece(vocabulary, unk_token=unknown, max_input_chars_per_word=LONGEST_WORD)
            tokenizer = tokenizers.Tokenizer(model)
            tokenizer.normalizer = normalizers.BertNormalizer(
                clean_text=self.clean,
                handle_chinese_chars=self.split_chinese,
                strip_accents=self.strip_accents,
                lowercase=self.lowercase,
            )
            tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        else:
            merges = [tuple(merge.split(" ")) for merge in self.merges]
            tokenizer = tokenizers.Tokenizer(models.BPE(vocabulary, merges))
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=self.space_before)
        return tokenizer

    def _fast(self):
        tokenizer = self.tokenizer()
        return lambda texts: [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]

    def _sentence_pieces(self):
        sentencepiece = optional_imports.need("sentencepiece", **_PURPOSE)
        normalizers = optional_imports.need("tokenizers", **_PURPOSE).normalizers
        steps = [normalizers.NFD(), normalizers.StripAccents()] if self.strip_accents else []
        steps += [normalizers.Lowercase()] if self.lowercase else []
        normalize = normalizers.Sequence(steps).normalize_str
        processor = sentencepiece.SentencePieceProcessor(model_proto=self.proto)
        unknown = processor.unk_id()

        def encode(texts: Sequence[str]) -> list[list[int]]:
            pieces = processor.encode([normalize(text) for text in texts], out_type=int)
            return [[self.unknown if piece == unknown else piece + self.offset for piece in ids] for ids in pieces]

        return encode


def sequence_length(counts: Sequence[int], most: int) -> int:
    """The sequence length at which at most one text of a hundred is cut, a multiple of 8.

    Args:
        counts: sequence of int, the numbers of tokens of the training texts, with the special tokens.
        most: int >= 1, the number of positions of the network.

    Returns:
        int in [8, most], or `most` if that is below 8.

    Example:
        >>> sequence_length([10] * 99 + [70], most=512), sequence_length([600] * 100, most=512)
        (16, 512)
    """
    enough = int(np.percentile(counts, _CUT_PERCENTILE, method="inverted_cdf")) if len(counts) else 1
    return min(math.ceil(max(enough, 1) / _MULTIPLE) * _MULTIPLE, most)
