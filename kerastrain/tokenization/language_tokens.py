"""The tokenizer of a language model, as Hugging Face's tokenizer.json describes it, as plain settings.

Takes texts, returns token ids and the characters of each token, by the library `tokenizers`. Must not import TensorFlow.
"""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence

from kerastrain.errors import InputError
from kerastrain.system import optional_imports

ENDS_OF_TURNS = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<end_of_turn>",
    "<|end|>",
    "<|end_of_text|>",
    "<|endoftext|>",
)
"""The usual tokens at which chat templates end a reply."""

_AT_ONCE = 2_000  # texts, so that their encodings, a few hundred bytes a token, stay within some 100 MB


@dataclasses.dataclass(frozen=True)
class LanguageTokens:
    """How a language model reads and writes text.

    Args:
        content: str, the text of tokenizer.json.
        begin: int, the id before a text, or None if the model has none.
        end: int, the id after a text.
        pad: int, the id that fills sequences.
        stops: tuple of int, the ids at which a reply ends, with `end`.
        template: str, the Jinja text that makes a text of a conversation, or None.
        names: mapping from "bos_token", "eos_token", "pad_token" and "unk_token", those that exist, to their texts.
        adds_begin: bool, whether `begin` is put before a text that is no conversation; the template says it for those.
    """

    content: str = dataclasses.field(repr=False)
    begin: int | None
    end: int
    pad: int
    stops: tuple[int, ...]
    template: str | None = dataclasses.field(default=None, repr=False)
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    adds_begin: bool = False

    @property
    def size(self) -> int:
        """The number of tokens, those that were added to the vocabulary among them."""
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    @functools.cached_property
    def specials(self) -> dict[str, int]:
        """The texts that are read as one token wherever they occur, such as "<|im_end|>", and their ids."""
        added = self._tokenizer.get_added_tokens_decoder()
        return {token.content: index for index, token in added.items() if token.special}

    @functools.cached_property
    def stop_texts(self) -> tuple[str, ...]:
        """The texts of `stops`, the longest first."""
        texts = (self._tokenizer.id_to_token(index) for index in self.stops)
        return tuple(sorted(filter(None, texts), key=len, reverse=True))

    def ids(self, texts: Iterable[str]) -> list[list[int]]:
        """The token ids of texts, as they are: without the tokens before and after a text.

        Args:
            texts: iterable of str.

        Returns:
            list of lists of int.
        """
        return [ids for ids, _ in self.each_encoded(texts)]

    def encoded(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """The tokens of a text, and where they are in it.

        Args:
            text: str.

        Returns:
            (list of int, the ids; list of (int, int), the first character of each token and the one after its last). The
            tokens of a character that is several, such as an emoji, have the same place.
        """
        return next(self.each_encoded([text]))

    def each_encoded(self, texts: Iterable[str]) -> Iterator[tuple[list[int], list[tuple[int, int]]]]:
        """Encodes many texts, some at a time.

        Args:
            texts: iterable of str.

        Yields:
            as from `encoded`, in the order of the texts.
        """
        texts = texts if isinstance(texts, Sequence) else list(texts)
        for start in range(0, len(texts), _AT_ONCE):
            batch = list(texts[start : start + _AT_ONCE])
            for encoding in self._tokenizer.encode_batch(batch, add_special_tokens=False):
                yield encoding.ids, encoding.offsets

    def text(self, ids: Sequence[int], special: bool = False) -> str:
        """The text of tokens.

        Args:
            ids: sequence of int.
            special: bool, whether special tokens such as "<|im_end|>" are written out.

        Returns:
            str.
        """
        return self._tokenizer.decode(list(ids), skip_special_tokens=not special)

    def with_template(self, template: str | None) -> "LanguageTokens":
        """The tokenizer with another chat template; replies also end at the usual ends of a turn that the template writes.

        Args:
            template: str, Jinja text; None for no template.

        Returns:
            LanguageTokens.
        """
        ends = (self._tokenizer.token_to_id(text) for text in ENDS_OF_TURNS if template and text in template)
        stops = dict.fromkeys((*self.stops, *(index for index in ends if index is not None)))
        return dataclasses.replace(self, template=template, stops=tuple(stops))

    def to_config(self) -> dict:
        """The settings as JSON values, for `from_config`."""
        config = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return config | {"stops": list(self.stops), "names": dict(self.names)}

    @classmethod
    def from_config(cls, config: Mapping) -> "LanguageTokens":
        """Makes the settings from JSON values.

        Args:
            config: mapping, as from `to_config`.

        Returns:
            LanguageTokens.
        """
        return cls(**{**config, "stops": tuple(config["stops"]), "names": dict(config["names"])})

    @functools.cached_property
    def _tokenizer(self):
        return opened(self.content, "tokenizer.json")


@functools.lru_cache(2)  # Opening takes a tenth of a second or more, and `with_template` makes another record of it.
def opened(content: str, source: str = "tokenizer.json"):
    """Opens a tokenizer, without the truncation and padding that its file may ask for.

    Args:
        content: str, the text of a tokenizer.json.
        source: str, its name in messages.

    Returns:
        tokenizers.Tokenizer.

    Raises:
        InputError: the text describes no tokenizer.
        MissingExtra: the library is not installed.
    """
    tokenizers = optional_imports.need("tokenizers", extra="language", to="read texts as a language model does")
    try:
        tokenizer = tokenizers.Tokenizer.from_str(content)
    except Exception as error:  # the library raises a bare Exception
        reason = " ".join(str(error).split())[:150]
        raise InputError(f"{source} is no tokenizer ({reason}). Download it again.") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
