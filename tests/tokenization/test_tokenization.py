import collections

import pytest

from kerastrain import tokenization
from kerastrain.tokenization import subwords


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ÉTÉ été ÇA", ["été", "été", "ça"]),
        ("ПРИВЕТ ΣΊΣΥΦΟΣ İSTANBUL Straße", ["привет", "σίσυφοσ", "istanbul", "straße"]),
        ("“Hello”—it’s ‘fine’…«oui»", ["hello", "its", "fine", "oui"]),
        ("it's well-known, isn't it?", ["its", "wellknown", "isnt", "it"]),
        ("a\u00a0b\u3000c\u2028d\r\ne\tf", ["a", "b", "c", "d", "e", "f"]),
        ("\ufeffh\0i so\u00adft \u200fשלום\u200e", ["hi", "soft", "שלום"]),
        ("❤\ufe0f 👩\u200d👧 می\u200cروم", ["❤", "👩\u200d👧", "می\u200cروم"]),
        ("?! -- \u3001\u3002", []),
    ],
)
def test_words_in_any_script(text, words):
    assert tokenization.rules("words").tokens(text) == words


def test_words_of_ascii_texts_are_those_of_keras():
    # What Keras 3.15 makes of it: lower case, no punctuation, split at white space.
    text = "The film's BEST scene (not #1!): well-made,\tfunny... 7/10"
    assert tokenization.rules("words").tokens(text) == [
        "the",
        "films",
        "best",
        "scene",
        "not",
        "1",
        "wellmade",
        "funny",
        "710",
    ]


def test_characters_keep_punctuation_and_one_space():
    assert tokenization.rules("characters").tokens(" 东京。\n\n OK ") == ["东", "京", "。", " ", "o", "k"]


def test_subwords_are_the_longest_known_pieces():
    pieces = ("▁un", "▁", "un", "believ", "able", "believable", "s")
    assert tokenization.rules("subwords", pieces).tokens("UNbelievables unknown") == (
        ["▁un", "believable", "s", "▁un", "k", "n", "o", "w", "n"]
    )


def test_byte_pair_encoding_joins_the_most_frequent_pair_first():
    # Sennrich et al. 2016, figure 1: l o w, l o w e r, n e w e s t, w i d e s t.
    texts = ["low"] * 5 + ["lower"] * 2 + ["newest"] * 6 + ["widest"] * 3
    characters = len(set("▁lowernstid"))
    learned = subwords.learn(texts, characters + 3)
    assert set(learned[:characters]) == set("▁lowernstid")
    assert learned[characters:] == ("es", "est", "lo")


def test_the_vocabulary_holds_the_most_frequent_tokens_and_no_endless_ones():
    texts = ["a b a", "b c", "x" * 201]
    learned = tokenization.learn(texts, network="embedding", size=6)
    counts = collections.Counter(["a", "b", "a", "b", "c", "a b", "b a", "b c"])
    expected = [token for _, token in sorted(((count, token) for token, count in counts.items()), reverse=True)]
    assert list(learned.vocabulary) == expected[:4]
    assert tokenization.learn(["x" * 201, "?"]).vocabulary == ()


@pytest.mark.parametrize("tokenizer", [*tokenization.TOKENIZERS, "of Keras"])
def test_the_tokenizer_of_a_saved_model_is_read_without_tensorflow(tokenizer, tmp_path):
    import keras

    from kerastrain import models

    texts = ["Été à Paris 東京", "un BEL été"] * 3
    if tokenizer == "of Keras":
        layer = keras.layers.TextVectorization(50, ngrams=2, output_sequence_length=9)
        layer.adapt(texts)
        model = keras.Sequential([keras.Input((), dtype="string"), layer])
    else:
        options = {"vocabulary_size": 50, "sequence_length": 9, "tokenizer": tokenizer}
        model = models.text_classifier(labels=["a", "b"], texts=texts, **options)
        layer = model.get_layer("backbone").get_layer("tokens")
    model.save(tmp_path / "model.keras")
    saved = tokenization.read(tmp_path / "model.keras")
    assert saved.length == 9
    assert list(saved.tokens.vocabulary) == list(map(str, layer.get_vocabulary()))[2:]
    numbers = {token: number for number, token in enumerate(saved.tokens.vocabulary, 2)}
    ids = [numbers.get(token, 1) for token in saved.tokens.tokens("Un bel été, ÉTÉ!")][:9]
    assert layer(["Un bel été, ÉTÉ!"])[0].numpy().tolist() == ids + [0] * (9 - len(ids))
    (tmp_path / "other.keras").write_bytes(b"no zip")
    assert tokenization.read(tmp_path / "other.keras") is None


def test_the_texts_of_a_run_are_learned_from_once():
    texts = ["a fine film", "a dull film"]
    assert tokenization.learn(texts, network="ngrams") is tokenization.learn(iter(texts), network="ngrams")
    assert tokenization.learn(texts, network="ngrams") != tokenization.learn(texts, network="embedding")
