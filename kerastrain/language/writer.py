"""Writes text with a language model: replies to conversations, and continuations of texts.

Takes a `keras.Model` from `decoders.build` and its `LanguageTokens`; takes and returns str. Must not read files.
"""

from collections.abc import Iterator, Mapping, Sequence

import keras

from kerastrain.errors import InputError
from kerastrain.language import templates
from kerastrain.language.generation import Generator
from kerastrain.tokenization.language_tokens import LanguageTokens

_UNFINISHED = "\ufffd"  # how a part of a character is decoded


class Writer:
    """A language model with its tokenizer.

    Reuse it: the first text traces functions, which takes seconds.

    Args:
        model: keras.Model from `decoders.build`.
        tokens: LanguageTokens of the model.

    Example:
        >>> writer = Writer(model, tokens)  # doctest: +SKIP
        >>> writer.write([{"role": "user", "content": "What is the capital of France?"}])  # doctest: +SKIP
        'The capital of France is Paris.'
    """

    def __init__(self, model: keras.Model, tokens: LanguageTokens):
        self.tokens = tokens
        self._generator = Generator(model)

    def write(self, prompt: str | Sequence[Mapping[str, str]], **options: object) -> str:
        """Writes the reply to a conversation, or what continues a text.

        Args:
            prompt: sequence of mappings with "role" ("system", "user", "assistant") and "content", the last of the user; or
                str, a text to continue.
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

    def stream(self, prompt: str | Sequence[Mapping[str, str]], **options: object) -> Iterator[str]:
        """Writes as `write`, and gives each piece of text as soon as it is complete.

        Args:
            prompt: as for `write`.
            **options: as for `write`.

        Yields:
            str, pieces that make the text together.

        Raises:
            InputError: as for `write`.
        """
        ids, written = [], ""
        for token in self._generator.stream(self.ids(prompt), stops=self.tokens.stops, **options):
            ids.append(token)
            text = self.tokens.text(ids)
            if not text.endswith(_UNFINISHED):
                yield text[len(written) :]
                written = text
        if (text := self.tokens.text(ids)) != written:
            yield text[len(written) :]

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
            ids = before + self.tokens.ids([prompt])[0]
        else:
            ids = self.tokens.ids([templates.rendered(prompt, templates.chosen(self.tokens, None), for_reply=True)])[0]
        if not ids:
            raise InputError("a prompt must have at least one token. Received: an empty text.")
        return ids
