"""Examples become sequences: what is learned, what is cut, and how they are packed."""

import numpy as np
import pytest

pytest.importorskip("tokenizers")

from language_folders import CHATML, SPECIALS, language_tokens

from kerastrain.errors import InputError
from kerastrain.language import sequences, token_texts
from kerastrain.language.documents import Document
from kerastrain.language.messages import Conversation

TOKENS = language_tokens()
END = SPECIALS.index("<|im_end|>")


def conversation(*turns, **options):
    return Conversation(tuple({"role": role, "content": content} for role, content in turns), **options)


def qa(question, answer, row="", **options):
    return conversation(("user", question), ("assistant", answer), row=row or f"line of {question}", **options)


def learned_text(texts, index, tokens=TOKENS):
    ids, learned = texts.example(index)
    return tokens.text(ids[learned].tolist(), special=True)


def unpacked(arrays):
    """The examples of sequences as sorted lists of (id, learned next id)."""
    examples = []
    for ids, segments, targets in zip(*arrays, strict=True):
        for number in range(1, segments.max() + 1):
            inside = segments == number
            examples.append(list(zip(ids[inside].tolist(), targets[inside].tolist(), strict=True)))
    return sorted(examples)


def test_answers_with_their_end_are_learned():
    texts = token_texts.tokenized([qa("What is two and two?", "Four 👍.")], TOKENS)
    ids, learned = texts.example(0)
    assert TOKENS.text(ids.tolist(), special=True) == (
        "<|im_start|>user\nWhat is two and two?<|im_end|>\n<|im_start|>assistant\nFour 👍.<|im_end|>\n"
    )
    assert learned_text(texts, 0) == "Four 👍.<|im_end|>"
    assert not learned[-1]  # the line end after the turn
    assert texts.learned_counts.tolist() == [learned.sum()]
    everything = token_texts.tokenized([qa("a", "b")], TOKENS, learn="all")
    assert everything.learned.tolist() == [False] + [True] * (len(everything.ids) - 1)


def test_answers_that_are_given_are_not_learned():
    turns = (("user", "a"), ("assistant", "Paris"), ("user", "b"), ("assistant", "France"))
    texts = token_texts.tokenized([conversation(*turns), conversation(*turns, given=frozenset((1,)))], TOKENS)
    assert [learned_text(texts, index) for index in (0, 1)] == ["Paris<|im_end|>France<|im_end|>", "France<|im_end|>"]


def test_what_a_template_refuses_is_skipped_with_its_row():
    template = "{{ raise_exception('No system') if messages and messages[0].role == 'system' }}" + CHATML
    items = [conversation(("system", "s"), ("user", "a"), ("assistant", "b"), row="line 7 of 'a'"), qa("c", "d")]
    texts = token_texts.tokenized(items, language_tokens(template))
    assert [(item.path, item.reason) for item in texts.skipped] == [
        ("line 7 of 'a'", "the chat template does not take it: No system")
    ]
    assert texts.rows == ["line of c"]


def test_special_tokens_in_the_words_of_people_are_said():
    texts = token_texts.tokenized([qa("what is <|im_end|>?", "an end"), qa("a", "b")], TOKENS)
    assert texts.notes == ("1 message with special tokens in their text, such as '<|im_end|>', which are read as such",)


def test_targets_are_the_next_tokens_inside_an_example():
    texts = token_texts.tokenized([qa("a", "b"), qa("c", "d")], TOKENS)
    length = 2 * int(texts.lengths.max()) + 3
    ids, segments, targets = sequences.packed(texts, length, pad=0)
    assert ids.dtype == segments.dtype == targets.dtype == np.int32
    assert ids.shape == (1, length)
    half = int(texts.lengths.max())
    assert segments[0].tolist() == [1] * half + [2] * half + [0] * 3
    assert ids[0, -3:].tolist() == [0, 0, 0]
    expected = [-1] * (half - 4) + [int(ids[0, half - 3]), END, -1, -1]
    assert targets[0, :half].tolist() == expected  # b, its end, the line end, and nothing across to the next example
    assert (targets[0, 2 * half - 1 :] == -1).all()


def test_packing_loses_nothing_and_is_a_function_of_the_seed():
    random = np.random.default_rng(0)
    items = [qa(f"q{index}", "word " * int(random.integers(1, 12))) for index in range(60)]
    texts = token_texts.tokenized(items, TOKENS)
    length = int(texts.lengths.max()) + 10
    alone = sequences.padded(texts, length, 0)
    packed = sequences.packed(texts, length, 0, seed=1)
    assert unpacked(packed) == unpacked(alone)
    assert len(alone[0]) == 60
    assert (packed[1] != 0).mean() > 0.8 > 0.6 > (alone[1] != 0).mean()
    again, other = (sequences.packed(texts, length, 0, seed=seed) for seed in (1, 2))
    assert all(map(np.array_equal, packed, again))
    assert not np.array_equal(packed[0][: len(other[0])], other[0][: len(packed[0])])


def test_the_first_sequence_with_room_is_taken():
    assert sequences._bins(np.array([6, 6, 4, 4, 10, 1]), 10, 0) != []
    order = np.random.default_rng(5).permutation(6)
    lengths, room, expected = np.array([6, 3, 4, 7, 10, 1]), [], []
    for index in order.tolist():
        place = next((place for place, left in enumerate(room) if left >= lengths[index]), None)
        if place is None:
            room.append(10)
            expected.append([])
            place = len(room) - 1
        room[place] -= lengths[index]
        expected[place].append(index)
    assert sequences._bins(lengths, 10, 5) == expected


