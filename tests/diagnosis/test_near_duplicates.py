"""Near-duplicates of pictures and texts, and which of two is left out."""

import io

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from kerastrain.diagnosis.copies import copy_findings
from kerastrain.diagnosis.near_duplicates import Pairs, clusters, kept_of_copies, near_duplicates
from kerastrain.diagnosis.near_texts import near_texts
from kerastrain.diagnosis.picture_statistics import picture_statistics


def resaved(picture, size, quality):
    content = io.BytesIO()
    picture.resize(size).save(content, "JPEG", quality=quality)
    return Image.open(content).convert("RGB")


@pytest.fixture(scope="module")
def pictures():
    """120 different pieces of two photos."""
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    places = np.random.default_rng(0).permutation(120)
    return [
        photos[n % 2].crop(((n // 2 % 10) * 60, (n // 20) * 65, (n // 2 % 10) * 60 + 90, (n // 20) * 65 + 90))
        for n in places
    ]


def found(pictures):
    pairs = near_duplicates(picture_statistics([np.stack([np.asarray(p.resize((64, 64))) for p in pictures])]))
    return dict(zip(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True), pairs.turned.tolist(), strict=True))


def test_copies_of_other_size_quality_and_position_are_found_and_others_are_not(pictures):
    pictures = sorted(
        pictures, key=lambda picture: -np.asarray(picture).std()
    )  # of sky and grass, there is little to compare
    copies = [
        resaved(pictures[0], (45, 50), 50),
        resaved(pictures[1], (200, 200), 30),
        resaved(pictures[2], (90, 90), 60).transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        resaved(pictures[3], (70, 70), 60).transpose(Image.Transpose.ROTATE_90),
    ]
    assert found(pictures) == {}
    assert found(pictures + copies) == {(0, 120): False, (1, 121): False, (2, 122): True, (3, 123): True}


def test_nearly_all_handwritten_digits_are_different_pictures():
    images = np.repeat((load_digits().images[:600, ..., None] * 15).astype(np.uint8), 3, axis=-1)
    assert len(near_duplicates(picture_statistics([images]))) <= 2


def test_empty_pictures_are_no_copies_and_few_pictures_are_no_error():
    assert len(near_duplicates(picture_statistics([np.zeros((5, 16, 16, 3), np.uint8)]))) == 0
    assert len(near_duplicates(picture_statistics([]))) == 0


def test_texts_that_say_the_same_are_found():
    texts = [
        "An utterly charming film, from beginning to end!",
        "an utterly charming film -- from beginning to end",
        "Not an utterly charming film, from beginning to end",
        "A film about the end of the world",
        "Call 0906 now",
        "call 1234 NOW!!",
        "",
        "!",
    ] + ["The same"] * 60
    pairs = near_texts(texts)
    at = dict(
        zip(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True), pairs.difference.tolist(), strict=True)
    )
    assert at[0, 1] == 0
    assert 0 < at[0, 2] < 0.3
    assert at[4, 5] == 0
    assert {second for first, second in at if first == 8} == set(range(9, 68))
    assert {index for pair in at for index in pair}.isdisjoint({3, 6, 7})


def pairs_of(*pairs):
    first, second = np.array(pairs).T
    return Pairs(first, second, np.full(len(pairs), 0.001), np.zeros(len(pairs), bool))


def judged(pairs, parts, targets, **options):
    findings = copy_findings(pairs, parts, np.array(targets), lambda i: f"#{i}", lambda i: f"'{targets[i]}'", **options)
    return {(finding.index, finding.kind, finding.copy_of, finding.action) for finding in findings}


def test_of_two_copies_the_one_that_is_held_out_stays():
    pairs = pairs_of((0, 1), (2, 3), (4, 5))
    parts = ["train", "test", "validation", "train", "test", "validation"]
    assert judged(pairs, parts, [0, 1, 0, 0, 1, 1]) == {
        (0, "leakage", 1, "exclude"),
        (3, "leakage", 2, "exclude"),
        (5, "leakage", 4, "exclude"),
    }


def test_in_one_part_the_smaller_picture_goes_and_labels_that_differ_are_looked_at():
    pairs, sizes = pairs_of((0, 1), (2, 3), (4, 5), (6, 7)), np.array([[10, 10], [20, 20]] + [[9, 9]] * 6)
    parts = ["train", "train", "test", "test", "train", "train", "train", "train"]
    options = {"sizes": sizes, "equal": lambda first, second: {first, second} == {6, 7}}
    assert judged(pairs, parts, [0, 0, 0, 0, 0, 1, 1, 1], **options) == {
        (0, "near_duplicate", 1, "exclude"),
        (3, "near_duplicate", 2, "look"),
        (5, "conflicting_labels", 4, "look"),
        (4, "conflicting_labels", 5, "look"),
        (6, "duplicate", None, "look"),
    }


def test_copies_of_copies_stay_unless_they_are_copies_of_what_stays():
    chain = pairs_of((0, 1), (1, 2), (2, 3))
    assert kept_of_copies(chain, np.arange(4)) == {1: 0, 3: 2}
    assert len(set(clusters(5, chain))) == 2
    assert len(set(clusters(5, chain, np.array(["a", "b", "c", "d", "a"])))) == 1
