import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from kerastrain import data
from kerastrain.errors import InputError

TEXTS = {"neg": ["dull", "slow", "bad", "flat"], "pos": ["fine", "grand", "true", "élan", "funny"]}


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, texts in files.items():
        (folder / name).write_text("\n".join(texts) + "\n", encoding="utf-8")
    return folder


def by_label(split):
    texts = {label: [] for label in split.labels}
    for part in split.parts.values():
        for text, label in zip(part.inputs, part.targets, strict=True):
            texts[split.labels[label]].append(text)
    return {label: sorted(of_label) for label, of_label in texts.items()}


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (("neg.txt", "pos.txt"), ("neg", "pos")),
        (("film.neg", "film.pos"), ("neg", "pos")),
        (("film-a.neg", "film-b.pos"), ("film-a.neg", "film-b.pos")),
    ],
)
def test_text_files_labels_by_what_differs_in_the_names(tmp_path, names, labels):
    folder = write(tmp_path, dict(zip(names, TEXTS.values(), strict=True)))
    split = data.text_files(folder, test_fraction=0.2)
    assert split.labels == labels
    assert by_label(split) == dict(zip(labels, map(sorted, TEXTS.values()), strict=True))
    assert {name: part.class_counts.tolist() for name, part in split.parts.items()} == {
        "train": [2, 3],
        "validation": [1, 1],
        "test": [1, 1],
    }


def test_text_files_reads_class_folders_with_a_text_in_each_file(tmp_path):
    for label, texts in TEXTS.items():
        write(tmp_path / label, {f"{number}.txt": [text, "and a second line"] for number, text in enumerate(texts)})
    (tmp_path / "pos" / "empty.txt").write_text(" \n")
    split = data.text_files(tmp_path)
    assert by_label(split)["neg"] == sorted(f"{text}\nand a second line" for text in TEXTS["neg"])
    assert len(by_label(split)["pos"]) == 5


def test_text_files_passes_over_what_is_no_text(tmp_path):
    notes = ("REPO_LICENSE", "notes.md", ".hidden.txt", "README.txt", "Thumbs.db")
    write(tmp_path, {"neg.txt": TEXTS["neg"], "pos.txt": TEXTS["pos"], **dict.fromkeys(notes, ["x"])})
    (tmp_path / ".git").mkdir()
    assert data.text_files(tmp_path).labels == ("neg", "pos")