def test_long_answers_are_cut_and_counted():
    items = [qa("a", "one two three four five six seven eight"), qa("b " * 40, "c", row="line 2"), qa("c", "d")]
    whole = token_texts.tokenized(items, TOKENS)
    length = 16
    texts = sequences.fitted(whole, length)
    assert texts.lengths.tolist() == [length, int(whole.lengths[2])]
    assert texts.cut == 2
    first = int(np.flatnonzero(whole.example(1)[1])[0]) + 1
    assert [(item.path, item.reason) for item in texts.skipped] == [
        ("line 2", f"its first learned token is number {first}, and a sequence has 16")
    ]
    assert sequences.lines(texts, sequences.padded(texts, length, 0), whole)[2] == (
        f"not learned: 1 conversation (line 2: its first learned token is number {first}, and a sequence has 16)"
    )
    lost = int(whole.learned.sum() - texts.learned.sum())
    assert f"cut: 2 conversations with more than 16 tokens, which lose {lost} learned tokens" in sequences.lines(
        texts, sequences.padded(texts, length, 0), whole
    )
    with pytest.raises(
        InputError, match=r"^nothing is left to learn within 3 tokens of any example, such as .*model\.sequence_"
    ):
        sequences.fitted(whole, 3)
    refused = token_texts.tokenized(items[:2], language_tokens("{{ raise_exception('Nothing') }}"))
    with pytest.raises(
        InputError, match="^line of a cannot be learned: the chat template does not take it: Nothing, and 1 other ne"
    ):
        sequences.fitted(refused, 16)
    with pytest.raises(InputError, match="must be at least 2"):
        sequences.fitted(whole, 1)


def test_long_texts_are_continued_and_every_token_is_learned_once():
    tokens = language_tokens(adds_begin=True)
    whole = token_texts.tokenized(
        [Document("The capital of France is Paris. " * 5, "'a.txt'"), Document("two", "'b.txt'")], tokens
    )
    ids, learned = whole.example(1)
    assert (ids[0], ids[-1], learned.tolist()) == (3, 4, [False] + [True] * (len(ids) - 1))
    texts = sequences.fitted(whole, 10)
    arrays = sequences.packed(texts, 10, 0)
    assert (arrays[2] != -1).sum() == whole.learned.sum() == len(whole.ids) - 2
    parts = [texts.example(index)[0] for index, row in enumerate(texts.rows) if row == "'a.txt'"]
    assert all(before[-1] == after[0] for before, after in zip(parts, parts[1:], strict=False))
    assert np.concatenate([parts[0], *(part[1:] for part in parts[1:])]).tolist() == whole.example(0)[0].tolist()
    assert (
        sequences.lines(texts, arrays, whole)[1]
        == "long: 1 text with more than 10 tokens, continued in the next sequence"
    )


def test_preferred_and_rejected_answers_stay_aligned():
    rejected = ({"role": "assistant", "content": "No. " * 30},)
    items = [
        qa("a", "Yes", rejected=({"role": "assistant", "content": "No"},), shared=1),
        qa("b", "Yes", rejected=rejected, shared=1),
    ]
    pair = [token_texts.tokenized(items, TOKENS, rejected=flag) for flag in (False, True)]
    assert [learned_text(texts, 0) for texts in pair] == ["Yes<|im_end|>", "No<|im_end|>"]
    short = [token_texts.tokenized(items[:count], TOKENS, rejected=flag) for flag, count in ((False, 2), (True, 1))]
    assert [texts.rows for texts in token_texts.aligned(*short)] == [["line of a"], ["line of a"]]


def test_a_length_is_chosen_by_the_examples():
    texts = token_texts.tokenized([qa("a", "b")] * 99 + [qa("c", "long " * 60)], TOKENS)
    assert sequences.chosen_length(texts, 2048) == -(-int(texts.lengths[0]) // 8) * 8
    assert sequences.chosen_length(texts, 10) == 10
    assert sequences.chosen_length(texts, 10, 9) == 9
    with pytest.raises(InputError, match=r"must be at most 10, the places .* Received: 1,100\. Lower it\.$"):
        sequences.chosen_length(texts, 10, 1100)
    long = token_texts.tokenized([Document("word " * 2000, "a")], TOKENS)
    assert sequences.chosen_length(long, 8192) == sequences.DEFAULT_LENGTH


def test_what_is_said_and_shown():
    texts = token_texts.tokenized([qa("Paris", "Is 👍", row="line 1 of 'a'"), qa("b", "c")], TOKENS)
    arrays = sequences.packed(texts, 64, 0)
    total, learned = len(texts.ids), int(texts.learned.sum())
    low, high = sorted(texts.lengths.tolist())
    assert sequences.lines(texts, arrays) == [
        f"tokens: {total} in 2 conversations, {low} to {high} each, {low} in the middle; {learned} are learned "
        f"({learned / total:.0%})",
        f"sequences: 1 of 2 examples, 64 tokens long, {1 - total / 64:.0%} of it padding; {learned} tokens are learned",
    ]
    title, read, answer, rest = sequences.preview(texts, TOKENS, 0)
    assert title == f"line 1 of 'a': {texts.lengths[0]} tokens, {texts.learned_counts[0]} learned"
    assert read == "  read     <|im_start|>·user·⏎·Pa·ris·<|im_end|>·⏎·<|im_start|>·as·sis·tan·t·⏎"
    assert answer == "  learned  I·s· ·👍·<|im_end|>"
    assert rest == "  read     ⏎"
    assert sequences.preview(texts, TOKENS, 0, most=2)[-1] == f"  … and {texts.lengths[0] - 2} more tokens"
