import numpy as np
import pytest
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.language import decoders, generation, sampling
from kerastrain.presets.decoders import DecoderNetwork

VOCABULARY, POSITIONS = 23, 20
BLOCK = {"num_heads": 4, "num_kv_heads": 2, "head_size": 4, "intermediate": 24, "activation": "silu"}
PROMPTS = [[3, 7, 1], [5, 2, 9, 4, 11, 8, 20, 6], [12]]


def tiny(**options):
    """A model whose first block reads 3 tokens, with norms and caps as Gemma 2 has them."""
    block = {**BLOCK, "rope": {"base": 100.0}, "post_norms": True, "score_cap": 5.0, "head_norms": True}
    blocks = ({**block, "window": 3}, {**block, "rope": None})
    model = decoders.build(DecoderNetwork(VOCABULARY, POSITIONS, 16, 1e-6, True, 2.0, 9.0, blocks))
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(variable + random.normal(0, 0.3, variable.shape))
    return model


@pytest.fixture(scope="module")
def model():
    return tiny()


@pytest.fixture(scope="module")
def generator(model):
    return generation.Generator(model)


def logits(model, ids):
    """Of the token after a text, computed without a cache."""
    ids, segments = np.array([[*ids, 0]], "int32"), np.array([[1] * len(ids) + [0]], "int32")
    return np.asarray(model({"token_ids": ids, "segments": segments}))[0, -2]


def likeliest(model, prompt, count):
    ids = list(prompt)
    for _ in range(count):
        ids.append(int(logits(model, ids).argmax()))
    return ids[len(prompt) :]


@pytest.mark.slow
def test_prompts_of_different_lengths_continue_as_without_a_cache(model, generator):
    expected = [likeliest(model, prompt, 9) for prompt in PROMPTS]
    assert len({tuple(ids) for ids in expected}) == 3
    assert generator.ids(PROMPTS, max_new_tokens=9) == expected
    assert [list(generator.stream(prompt, max_new_tokens=9)) for prompt in PROMPTS] == expected


def test_a_text_ends_at_its_first_stop_or_its_last_position(generator):
    whole = generator.ids(PROMPTS, max_new_tokens=50)
    assert [len(ids) for ids in whole] == [17, 12, 19]
    stop = whole[1][2]
    ended = [ids[: ids.index(stop) + 1] if stop in ids else ids for ids in whole]
    assert len(ended[1]) <= 3
    assert generator.ids(PROMPTS, max_new_tokens=50, stops=[stop, 22]) == [
        ids[: ids.index(22) + 1] if 22 in ids else ids for ids in ended
    ]
    assert list(generator.stream(PROMPTS[1], stops=[stop])) == ended[1]


def test_what_is_drawn_depends_on_the_prompt_and_its_seed_alone(generator):
    options = {"temperature": 1.3, "top_p": 0.95, "max_new_tokens": 9}
    several = generator.ids(PROMPTS, seed=5, **options)
    assert [generator.ids([prompt], seed=5, **options)[0] for prompt in PROMPTS] == several
    assert [list(generator.stream(prompt, seed=5, **options)) for prompt in PROMPTS] == several
    assert generator.ids(PROMPTS, seed=6, **options) != several
    answers = generator.ids([PROMPTS[0]] * 3, seed=[5, 6, 7], **options)
    assert answers[0] == several[0]
    assert answers[1] != answers[0] != answers[2]


def test_weights_that_change_are_used(generator, model):
    scale = model.get_layer("norm").scale
    before, values = generator.ids(PROMPTS, max_new_tokens=9), scale.numpy()
    scale.assign(-values)
    try:
        assert generator.ids(PROMPTS, max_new_tokens=9) == [likeliest(model, prompt, 9) for prompt in PROMPTS] != before
    finally:
        scale.assign(values)


choose = tf.function(sampling.chosen)


def drawn(logits, count=3000, **options):
    settings = {"temperature": 1.0, "top_k": None, "top_p": None, **options}
    arguments = sampling.sampling_options(count, seed=range(count), **settings)
    tokens = np.asarray(choose(np.tile(np.float32(logits), (count, 1)), tf.constant(3), *arguments))
    return np.bincount(tokens, minlength=len(logits)) / count


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.1, 0.4, 0.2, 0.3]),
        ({"temperature": 0.5}, np.array([1, 16, 4, 9]) / 30),
        ({"top_k": 2}, [0, 4 / 7, 0, 3 / 7]),
        ({"top_p": 0.75}, [0, 4 / 9, 2 / 9, 3 / 9]),
        ({"top_p": 0.6}, [0, 4 / 7, 0, 3 / 7]),
        ({"top_p": 1e-6}, [0, 1, 0, 0]),
        ({"top_k": 2, "top_p": 0.5}, [0, 1, 0, 0]),
        ({"temperature": 0}, [0, 1, 0, 0]),
    ],
)
def test_tokens_are_drawn_as_often_as_they_are_likely(options, expected):
    shares = drawn(np.log([0.1, 0.4, 0.2, 0.3]), **options)
    np.testing.assert_allclose(shares, expected, atol=0.03)
    assert ((shares > 0) == (np.array(expected) > 0)).all()


@pytest.mark.parametrize(
    ("prompts", "options", "message"),
    [
        ([], {}, "at least one text. Received: none"),
        ([[1], []], {}, "none in prompt 1"),
        ([[1, 23]], {}, r"must lie in \[0, 23\), the model's vocabulary. Received: 23"),
        ([[1] * 20], {}, "shorter than the 20 tokens that the model was made for. Received: 20 tokens"),
        ([[1]], {"max_new_tokens": 0}, "`max_new_tokens` must be a whole number above 0. Received: 0"),
        ([[1]], {"temperature": -1}, "`temperature` must be a number of at least 0. Received: -1"),
        ([[1]], {"top_k": 0}, "`top_k` must be a whole number above 0, or None for all tokens. Received: 0"),
        ([[1]], {"top_p": 0.0}, r"`top_p` must lie in \(0, 1\], or be None for all tokens. Received: 0.0"),
        ([[1]], {"seed": [1, 2]}, r"in \[0, 2\*\*31\), or one for each of the 1 prompts. Received: \[1, 2\]"),
    ],
)
def test_what_cannot_be_continued_is_refused(generator, prompts, options, message):
    with pytest.raises(InputError, match=message):
        generator.ids(prompts, **options)
    if len(prompts) == 1:
        with pytest.raises(InputError, match=message):
            generator.stream(prompts[0], **options)


def test_another_model_is_refused():
    import keras

    with pytest.raises(InputError, match="must be a language model of kerastrain. Received: 'other'"):
        generation.Generator(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)], name="other"))
