"""Token sequences of one length for a language model, packed or padded, and what is said of them.

Takes `TokenTexts`; returns arrays for `batches.Sequences`, and lines. Must not import TensorFlow.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from kerastrain.data.image_files.quarantine import Quarantined
from kerastrain.errors import InputError, counted
from kerastrain.language.token_texts import TokenTexts, joined
from kerastrain.tokenization import encoder_tokens
from kerastrain.tokenization.language_tokens import LanguageTokens

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]

NOT_LEARNED = -1
"""The target of a token whose next token does not count in the loss."""

DEFAULT_LENGTH = 1024
"""The longest sequence that is chosen, in tokens; the memory of a step grows with it."""

_SHOWN_SKIPPED = 3
_MULTIPLE = 8  # Matrix units of GPUs and CPUs are used whole at multiples of 8.


def chosen_length(texts: TokenTexts, most: int, wanted: int | None = None) -> int:
    """A sequence length at which at most one conversation of a hundred is cut; for texts as long as they are useful.

    Args:
        texts: TokenTexts of the training part.
        most: int >= 1, the number of places of the network.
        wanted: int, the length that the user asks for, or None.

    Returns:
        int, `wanted`, else at most `DEFAULT_LENGTH` and `most`, a multiple of 8 where that allows it.

    Raises:
        InputError: the network has fewer places than `wanted`.
    """
    if wanted is not None:
        if wanted > most:
            raise InputError(
                f"`model.sequence_length` must be at most {most:,}, the places for tokens that the network was made with. "
                f"Received: {wanted:,}. Lower it."
            )
        return wanted
    most = min(most, DEFAULT_LENGTH)
    if texts.continued:
        return min(most, -(-int(texts.lengths.max(initial=1)) // _MULTIPLE) * _MULTIPLE)
    return encoder_tokens.sequence_length(texts.lengths.tolist(), most)


def fitted(texts: TokenTexts, length: int) -> TokenTexts:
    """Cuts what is longer than a sequence.

    A text is continued in the next sequence, whose first token is the last one of the sequence before it. A conversation
    loses its end; one that has nothing to learn in what is left is skipped.

    Args:
        texts: TokenTexts.
        length: int >= 2, tokens.

    Returns:
        TokenTexts, none longer than `length`.

    Raises:
        InputError: the length is below 2, or nothing is left to learn.
    """
    if length < 2:
        raise InputError(f"`model.sequence_length` must be at least 2, a token and the next one. Received: {length}.")
    if not texts.rows:
        first = texts.skipped[0]
        more = f", and {counted(len(texts.skipped) - 1, 'others')} neither" if len(texts.skipped) > 1 else ""
        raise InputError(
            f"{first.path} cannot be learned: {first.reason}{more}. Change the data, or set data.chat_template."
        )
    ids, learned, rows, skipped, cut = [], [], [], list(texts.skipped), 0
    for index, row in enumerate(texts.rows):
        own_ids, own_learned = texts.example(index)
        cut += len(own_ids) > length
        starts = range(0, max(len(own_ids) - 1, 1), length - 1) if texts.continued else (0,)
        for start in starts:
            part = slice(start, start + length)
            if not own_learned[part][1:].any():
                first = int(np.argmax(own_learned))
                reason = f"its first learned token is number {first + 1:,}, and a sequence has {length:,}"
                skipped.append(Quarantined(row, "incomplete", reason))
                continue
            ids.append(own_ids[part])
            learned.append(own_learned[part].copy())
            learned[-1][0] = False
            rows.append(row)
    if not rows:
        raise InputError(
            f"nothing is left to learn within {length:,} tokens of any example"
            f"{f', such as {skipped[-1].path}: {skipped[-1].reason}' if skipped else ''}. Raise model.sequence_length."
        )
    result = joined(ids, learned, rows, continued=texts.continued, skipped=tuple(skipped), notes=texts.notes)
    return dataclasses.replace(result, cut=cut)


def padded(texts: TokenTexts, length: int, pad: int) -> Arrays:
    """Puts every example into a sequence of its own.

    Args:
        texts: TokenTexts from `fitted`.
        length: int, tokens of a sequence.
        pad: int, the id that fills sequences.

    Returns:
        (token_ids, segments, targets) as `batches.Sequences` takes them.
    """
    return _filled(texts, [[index] for index in range(len(texts))], length, pad)


def packed(texts: TokenTexts, length: int, pad: int, *, seed: int = 0) -> Arrays:
    """Puts several examples into a sequence, the first with room in a seeded order.

    Args:
        texts: TokenTexts from `fitted`.
        length: int, tokens of a sequence.
        pad: int, the id that fills sequences.
        seed: int, selects one of the orders.

    Returns:
        (token_ids, segments, targets) as `batches.Sequences` takes them; examples are told apart by their segment.
    """
    return _filled(texts, _bins(texts.lengths, length, seed), length, pad)


def lines(texts: TokenTexts, arrays: Arrays, whole: TokenTexts | None = None) -> list[str]:
    """Describes tokens and sequences.

    Args:
        texts: TokenTexts from `fitted`.
        arrays: (token_ids, segments, targets) from `padded` or `packed`.
        whole: TokenTexts before they were fitted; None for `texts`.

    Returns:
        list of str, lines without line ends.
    """
    whole = whole or texts
    token_ids, segments, targets = arrays
    count, length = token_ids.shape
    low, middle, high = (int(value) for value in np.percentile(whole.lengths, (0, 50, 100), method="inverted_cdf"))
    total, learned = int(whole.lengths.sum()), int(whole.learned_counts.sum())
    noun = "texts" if texts.continued else "conversations"
    described = [
        f"tokens: {total:,} in {counted(len(whole), noun)}, {low:,} to {high:,} each, {middle:,} in the middle; "
        f"{learned:,} are learned ({learned / total:.0%})"
    ]
    if texts.cut and texts.continued:
        described.append(
            f"long: {counted(texts.cut, noun)} with more than {length:,} tokens, continued in the next sequence"
        )
    elif texts.cut:
        lost = counted(learned - int(texts.learned_counts.sum()), "learned tokens")
        described.append(f"cut: {counted(texts.cut, noun)} with more than {length:,} tokens, which lose {lost}")
    if texts.skipped:
        first = "; ".join(f"{item.path}: {item.reason}" for item in texts.skipped[:_SHOWN_SKIPPED])
        more = len(texts.skipped) - _SHOWN_SKIPPED
        first += f"; and {more:,} more" if more > 0 else ""
        described.append(f"not learned: {counted(len(texts.skipped), noun)} ({first})")
    examples = "" if len(texts) == count else f" of {len(texts):,} examples"
    padding, used = float((segments == 0).mean()), int((targets >= 0).sum())
    described.append(
        f"sequences: {count:,}{examples}, {length:,} tokens long, {padding:.0%} of it padding; {used:,} tokens are learned"
    )
    return described + [f"note: {note}" for note in texts.notes]


def preview(texts: TokenTexts, tokens: LanguageTokens, index: int, *, most: int = 400) -> list[str]:
    """Shows the tokens of an example: those that are only read, and those that are learned.

    Args:
        texts: TokenTexts.
        tokens: LanguageTokens.
        index: int, of the example.
        most: int, the number of tokens that are shown.

    Returns:
        list of str, lines without line ends; tokens are separated by "·", and a line end is "⏎".
    """
    ids, learned = texts.example(index)
    shown = [f"{texts.rows[index]}: {counted(len(ids), 'tokens')}, {int(learned.sum()):,} learned"]
    start = 0
    while start < min(len(ids), most):
        end = start
        while end < min(len(ids), most) and learned[end] == learned[start]:
            end += 1
        words = "·".join(_pieces(ids[start:end].tolist(), tokens)).replace("\n", "⏎")
        shown.append(f"  {'learned' if learned[start] else 'read   '}  {words}")
        start = end
    if len(ids) > most:
        shown.append(f"  … and {len(ids) - most:,} more tokens")
    return shown


def _bins(lengths: np.ndarray, length: int, seed: int) -> list[list[int]]:
    """First fit: each example goes to the first sequence with room, which a tree of the largest rooms finds."""
    count = len(lengths)
    size = 1 << max(count - 1, 0).bit_length()
    room = np.full(2 * size, length, np.int64).tolist()
    found: list[list[int]] = [[] for _ in range(count)]
    for index in np.random.default_rng(seed).permutation(count).tolist():
        need, node = int(lengths[index]), 1
        while node < size:
            node *= 2
            node += room[node] < need
        found[node - size].append(index)
        room[node] -= need
        while node > 1:
            node //= 2
            room[node] = max(room[2 * node], room[2 * node + 1])
    return [members for members in found if members]


def _filled(texts: TokenTexts, members: Sequence[Sequence[int]], length: int, pad: int) -> Arrays:
    shape = (len(members), length)
    token_ids, segments = np.full(shape, pad, np.int32), np.zeros(shape, np.int32)
    targets = np.full(shape, NOT_LEARNED, np.int32)
    for row, indices in enumerate(members):
        place = 0
        for number, index in enumerate(indices, start=1):
            ids, learned = texts.example(index)
            end = place + len(ids)
            token_ids[row, place:end], segments[row, place:end] = ids, number
            targets[row, place : end - 1] = np.where(learned[1:], ids[1:], NOT_LEARNED)
            place = end
    return token_ids, segments, targets


def _pieces(ids: list[int], tokens: LanguageTokens) -> Iterator[str]:
    """The text of each token; tokens that are a character only together count as one."""
    start = 0
    while start < len(ids):
        end = start + 1
        while "\ufffd" in (text := tokens.text(ids[start:end], special=True)) and end < min(len(ids), start + 8):
            end += 1
        yield text
        start = end
