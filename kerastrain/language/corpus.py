"""What a language model learns from, split into parts and described.

Takes conversations or texts, returns a `Corpus` and its parts. Must not open files or import TensorFlow.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from kerastrain.data.image_files import quarantine
from kerastrain.data.image_files.quarantine import Quarantined
from kerastrain.data.splitting import stratified
from kerastrain.errors import InputError, counted
from kerastrain.language import documents
from kerastrain.language.documents import Document
from kerastrain.language.messages import Conversation

Kind = Literal["chat", "language"]
PARTS = ("train", "validation", "test")
_SHOWN_SKIPPED = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """What a language model learns from, not yet split.

    Args:
        source: str, its name in messages.
        kind: "chat" or "language".
        items: sequence of Conversation for "chat", or of Document for "language".
        layout: str, how it was read.
        predefined: sequence of "train", "validation" and "test", the part of each item, or None if the source says none.
        groups: sequence of str, items of the same group stay in one part.
        skipped: tuple of Quarantined, what is left out.
        notes: tuple of str, what else is worth knowing.
    """

    source: str
    kind: Kind
    items: Sequence[Conversation] | Sequence[Document]
    layout: str = ""
    predefined: Sequence[str] | None = None
    groups: Sequence[str] = ()
    skipped: tuple[Quarantined, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.items)

    @property
    def preference_count(self) -> int:
        """The number of conversations with an answer that people liked less."""
        return sum(bool(item.rejected) for item in self.items) if self.kind == "chat" else 0


def divide(
    corpus: Corpus, *, validation_fraction: float = 0.1, test_fraction: float = 0.0, seed: int = 0
) -> dict[str, list[Conversation] | list[Document]]:
    """Splits a corpus by a hash of its texts, so that an example that is added changes the part of few others.

    Conversations with the same prompt stay together. A part that the source defines is kept. A single text is cut: its
    beginning is learned, and its end held out.

    Args:
        corpus: Corpus.
        validation_fraction: float in [0, 1), held out for validation.
        test_fraction: float in [0, 1), held out for the test.
        seed: int, selects one of the possible splits.

    Returns:
        dict from "train", "validation" and "test" (those that exist) to lists of the items, in their order.

    Raises:
        InputError: a fraction is out of range, or there are too few examples.
    """
    shares = stratified.shares(validation_fraction, test_fraction)
    predefined = list(corpus.predefined) if corpus.predefined is not None else ["train"] * len(corpus)
    wanted = {part: share for part, share in shares.items() if part == "train" or part not in predefined}
    wanted["train"] = 1 - sum(share for part, share in wanted.items() if part != "train")
    found = {part: [item for item, own in zip(corpus.items, predefined, strict=True) if own == part] for part in PARTS}
    rows = [index for index, part in enumerate(predefined) if part == "train"]
    if not rows:
        raise InputError(f"{corpus.source} has nothing to train on. Give a part that is called train.")
    if len(wanted) > 1:
        if corpus.kind == "language" and len(rows) == 1:
            found |= documents.cut(corpus.items[rows[0]], wanted)
        else:
            keys = [_key(corpus, index) for index in rows]
            numbers = (
                stratified.stratified(
                    np.zeros(len(rows), np.int64), keys, wanted, names=["the training part"], seed=seed
                )
                if len(set(keys)) >= len(wanted)
                else None
            )
            if numbers is None or not all(len(chosen) for chosen in numbers.values()):
                raise InputError(
                    f"{corpus.source} has {counted(len(set(keys)), 'different examples')}, too few for {', '.join(wanted)}. Add "
                    "some, or set data.validation_fraction and data.test_fraction lower, or give files for the parts."
                )
            found |= {part: [corpus.items[rows[index]] for index in chosen] for part, chosen in numbers.items()}
    return {part: items for part, items in found.items() if items}


def describe(corpus: Corpus, divided: Mapping[str, Sequence]) -> list[str]:
    """Describes how a corpus was read.

    Args:
        corpus: Corpus.
        divided: mapping from the names of its parts to their items, as from `divide`.

    Returns:
        list of str, lines without line ends.
    """
    lines = [f"source: {corpus.source}", f"layout: {corpus.layout}"]
    lines.append("examples: " + ", ".join(f"{len(items):,} {part}" for part, items in divided.items()))
    if corpus.kind == "chat":
        roles = Counter(message["role"] for item in corpus.items for message in item.messages)
        lines.append("messages: " + ", ".join(f"{count:,} of the {role}" for role, count in sorted(roles.items())))
    else:
        characters = sum(len(item.text) for items in divided.values() for item in items)
        lines.append(f"texts: {counted(characters, 'characters')}")
    if corpus.skipped:
        first = "; ".join(f"{item.path}: {item.reason}" for item in corpus.skipped[:_SHOWN_SKIPPED])
        more = len(corpus.skipped) - _SHOWN_SKIPPED
        lines.append(
            f"skipped: {quarantine.summary(corpus.skipped)} ({first}{f'; and {more:,} more' if more > 0 else ''})"
        )
    return lines + [f"note: {note}" for note in (*corpus.notes, *_shared_prompts(corpus, divided))]


def without_repeats(corpus: Corpus) -> Corpus:
    """Drops items that are equal to an earlier one; of equal ones in several parts the held-out one stays.

    Args:
        corpus: Corpus.

    Returns:
        Corpus, whose `skipped` names the dropped items.
    """
    in_parts = corpus.predefined or ["train"] * len(corpus)
    first, skipped = {}, {}
    for part in quarantine.HELD_OUT_FIRST:
        for index, item in enumerate(corpus.items):
            if in_parts[index] != part:
                continue
            known = first.setdefault(item.content, index)
            if known != index:
                kind = "duplicate" if in_parts[known] == part else "leakage"
                skipped[index] = Quarantined(item.row, kind, f"it equals {corpus.items[known].row}")
    if not skipped:
        return corpus
    kept = [index for index in range(len(corpus)) if index not in skipped]
    return dataclasses.replace(
        _subset(corpus, kept), skipped=(*corpus.skipped, *(skipped[index] for index in sorted(skipped)))
    )


def with_preferences(corpus: Corpus) -> Corpus:
    """Drops conversations without a rejected answer.

    Args:
        corpus: Corpus of conversations.

    Returns:
        Corpus, whose `skipped` names the dropped ones.

    Raises:
        InputError: there is no rejected answer.
    """
    if not corpus.preference_count:
        raise InputError(
            f"`fit.objective=dpo` learns from pairs of answers, and {corpus.source} has no rejected ones. Received: "
            f"{corpus.layout}. Give columns prompt, chosen and rejected, or name them with data.columns.response and "
            "data.columns.rejected, or remove fit.objective."
        )
    kept = [index for index, item in enumerate(corpus.items) if item.rejected]
    dropped = [item for item in corpus.items if not item.rejected]
    skipped = [Quarantined(item.row, "incomplete", "it has no rejected answer") for item in dropped]
    return dataclasses.replace(_subset(corpus, kept), skipped=(*corpus.skipped, *skipped))


def contradictions(corpus: Corpus) -> int:
    """Counts the pairs of answers that another pair of the corpus has the other way round.

    Args:
        corpus: Corpus of conversations.

    Returns:
        int >= 0.
    """
    found = {(_words(item.messages), _words((*item.messages[: item.shared], *item.rejected))) for item in corpus.items}
    return sum((rejected, chosen) in found for chosen, rejected in found)


def first_skipped(corpus: Corpus) -> str:
    """Names what a corpus leaves out, the first of it.

    Args:
        corpus: Corpus.

    Returns:
        str, such as "line 3 of 'qa.jsonl': its answer is empty; and 2 more".
    """
    first = "; ".join(f"{item.path}: {item.reason}" for item in corpus.skipped[:_SHOWN_SKIPPED])
    more = len(corpus.skipped) - _SHOWN_SKIPPED
    return f"{first}; and {more:,} more" if more > 0 else first


def _subset(corpus: Corpus, kept: Sequence[int]) -> Corpus:
    return dataclasses.replace(
        corpus,
        items=[corpus.items[index] for index in kept],
        predefined=None if corpus.predefined is None else [corpus.predefined[index] for index in kept],
        groups=tuple(corpus.groups[index] for index in kept) if corpus.groups else (),
    )


def _key(corpus: Corpus, index: int) -> str:
    """What decides the part of an item: its group, or the words before the first answer."""
    if corpus.groups:
        return corpus.groups[index]
    item = corpus.items[index]
    if corpus.kind == "language":
        return item.text
    return "\0".join(f"{message['role']}\0{message['content']}" for message in item.prompt)


def _shared_prompts(corpus: Corpus, divided: Mapping[str, Sequence]) -> list[str]:
    if corpus.kind != "chat" or corpus.predefined is None:
        return []
    prompts = {part: {_words(item.prompt) for item in items} for part, items in divided.items()}
    held_out = set().union(*(words for part, words in prompts.items() if part != "train"))
    count = len(held_out & prompts["train"])
    if not count:
        return []
    return [f"the training part has {counted(count, 'prompts')} of the held-out parts too, with other answers"]


def _words(messages: Sequence[Mapping]) -> str:
    return "\0".join(message["content"] for message in messages)
