"""Writes text with a language model: replies to conversations, and continuations of texts.

Takes a `keras.Model` from `decoders.build` and its `LanguageTokens`; takes and returns str. Must not read files.
"""

from collections.abc import Iterator, Mapping, Sequence

import keras

from kerastrain.errors import InputError, counted
from kerastrain.language import templates
from kerastrain.language.generation import Generator
from kerastrain.language.messages import message_list
from kerastrain.tokenization.language_tokens import LanguageTokens

_UNFINISHED = "\ufffd"  # how a part of a character is decoded
_LEAST_ROOM = 1 / 4  # of the model's positions, for a reply


class Writer:
    """A language model with its tokenizer.

    Reuse it: the first text traces functions, which takes seconds.

    Args:
        model: keras.Model from `decoders.build`.
        tokens: LanguageTokens of the model.
        is_chat: bool, whether a prompt of the user is a message to answer, else a text to continue. None: if there is a chat
            template.

    Raises:
        InputError: the model is no language model of kerastrain.

    Example:
        >>> writer = Writer(model, tokens)  # doctest: +SKIP
        >>> writer.write([{"role": "user", "content": "What is the capital of France?"}])  # doctest: +SKIP
        'The capital of France is Paris.'
    """

    def __init__(self, model: keras.Model, tokens: LanguageTokens, *, is_chat: bool | None = None):
        self.tokens = tokens
        self.is_chat = tokens.template is not None if is_chat is None else is_chat
        self._generator = Generator(model)

    @property
    def positions(self) -> int | None:
        """The number of tokens that the model was made for, of a prompt and what follows it."""
        return self._generator.positions

    def write(self, prompt: str | Sequence[Mapping[str, str]], **options: object) -> str:
        """Writes the reply to a conversation, or what continues a text.

        Args:
            prompt: sequence of mappings with "role" ("system", "user", "assistant") and "content", the last of the user; or
                str, a text to continue. In a conversation, special tokens that are spelled out, such as "<|im_end|>", are
                read as letters; in a text to continue as tokens.
            **options: as for `Generator.ids` but `stops`: `max_new_tokens`, `temperature`, `top_k`, `top_p`, `seed`.

        Returns:
            str, without the token that ends a turn.

        Raises:
            InputError: an option is out of range, the prompt is longer than the model's positions, or the tokenizer has no
                chat template for a conversation.
        """
        return self.write_each([prompt], **options)[0]

    def write_each(self, prompts: Sequence[str | Sequence[Mapping[str, str]]], **options: object) -> list[str]:
        """Writes what follows several prompts at the same time.

        Args:
            prompts: sequence of prompts as for `write`.
            **options: as for `write`.

        Returns:
            list of str.

        Raises:
            InputError: as for `write`.
        """
        new = self._generator.ids(list(map(self.ids, prompts)), stops=self.tokens.stops, **options)
        return [self.tokens.text(ids) for ids in new]

    def stream(self, prompt: str | Sequence[Mapping[str, str]], **options: object) -> "Answer":
        """Writes as `write`, and gives each piece of text as soon as it is complete.

        Args:
            prompt: as for `write`.
            **options: as for `write`.

        Returns:
            Answer, an iterator of str, pieces that make the text together; a character is never divided.

        Raises:
            InputError: as for `write`, at once.
        """
        ids = self._generator.stream(self.ids(prompt), stops=self.tokens.stops, **options)
        return Answer(ids, self.tokens)

    def check(self, prompt: str | Sequence[Mapping[str, str]]) -> None:
        """Raises an error if nothing can be written to a prompt.

        Args:
            prompt: as for `write`.

        Raises:
            InputError: as for `write`.
        """
        self._generator.check(self.ids(prompt))

    def ids(self, prompt: str | Sequence[Mapping[str, str]]) -> list[int]:
        """The token ids that a model reads before it writes.

        Args:
            prompt: as for `write`.

        Returns:
            list of int.

        Raises:
            InputError: the tokenizer has no chat template for a conversation, or the text has no tokens.
        """
        if isinstance(prompt, str):
            before = [self.tokens.begin] if self.tokens.adds_begin else []
            ids = before + self.tokens.ids([_unicode(prompt)])[0]
        else:
            ids = templates.prompt(_checked(prompt), templates.chosen(self.tokens, None))
        if not ids:
            raise InputError("a prompt must have at least one token. Received: an empty text.")
        return ids

    def fitting(self, messages: Sequence[Mapping[str, str]], *, max_new_tokens: int = 256) -> list[Mapping[str, str]]:
        """Drops the oldest messages of a conversation that is too long for the model, but not those of the system.

        Args:
            messages: sequence of mappings, as for `write`.
            max_new_tokens: int >= 1, the most tokens of the reply, for which room is left, at most a quarter of the model's
                positions.

        Returns:
            list of the messages that are kept; they begin with the system's or one of the user.

        Raises:
            InputError: as for `ids`, or the last message alone is too long.
        """
        kept = list(messages)
        if self.positions is None:
            return kept
        room = self.positions - min(max_new_tokens, max(1, int(self.positions * _LEAST_ROOM)))
        while (length := len(self.ids(kept))) > room:
            first = next((index for index, message in enumerate(kept) if message["role"] != "system"), len(kept))
            following = range(first + 1, len(kept))
            start = next((index for index in following if kept[index]["role"] == "user"), None)
            if start is None:
                if length < self.positions:
                    break
                raise InputError(
                    f"the message must leave room within the {counted(self.positions, 'tokens')} that the model was made for. "
                    f"Received: {counted(length, 'tokens')}. Shorten it."
                )
            kept = [*kept[:first], *kept[start:]]
        return kept


class Answer(Iterator[str]):
    """A text that is being written: an iterator of its pieces.

    Args:
        ids: iterator of int, the tokens.
        tokens: LanguageTokens.
    """

    def __init__(self, ids: Iterator[int], tokens: LanguageTokens):
        self.ids: list[int] = []
        self._tokens, self._written = tokens, ""
        self._pieces = self._each(ids)

    def __next__(self) -> str:
        return next(self._pieces)

    @property
    def is_ended(self) -> bool:
        """Whether the model ended the text itself."""
        return bool(self.ids) and self.ids[-1] in self._tokens.stops

    @property
    def text(self) -> str:
        """What was given so far."""
        return self._written

    def _each(self, ids: Iterator[int]) -> Iterator[str]:
        for token in ids:
            self.ids.append(token)
            text = self._tokens.text(self.ids)
            if not text.endswith(_UNFINISHED):
                yield self._next(text)
        if (text := self._tokens.text(self.ids)) != self._written:
            yield self._next(text)

    def _next(self, text: str) -> str:
        piece, self._written = text[len(self._written) :], text
        return piece


def _checked(prompt: Sequence[Mapping[str, str]]) -> list[dict]:
    try:
        messages = message_list(prompt)
    except InputError as error:
        raise InputError(f"a prompt must be a text or a list of messages: {error}.") from None
    if not messages or messages[-1]["role"] == templates.ASSISTANT:
        last = "no messages" if not messages else "a last message of the assistant"
        raise InputError(f"the last message of a prompt must be of the user. Received: {last}. Add one.")
    return [{**message, "content": _unicode(message["content"])} for message in messages]


def _unicode(text: str) -> str:
    """Refuses halves of characters, which Python makes of bytes that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"a prompt must be valid Unicode. Received: {text[error.start]!r} at character {error.start + 1}. Give it in UTF-8."
        ) from None
    return text
