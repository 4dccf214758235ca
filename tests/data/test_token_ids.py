import numpy as np

from kerastrain.data.token_ids import token_ids


def _tokenize(texts):
    """Token ids of "1 2 0 3": the numbers themselves, padded to the longest text."""
    rows = [[int(word) for word in text.split()] for text in texts]
    longest = max(map(len, rows), default=0)
    return np.array([row + [0] * (longest - len(row)) for row in rows], np.int64).reshape(len(rows), longest)


TEXTS = ["4 5 6", "", "7 0 8", "9"]


def test_a_batch_of_token_ids_is_padded_to_its_longest_text():
    ids = token_ids(TEXTS * 200, _tokenize)  # more than are computed at once
    assert ids.shape == (800, None)
    assert len(ids) == 800
    assert ids.values.dtype == np.int32
    batch = ids[np.array([799, 2, 1])]
    assert batch.dtype == np.int64
    np.testing.assert_array_equal(batch, [[9, 0, 0], [7, 0, 8], [0, 0, 0]])
    assert ids[np.array([1, 797])].shape == (2, 0)
    np.testing.assert_array_equal(ids.subset(np.array([3, 0]))[np.array([1])], [[4, 5, 6]])


def test_token_ids_of_a_fixed_length_are_padded_to_it():
    np.testing.assert_array_equal(
        token_ids(TEXTS, _tokenize, fixed_length=4)[np.array([3, 1])], [[9, 0, 0, 0], [0] * 4]
    )


def test_more_token_ids_than_may_be_kept_are_not_computed_to_the_end():
    computed = []

    def tokenize(texts):
        computed.append(len(texts))
        return _tokenize(texts)

    assert token_ids(TEXTS * 1000, tokenize, most_ids=500) is None
    assert computed == [256, 256]
    assert len(token_ids(TEXTS, _tokenize, most_ids=7)) == 4
    assert token_ids(TEXTS, _tokenize, most_ids=6) is None
