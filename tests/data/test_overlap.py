import shutil
from pathlib import Path

import numpy as np
import pytest

import kerastrain as kt
from kerastrain import testing
from kerastrain.data import overlap


def texts(*values):
    return kt.data.Examples(np.zeros(len(values), np.int64), ("a", "b"), np.array(values, object))


def test_a_copy_of_an_image_counts_whatever_its_name_label_and_size_in_the_model(tmp_path):
    folder = testing.colour_folder(tmp_path / "colours", count=6)
    listing = kt.data.listing(folder, image_size=(8, 8)).examples
    (tmp_path / "other" / "red").mkdir(parents=True)
    (tmp_path / "other" / "blue").mkdir()
    first = listing.paths[0]
    shutil.copy(first, tmp_path / "other" / "blue" / "renamed.png")
    (tmp_path / "other" / "red" / "changed.png").write_bytes(Path(first).read_bytes() + b"\0")
    other = kt.data.listing(tmp_path / "other", image_size=(16, 16)).examples
    named = dict(zip([Path(path).name for path in other.paths], overlap.digests(other), strict=True))
    assert named["renamed.png"] == overlap.digests(listing)[0]
    assert named["changed.png"] not in overlap.digests(listing)


def test_images_of_a_folder_have_the_same_digests_decoded_and_cached(tmp_path):
    folder = testing.colour_folder(tmp_path / "colours", count=6)
    parts = [
        kt.data.image_folder(folder, image_size=(8, 8), validation_fraction=0, cache=cache).train
        for cache in ("none", "memory")
    ]
    assert overlap.digests(parts[0]).tolist() == overlap.digests(parts[1]).tolist()


def test_equal_arrays_and_texts_have_equal_digests_and_others_do_not():
    first, second, third = overlap.digests(texts("one", "two", "one"))
    assert first == third != second
    features = np.array([[1, 2], [3, 4], [1, 2]], np.float32)
    first, second, third = overlap.digests(kt.data.Examples(np.zeros(3, np.int64), ("a", "b"), features))
    assert first == third != second


@pytest.mark.parametrize(("evaluated", "count"), [(["b", "c", "b"], 2), (["d"], 0), (["a", "b"], 2)])
def test_shared_examples_are_counted_in_what_is_evaluated(evaluated, count):
    parts = {"train": overlap.digests(texts("a", "b")), "test": overlap.digests(texts("c"))}
    shared = overlap.shared_counts(overlap.digests(texts(*evaluated)), parts)
    assert shared == {"train": count, "test": evaluated.count("c")}
