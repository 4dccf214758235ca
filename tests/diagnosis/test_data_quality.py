"""Pictures and texts that stand out from their set, and sets that accuse none."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageFilter
from sklearn.datasets import load_digits

from kerastrain.diagnosis.image_quality import image_quality
from kerastrain.diagnosis.outliers import above, below, neighbour_distances
from kerastrain.diagnosis.picture_statistics import picture_statistics
from kerastrain.diagnosis.text_quality import text_quality


@pytest.fixture(scope="module")
def pictures():
    """100 pictures of spots."""
    noise = np.random.default_rng(0).normal(size=(100, 30, 30, 3))
    small = [Image.fromarray(np.clip(noise[n] * 40 + 110, 0, 255).astype(np.uint8)) for n in range(100)]
    return [picture.resize((90, 90), Image.Resampling.BICUBIC) for picture in small]


def kinds(pictures, **options):
    stacked = np.stack([np.asarray(picture) for picture in pictures])
    return {(finding.index, finding.kind) for finding in image_quality(picture_statistics([stacked]), **options)}


def test_bad_pictures_are_named_by_what_is_wrong(pictures):
    lights = np.asarray(pictures[3], np.float32)
    bad = [
        pictures[0].filter(ImageFilter.GaussianBlur(2)),
        Image.fromarray((np.asarray(pictures[1]) * 0.08).astype(np.uint8)),
        Image.fromarray(np.clip(lights * 1.5 + 200 * (np.arange(90)[:, None, None] < 70), 0, 255).astype(np.uint8)),
        Image.new("RGB", (90, 90), (120, 130, 120)),
    ]
    assert kinds(pictures) == set()
    found = {(index, kind) for index, kind in kinds(pictures + bad) if index >= 100}
    assert (100, "blurred") in found
    assert (101, "dark") in found or (101, "empty") in found
    assert (102, "overexposed") in found
    assert (103, "empty") in found


def test_a_set_with_a_common_property_accuses_none():
    digits = np.repeat((load_digits().images[:200, ..., None] * 15).astype(np.uint8), 3, axis=-1)
    assert image_quality(picture_statistics([digits])) == []  # black backgrounds
    assert image_quality(picture_statistics([255 - digits])) == []  # white ones
    solid = np.full((40, 8, 8, 3), 255, np.uint8)
    assert image_quality(picture_statistics([solid])) == []
    assert image_quality(picture_statistics([digits[:20]])) == []  # too few to compare


def test_odd_aspects_and_pictures_far_from_all_others_stand_out(pictures):
    sizes = np.array([[640, 480]] * 60 + [[480, 640]] * 39 + [[2000, 100]])
    generator = np.random.default_rng(0)
    features = generator.normal(size=(100, 16)) * 0.05 + np.eye(16)[generator.integers(0, 3, 100)]
    features[5] = -features[5] * 3
    found = kinds(pictures, sizes=sizes, features=features)
    assert {index for index, kind in found if kind == "odd_aspect"} == {99}
    assert {index for index, kind in found if kind == "off_topic"} == {5}


def test_outliers_are_measured_by_their_own_side():
    values = np.concatenate([np.arange(10.0), 100 * np.arange(10)])
    assert below(values).max() < 2
    assert above(np.array([1.0, 1, 1, 1, 9])).tolist() == [0] * 5  # Most are equal: no spread to compare with.
    assert above(np.array([1.0, 1, 1, 1, 9]), least_spread=2).tolist() == [0, 0, 0, 0, 4]
    assert below(np.zeros(0)).shape == (0,)
    rows = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    expected = [np.sort(1 - np.delete(unit @ row, place))[:3].mean() for place, row in enumerate(unit)]
    np.testing.assert_allclose(neighbour_distances(rows, 3), expected, rtol=1e-4)
    assert neighbour_distances(rows[:1]).tolist() == [0]


ENGLISH = [
    f"the film number {n} was better than we had thought, and it is the {w} of them all"
    for n, w in enumerate(["best", "worst", "oldest", "finest", "longest"] * 12)
]


def test_texts_of_another_language_or_script_or_with_nothing_are_named():
    texts = [f"{text} {index}" for index, text in enumerate(ENGLISH)]
    odd = ["das ist nicht der beste Film, aber er ist auch nicht schlecht", "это очень хороший фильм", "???", "good"]
    assert [
        (finding.index - 60, finding.kind) for finding in text_quality(texts + odd) if finding.kind != "boilerplate"
    ] == [
        (2, "empty"),
        (3, "short"),
        (1, "other_language"),
        (0, "other_language"),
    ]
    german = next(finding for finding in text_quality(texts + odd) if finding.index == 60)
    assert german.reason == "its function words are German (ist, nicht, der, aber), those of most texts English"


def test_a_set_in_two_languages_or_of_single_words_accuses_none():
    german = ["das ist nicht der beste Film, aber er ist auch nicht schlecht " + str(n) for n in range(30)]
    assert {finding.kind for finding in text_quality([f"{n} {text}" for n, text in enumerate(ENGLISH)] + german)} <= {
        "boilerplate"
    }
    assert text_quality(["red", "green", "blue", "Ω"] * 20) == []
    assert text_quality([]) == []


def test_phrases_that_many_texts_share_are_boilerplate():
    generator = np.random.default_rng(0)
    words = [f"w{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(500)]
    texts = [" ".join(generator.choice(words, 20)) for _ in range(100)]
    footer = "you get this message because you once gave us your address to write to"
    texts[:6] = [f"{' '.join(text.split()[:3])} {footer}" for text in texts[:6]]
    assert Counter((finding.index, finding.kind) for finding in text_quality(texts)) == Counter(
        (index, "boilerplate") for index in range(6)
    )