def test_text_files_keeps_lines_as_their_author_meant_them(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeff first \r\n\r\n  \nsecond\u0085half\n\nthird".encode())
    write(tmp_path, {"b.txt": TEXTS["pos"]})
    assert by_label(data.text_files(tmp_path))["a"] == ["first", "second\u0085half", "third"]


def test_text_files_splits_alike_when_a_line_moves(tmp_path):
    first = data.text_files(write(tmp_path / "one", {f"{key}.txt": texts for key, texts in TEXTS.items()}))
    moved = {f"{key}.txt": texts[::-1] for key, texts in TEXTS.items()}
    second = data.text_files(write(tmp_path / "two", moved))
    other = data.text_files(tmp_path / "one", seed=1)
    assert sorted(first.validation.inputs) == sorted(second.validation.inputs) != sorted(other.validation.inputs)


def test_text_files_reads_the_films_reviews(shared):
    reviews = shared("data/rt_polarity")
    split = data.text_files(reviews, validation_fraction=0.1, test_fraction=0.1)
    assert split.labels == ("neg", "pos")
    assert sum(part.class_counts for part in split.parts.values()).tolist() == [5331, 5331]
    assert data.sizes(data.listing(reviews, kind="text"), validation_fraction=0.1, test_fraction=0.1) == {
        name: len(part) for name, part in split.parts.items()
    }


def test_texts_are_counted_without_tensorflow(tmp_path):
    write(tmp_path, {"neg.txt": TEXTS["neg"], "pos.txt": TEXTS["pos"]})
    code = "import sys; from kerastrain import data; print(data.sizes(data.listing(sys.argv[1], kind='text'))); " + (
        "assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "{'train': 7, 'validation': 2}", done.stderr


def test_folders_of_parts_are_the_parts(tmp_path):
    for part, rows in (("train", slice(0, 2)), ("dev", slice(2, 3)), ("test", slice(3, 4))):
        write(tmp_path / part, {"pos.txt": TEXTS["pos"][rows], "neg.txt": TEXTS["neg"][rows]})
    split = data.text_files(tmp_path)
    assert split.sizes == {"train": 4, "validation": 2, "test": 2}
    assert by_label(split)["pos"] == sorted(TEXTS["pos"][:4])


@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_serves_texts_as_strings(tmp_path, shuffle):
    train = data.text_files(write(tmp_path, {f"{key}.txt": texts for key, texts in TEXTS.items()})).train
    dataset = data.batches(train, 3, shuffle=shuffle, epochs=2)
    assert dataset.element_spec == (tf.TensorSpec((None,), tf.string), tf.TensorSpec((None, 2), tf.float32))
    labels = {text: label for label, texts in enumerate(TEXTS.values()) for text in texts}
    served = list(dataset.as_numpy_iterator())
    assert [len(texts) for texts, _ in served] == [3, 3, 1] * 2
    for texts, one_hot in served:
        np.testing.assert_array_equal(one_hot, np.eye(2)[[labels[text.decode()] for text in texts]])
    assert sorted(text.decode() for texts, _ in served for text in texts) == sorted([*train.inputs] * 2)


def test_batches_refuses_to_augment_texts(tmp_path):
    train = data.text_files(write(tmp_path, {f"{key}.txt": texts for key, texts in TEXTS.items()})).train
    with pytest.raises(
        InputError, match="consists of image augmentations. Received: texts. Name text augmentations, or none."
    ):
        data.batches(train, 3, augment=data.augment("flip"))


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({}, "contains no texts. Put one text file per class into it"),
        ({"LICENSE": ["x"]}, "contains no texts"),
        ({"pos.txt": ["a", "b", "c"]}, "a classifier needs at least two classes. Received: only 'pos' in"),
        ({"pos.txt": ["a", "b"], "neg.txt": ["c"]}, "class 'neg' has one example, too few for train, validation"),
        ({"pos.txt": ["a", "b"], "neg.txt": ["", " "]}, "neg.txt' contains no text. Put the examples of its class"),
    ],
)
def test_text_files_tells_what_the_folder_lacks(tmp_path, files, match):
    with pytest.raises(InputError, match=match):
        data.text_files(write(tmp_path, files))


def test_text_files_tells_a_class_folder_without_text_files(tmp_path):
    write(tmp_path / "pos", {"1.txt": ["a"]})
    write(tmp_path / "neg", {"1.html": ["a"]})
    with pytest.raises(
        InputError, match=r"only 'pos' in .* \(left out the folder 'neg' without texts; skipped .* 1 .html\)"
    ):
        data.text_files(tmp_path)


def test_text_files_tells_files_beside_folders(tmp_path):
    write(tmp_path, {"pos.txt": ["a"]})
    (tmp_path / "neg").mkdir()
    with pytest.raises(InputError, match="contains both text files, such as 'pos.txt', and folders, such as 'neg'."):
        data.text_files(tmp_path)


def test_text_files_tells_the_line_that_is_not_utf8(tmp_path):
    write(tmp_path, {"pos.txt": TEXTS["pos"]})
    (tmp_path / "neg.txt").write_bytes(b"dull\nna\xc3\xafve\xc3\n")
    with pytest.raises(InputError, match="neg.txt' must be UTF-8. Received: byte 0xc3 in line 2. Convert it"):
        data.text_files(tmp_path)


def test_text_files_tells_a_missing_path_and_a_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no texts at '.*gone': there is no such folder."):
        data.text_files(tmp_path / "gone")
    write(tmp_path, {"pos.txt": ["a"]})
    with pytest.raises(NotADirectoryError, match="must be a folder with one text file per class, but it is a file."):
        data.text_files(tmp_path / "pos.txt")
