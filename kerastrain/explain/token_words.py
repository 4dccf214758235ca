"""To which words of a text its tokens belong, so that values of tokens become values of words.

Takes the layer that turns texts into token ids, and a text; returns the words of each token. Must not know what tokens are
worth.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from kerastrain.explain.text_explanation import word_spans
from kerastrain.layers.encoder_text import EncoderTokenizer
from kerastrain.layers.ngrams import SplitIntoNgrams
from kerastrain.layers.text import StandardizedText

# Of a long text, words beyond those that can have a token are not looked at: some words have no token, such as a dash.
_WORDS_FOR_EACH_TOKEN = 2


@dataclass(frozen=True)
class TokenWords:
    """The words of a text, and which of them each of its tokens belongs to.

    Args:
        spans: list of (start, end) of the words, in the order of the text. Words that a token joins are one.
        tokens: list with a tuple for each token id of the layer, in its order, of the indices of its words: several for a pair
            of adjacent words, none for a special token. Padding behind them has no entry.
    """

    spans: list[tuple[int, int]]
    tokens: list[tuple[int, ...]]


def is_known(layer: keras.Layer) -> bool:
    """Whether a layer turns texts into token ids whose words are known here.

    Args:
        layer: keras.Layer.

    Returns:
        bool.
    """
    if isinstance(layer, EncoderTokenizer):
        return True
    if not isinstance(layer, keras.layers.TextVectorization):
        return False
    config = layer.get_config()
    is_own = isinstance(config["split"], SplitIntoNgrams)
    return config["output_mode"] == "int" and (is_own or config["split"] in ("whitespace", "character"))


def token_words(layer: keras.Layer, text: str) -> TokenWords:
    """Assigns the tokens of a text to its words.

    The tokens of a text up to the end of a word are the first tokens of the whole text, if no token reaches over that end. If
    one does, the word is joined with the next.

    Args:
        layer: keras.Layer for which `is_known` is true.
        text: str.

    Returns:
        TokenWords.
    """
    if isinstance(layer, EncoderTokenizer):
        return _of_encoder(layer, text)
    config = layer.get_config()
    split = config["split"]
    if isinstance(split, SplitIntoNgrams):
        return _of_ngrams(split, text)
    length, standardize = config["output_sequence_length"], config["standardize"]
    sizes = range(1, (config["ngrams"] or 1) + 1) if not isinstance(config["ngrams"], tuple) else config["ngrams"]
    spans = word_spans(text)[: None if length is None else _WORDS_FOR_EACH_TOKEN * length]
    if not isinstance(standardize, StandardizedText):
        spans, owners = _aligned(text, spans, _by_layer(layer, config))
    elif standardize.rules.split == "character":  # whose spaces are tokens
        spans, owners = _aligned(text, spans, _each(standardize.rules.tokens))
    else:
        spans, owners = _aligned_by_runs(text, spans, _each(standardize.rules.tokens))
    tokens = _ngrams(owners, sizes)
    return TokenWords(_all_spans(text, spans), tokens[:length])


def _of_encoder(layer: EncoderTokenizer, text: str) -> TokenWords:
    room = layer.sequence_length - layer.tokens.special

    def pieces(texts: Sequence[str]) -> list[list]:
        return layer.pieces(tf.constant(list(texts))).to_list()

    spans = word_spans(text)[: _WORDS_FOR_EACH_TOKEN * room]
    spans, owners = _aligned(text, spans, pieces, prefix=pieces([""])[0])
    # The start and the end token belong to no word.
    return TokenWords(_all_spans(text, spans), [(), *owners[:room], ()])


def _of_ngrams(split: SplitIntoNgrams, text: str) -> TokenWords:
    tokens = split.tokens
    spans = word_spans(text)[: _WORDS_FOR_EACH_TOKEN * split.length]
    align = _aligned if tokens.rules.split == "character" else _aligned_by_runs
    spans, owners = align(text, spans, _each(tokens.rules.tokens))
    of_tokens = _ngrams(owners, tokens.ngrams)
    if tokens.inside is not None:
        inside, words = _aligned_by_runs(text, spans, _each(tokens.inside.tokens))
        joined = [[index for index, span in enumerate(inside) if span[0] <= start < span[1]] for start, _ in spans]
        if len(inside) < len(spans):  # What one kind of token joins is joined for the other too.
            owners = [tuple(dict.fromkeys(joined[word][0] for word in owner)) for owner in of_tokens]
            of_tokens, spans = owners, inside
        for word, owner in zip(tokens.inside.tokens(text[: spans[-1][1]] if spans else ""), words, strict=True):
            count = sum(max(len(word) + 3 - size, 0) for size in tokens.characters)
            of_tokens += [owner] * count
    return TokenWords(_all_spans(text, spans), of_tokens[: split.length])


def _aligned(
    text: str,
    spans: list[tuple[int, int]],
    tokenize: Callable[[Sequence[str]], list[list]],
    prefix: Sequence = (),
) -> tuple[list[tuple[int, int]], list[tuple[int, ...]]]:
    """The words, joined where a token reaches over an end, and the words of each token, up to the last of these words."""
    if not spans:
        return [], [() for _ in prefix]
    starts = tokenize([text[:end] for _, end in spans])
    whole = starts[-1]
    counts = [_shared(tokens, whole) for tokens in starts]
    first = _shared(prefix, whole)
    owners: list[tuple[int, ...]] = [()] * first
    words: list[tuple[int, int]] = []
    begin = None
    for (start, end), tokens, count in zip(spans, starts, counts, strict=True):
        begin = start if begin is None else begin
        if count < len(tokens) or count < len(owners):
            continue  # The last token of these words reaches into the next word.
        owners += [(len(words),)] * (count - len(owners))
        words.append((begin, end))
        begin = None
    return words, owners


def _aligned_by_runs(
    text: str, spans: list[tuple[int, int]], tokenize: Callable[[Sequence[str]], list[list]]
) -> tuple[list[tuple[int, int]], list[tuple[int, ...]]]:
    """`_aligned` for tokens that no white space is part of: of a long text without comparing its beginning for each word."""
    runs: list[list[tuple[int, int]]] = []
    for span in spans:
        if runs and runs[-1][-1][1] == span[0]:
            runs[-1].append(span)
        else:
            runs.append([span])
    words, owners = [], []
    for run in runs:
        first, last = run[0][0], run[-1][1]
        own, tokens = _aligned(text[first:last], [(start - first, end - first) for start, end in run], tokenize)
        owners += [tuple(len(words) + word for word in owner) for owner in tokens]
        words += [(start + first, end + first) for start, end in own]
    return words, owners


def _shared(tokens: Sequence, whole: Sequence) -> int:
    """The number of first tokens that two lists share."""
    return len(os.path.commonprefix([list(tokens), list(whole)]))


def _all_spans(text: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The words with those behind them, which no token belongs to."""
    end = spans[-1][1] if spans else 0
    return spans + [span for span in word_spans(text) if span[0] >= end]


def _ngrams(owners: list[tuple[int, ...]], sizes: Sequence[int]) -> list[tuple[int, ...]]:
    """The words of each n-gram, in the order of `tf.strings.ngrams`."""
    return [
        tuple(dict.fromkeys(word for owner in owners[place : place + size] for word in owner))
        for size in sizes
        for place in range(len(owners) - size + 1)
    ]


def _each(tokens: Callable[[str], list[str]]) -> Callable[[Sequence[str]], list[list]]:
    return lambda texts: [tokens(text) for text in texts]


def _by_layer(layer: keras.layers.TextVectorization, config: dict) -> Callable[[Sequence[str]], list[list]]:
    """A layer of Keras without n-grams and length."""
    single = keras.layers.TextVectorization(
        standardize=config["standardize"],
        split=config["split"],
        vocabulary=layer.get_vocabulary(include_special_tokens=False),
    )

    def tokenize(texts: Sequence[str]) -> list[list]:
        ids = np.asarray(single(tf.constant(list(texts))))
        return [row[row > 0].tolist() for row in ids]

    return tokenize
