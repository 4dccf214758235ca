"""Conversations and texts as tokens, and which of them are learned.

Takes conversations or documents and `LanguageTokens`; returns `TokenTexts`. Must not import TensorFlow.
"""

import dataclasses
import functools
import re
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from kerastrain.data.image_files.quarantine import Quarantined
from kerastrain.errors import InputError, counted
from kerastrain.language import templates
from kerastrain.language.documents import Document
from kerastrain.language.messages import Conversation
from kerastrain.tokenization.language_tokens import LanguageTokens

Learn = Literal["answers", "all"]

_AT_ONCE = 5_000  # examples


@dataclasses.dataclass(frozen=True, eq=False)
class TokenTexts:
    """Examples as tokens, one after the other in flat arrays.

    Args:
        ids: int32 (tokens,).
        learned: bool (tokens,), whether a token is learned, that is, predicted from those before it.
        starts: int64 (n + 1,), where each example begins; the last is the number of tokens.
        rows: sequence of n str, where each was found.
        continued: bool, whether what is longer than a sequence is continued in the next one, as texts are; of a conversation
            it is left out.
        skipped: tuple of Quarantined, the examples that cannot be learned.
        notes: tuple of str.
        cut: int, the number of examples that `fitted` cut.
    """

    ids: np.ndarray
    learned: np.ndarray
    starts: np.ndarray
    rows: Sequence[str]
    continued: bool = False
    skipped: tuple[Quarantined, ...] = ()
    notes: tuple[str, ...] = ()
    cut: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """int64 (n,), the number of tokens of each example."""
        return np.diff(self.starts)

    @functools.cached_property
    def learned_counts(self) -> np.ndarray:
        """int64 (n,), the number of learned tokens of each example."""
        sums = np.concatenate([[0], np.cumsum(self.learned)])
        return np.diff(sums[self.starts])

    def example(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of an example.

        Args:
            index: int in [0, n).

        Returns:
            (int32 array, the ids; bool array, which are learned).
        """
        place = slice(self.starts[index], self.starts[index + 1])
        return self.ids[place], self.learned[place]


def tokenized(
    items: Sequence[Conversation] | Sequence[Document],
    tokens: LanguageTokens,
    *,
    learn: Learn = "answers",
    rejected: bool = False,
) -> TokenTexts:
    """Makes tokens of conversations or texts.

    Of a conversation, the answers are learned, with the token that ends each. Of a text, everything is learned, and the token
    that ends a text follows it.

    Args:
        items: sequence of Conversation, or of Document.
        tokens: LanguageTokens, for conversations with a chat template.
        learn: "answers", or "all" for every token of a conversation.
        rejected: bool, whether the answers that people liked less take the place of the preferred ones.

    Returns:
        TokenTexts. A conversation that the template does not take is in `skipped`.
    """
    continued = bool(items) and isinstance(items[0], Document)
    pieces = (_of_documents if continued else _of_conversations)(items, tokens, learn, rejected)
    ids, learned, rows, skipped = [], [], [], []
    for row, own_ids, own_learned, fault in pieces:
        if not fault and not own_learned[1:].any():
            fault = "it has nothing to learn"
        if fault:
            skipped.append(Quarantined(row, "incomplete", fault))
            continue
        own_learned[0] = False  # There is nothing to predict it from.
        ids.append(own_ids)
        learned.append(own_learned)
        rows.append(row)
    notes = [] if continued else [*templates.notes(tokens), *_spelled_out(items, tokens)]
    return joined(ids, learned, rows, continued=continued, skipped=tuple(skipped), notes=tuple(notes))


def aligned(first: TokenTexts, second: TokenTexts) -> tuple[TokenTexts, TokenTexts]:
    """Keeps the examples that two corpora of chosen and rejected answers both have, in the same order.

    Args:
        first: TokenTexts.
        second: TokenTexts of the same conversations with other answers.

    Returns:
        (TokenTexts, TokenTexts), of the same rows with different tokens; the first one's `skipped` and `notes` name what either
        leaves out.

    Raises:
        InputError: no example is left.
    """
    known = {item.path for item in first.skipped}
    skipped = [
        *first.skipped,
        *(
            dataclasses.replace(item, reason=f"rejected: {item.reason}")
            for item in second.skipped
            if item.path not in known
        ),
    ]
    places, shared = {row: index for index, row in enumerate(second.rows)}, set()
    for index, row in enumerate(first.rows):
        if row in places and np.array_equal(first.example(index)[0], second.example(places[row])[0]):
            skipped.append(Quarantined(row, "incomplete", "its chosen and rejected answers have the same tokens"))
        elif row in places:
            shared.add(row)
    if not shared:
        raise InputError(
            f"no pair of answers is left to learn. Received: {counted(len(skipped), 'examples')} that cannot be used, such as "
            f"{skipped[0].path}: {skipped[0].reason}."
        )
    others = dataclasses.replace(second, notes=())
    return _subset(first, shared, tuple(skipped)), _subset(others, shared, ())


def both(first: TokenTexts, second: TokenTexts) -> TokenTexts:
    """Puts the examples of two corpora one after the other.

    Args:
        first: TokenTexts.
        second: TokenTexts.

    Returns:
        TokenTexts.
    """
    return TokenTexts(
        np.concatenate([first.ids, second.ids]),
        np.concatenate([first.learned, second.learned]),
        np.concatenate([first.starts, first.starts[-1] + second.starts[1:]]),
        [*first.rows, *second.rows],
    )


def _of_documents(
    items: Sequence[Document], tokens: LanguageTokens, learn: Learn, rejected: bool
) -> Iterator[tuple[str, np.ndarray, np.ndarray, str]]:
    before = [tokens.begin] if tokens.adds_begin else []
    for item, (ids, _) in zip(items, tokens.each_encoded([item.text for item in items]), strict=True):
        whole = np.array([*before, *ids, tokens.end], np.int32)
        yield item.row, whole, np.ones(len(whole), bool), ""


def _of_conversations(
    items: Sequence[Conversation], tokens: LanguageTokens, learn: Learn, rejected: bool
) -> Iterator[tuple[str, np.ndarray, np.ndarray, str]]:
    nothing = np.zeros(0, np.int32)
    for first in range(0, len(items), _AT_ONCE):
        texts = [_text(item, tokens, learn, rejected) for item in items[first : first + _AT_ONCE]]
        encoded = tokens.each_encoded([text for text, _, fault in texts if not fault])
        for item, (_, places, fault) in zip(items[first : first + _AT_ONCE], texts, strict=True):
            if fault:
                yield item.row, nothing, nothing, fault
                continue
            ids, offsets = next(encoded)
            begins, ends = np.array(offsets, np.int64).reshape(-1, 2).T
            learned = np.zeros(len(ids), bool)
            for begin, end in places:
                learned |= (begins < end) & (ends > begin)
            yield item.row, np.array(ids, np.int32), learned, ""


def _text(
    item: Conversation, tokens: LanguageTokens, learn: Learn, rejected: bool
) -> tuple[str, list[tuple[int, int]], str]:
    """The text of a conversation, the places that are learned, and why it cannot be learned."""
    messages, given = item.messages, item.given
    if item.rejected:
        messages = (*messages[: item.shared], *(item.rejected if rejected else messages[item.shared :]))
        given = {index for index in given if index < item.shared} if rejected else given
    try:
        text, places = templates.answers(messages, tokens, tools=item.tools)
        if learn == "all":
            return text, [(0, len(text))], ""
        if given:
            answers = [index for index, message in enumerate(messages) if message["role"] == templates.ASSISTANT]
            if len(answers) != len(places):
                raise InputError("the chat template does not mark each answer, so that some cannot be left out")
            places = [place for index, place in zip(answers, places, strict=True) if index not in given]
        return text, places, ""
    except InputError as error:
        return "", [], str(error)


def _subset(texts: TokenTexts, rows: set[str], skipped: tuple[Quarantined, ...]) -> TokenTexts:
    kept = [index for index, row in enumerate(texts.rows) if row in rows]
    ids, learned = zip(*map(texts.example, kept), strict=True) if kept else ((), ())
    others = {"continued": texts.continued, "notes": texts.notes, "skipped": skipped, "cut": texts.cut}
    return joined(list(ids), list(learned), [texts.rows[index] for index in kept], **others)


def joined(ids: Sequence[np.ndarray], learned: Sequence[np.ndarray], rows: Sequence[str], **others) -> TokenTexts:
    """Puts examples one after the other.

    Args:
        ids: sequence of n int arrays.
        learned: sequence of n bool arrays of the same lengths.
        rows: sequence of n str.
        **others: the other fields of `TokenTexts`.

    Returns:
        TokenTexts.
    """
    starts = np.concatenate([[0], np.cumsum([len(own) for own in ids], dtype=np.int64)]).astype(np.int64)
    empty = np.zeros(0, np.int32)
    return TokenTexts(
        np.concatenate([empty, *ids]).astype(np.int32),
        np.concatenate([empty, *learned]).astype(bool),
        starts,
        rows,
        **others,
    )


def _spelled_out(items: Sequence[Conversation], tokens: LanguageTokens) -> list[str]:
    """Counts the messages that spell out a special token, which is read as one."""
    if not tokens.specials:
        return []
    pattern = re.compile("|".join(map(re.escape, sorted(tokens.specials, key=len, reverse=True))))
    found = [match for item in items for message in item.messages if (match := pattern.search(message["content"]))]
    if not found:
        return []
    return [
        f"{counted(len(found), 'messages')} with special tokens in their text, such as {found[0][0]!r}, which are read as such"
    ]
