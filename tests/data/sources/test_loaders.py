from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from kerastrain import data
from kerastrain.errors import InputError

COLOURS = {"blue": (0, 0, 255), "red": (255, 0, 0)}


def write_images(folder, colour=(9, 9, 9), count=5):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        note = PngInfo()  # Makes the files differ; duplicates would be skipped.
        note.add_text("path", f"{folder}/{number}")
        Image.new("RGB", (6, 4), colour).save(folder / f"{number}.png", pnginfo=note)


@pytest.fixture
def folder(tmp_path):
    for name, colour in COLOURS.items():
        write_images(tmp_path / "data" / name, colour)
    return tmp_path / "data"


@pytest.mark.parametrize(("cache", "where"), [("auto", "in memory"), ("disk", "pixels/"), ("none", "in every epoch")])
def test_image_folder_gives_each_image_its_label_and_path(folder, cache, where):
    split = data.image_folder(folder, image_size=(8, 8), test_fraction=0.2, cache=cache)
    assert split.labels == ("blue", "red")
    assert {name: len(part) for name, part in split.parts.items()} == {"train": 6, "validation": 2, "test": 2}
    for part in split.parts.values():
        assert where in part.inputs.where
        assert part.class_counts.tolist() == [len(part) // 2] * 2
        for index, (label, path) in enumerate(zip(part.targets, part.paths, strict=True)):
            assert Path(path).parent.name == split.labels[label]
            assert (part.image(index) == COLOURS[split.labels[label]]).all()
            assert (part.read(np.array([index]))[0] == part.image(index)).all()
    assert len({path for part in split.parts.values() for path in part.paths}) == 10


def test_image_folder_reads_folders_within_and_passes_over_clutter(folder):
    write_images(folder / "red" / "more", COLOURS["red"], count=2)
    for clutter in (".hidden", "blue/.DS_Store", "blue/Thumbs.db", "red/.cache/picture.png", "notes.txt"):
        (folder / clutter).parent.mkdir(exist_ok=True)
        (folder / clutter).write_text("no picture")
    (folder / ".git").mkdir()
    split = data.image_folder(folder, image_size=(8, 8))
    assert split.labels == ("blue", "red")
    assert sum(part.class_counts for part in split.parts.values()).tolist() == [5, 7]


def test_image_folder_splits_alike_when_the_folder_is_elsewhere(folder):
    before = data.image_folder(folder, image_size=(8, 8), seed=1)
    after = data.image_folder(folder.rename(folder.parent / "moved"), image_size=(8, 8), seed=1)
    assert [Path(path).name for path in before.train.paths] == [Path(path).name for path in after.train.paths]


def test_image_folder_tells_a_missing_path(tmp_path):
    with pytest.raises(FileNotFoundError, match="no data at '.*gone': there is no such folder."):
        data.image_folder(tmp_path / "gone", image_size=(8, 8))


def test_image_folder_tells_a_file_for_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="'.*file' must be a folder with one folder per class"):
        data.image_folder(tmp_path / "file", image_size=(8, 8))


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({}, "contains no folders. Put the images of each class into a folder"),
        ({"cats": 3}, "a classifier needs at least two classes. Received: only 'cats' in"),
        (
            {"cats": 3, "dogs": 0},
            r"Received: only 'cats' in '.*' \(left out the folder 'dogs' without images\)\.",
        ),
        ({"cats": 3, "dogs": 1}, "class 'dogs' has one example, too few for train, validation"),
        ({"val": 3, "test": 3}, "contains test, val but no train. Add a folder train."),
        ({"Train": 3, "val": 3, "dev": 3}, "contains the folders dev and val, both for validation. Keep one."),
        ({"Train": 3, "test": 3}, "Train' contains no folders. Put the images of each class"),
    ],
)
def test_image_folder_tells_what_is_wrong_with_the_classes(tmp_path, contents, message):
    for name, count in contents.items():
        write_images(tmp_path / name, count=count)
    with pytest.raises(InputError, match=message):
        data.image_folder(tmp_path, image_size=(8, 8))


def test_a_file_that_is_no_image_is_left_out_up_to_a_share(folder, caplog):
    (folder / "red" / "notes").write_text("no picture")
    split = data.image_folder(folder, image_size=(8, 8))
    assert [(Path(file.path).name, file.kind) for file in split.quarantined] == [("notes", "no image")]
    assert sum(split.sizes.values()) == 10
    assert "skipped 1 of 11 images: 1 not an image (" in caplog.text
    with pytest.raises(InputError, match=r"1 of 11 files cannot be read as images.*notes': it is not one of"):
        data.image_folder(folder, image_size=(8, 8), unreadable_fraction=0.05)


def test_equal_files_cannot_stand_in_two_parts(folder):
    for number in range(5):
        (folder / "red" / f"copy_{number}.png").hardlink_to(folder / "red" / "0.png")
    (folder / "blue" / "wrong.png").hardlink_to(folder / "red" / "1.png")
    split = data.image_folder(folder, image_size=(8, 8), validation_fraction=0.25)
    kinds = {Path(file.path).name: file.kind for file in split.quarantined}
    copies = {f"copy_{number}.png": "duplicate" for number in range(5)}
    assert kinds == {"wrong.png": "contradiction", "1.png": "contradiction"} | copies
    assert sum(part.class_counts for part in split.parts.values()).tolist() == [5, 4]


def test_a_copy_of_what_is_held_out_leaves_train(tmp_path):
    write_parts(tmp_path, {"train": {"blue": 4, "red": 3}, "test": {"blue": 1, "red": 1}})
    (tmp_path / "train" / "blue" / "leak.png").hardlink_to(tmp_path / "test" / "blue" / "0.png")
    split = data.image_folder(tmp_path, image_size=(8, 8), validation_fraction=0)
    assert split.sizes == {"train": 7, "test": 2}
    assert [(Path(file.path).name, file.kind) for file in split.quarantined] == [("leak.png", "leakage")]


def test_a_class_of_which_nothing_can_be_used_is_told(folder):
    for path in (folder / "red").iterdir():
        path.write_bytes(b"")
    with pytest.raises(
        InputError, match="every class of .*data' without the 5 skipped files must have an example. .* red"
    ):
        data.image_folder(folder, image_size=(8, 8), unreadable_fraction=0.5)


def test_scan_tells_what_split_would_leave_out_and_keeps_no_pixels(folder):
    (folder / "red" / "empty.png").write_bytes(b"")
    result = data.scan(data.listing(folder))
    assert [(Path(file.path).name, file.kind) for file in result.quarantined] == [("empty.png", "empty")]
    assert len(result.kept) == 10
    with pytest.raises(
        InputError, match="a scan requires image files or texts, and there are none in the digits. Give a folder or a"
    ):
        data.scan(data.listing("digits"))


def test_read_leaves_out_what_split_would(folder):
    (folder / "red" / "empty.png").write_bytes(b"")
    examples = data.read(data.listing(folder, image_size=(8, 8)).examples)
    assert (len(examples), examples.class_counts.tolist()) == (10, [5, 5])
    assert (examples.image(9) == COLOURS["red"]).all()


@pytest.mark.parametrize("image_size", [(0, 8), (8,), 8, (8.0, 8.0), (True, 8), "88"])
def test_image_size_must_be_two_whole_numbers(folder, image_size):
    with pytest.raises(InputError, match="`image_size` must be two whole numbers >= 1"):
        data.image_folder(folder, image_size=image_size)
    with pytest.raises(InputError, match="`image_size` must be two whole numbers >= 1"):
        data.digits(image_size=image_size)


def test_memory_fraction_must_be_a_fraction(folder):
    with pytest.raises(InputError, match=r"`memory_fraction` must lie in \[0, 1\]. Received: 2"):
        data.image_folder(folder, image_size=(8, 8), memory_fraction=2)


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    split = data.digits(image_size=(8, 8), test_fraction=0.1)
    assert split.labels == tuple("0123456789")
    grey, labels = load_digits(return_X_y=True)
    expected = {
        (label, np.round(pixels * 255 / 16).astype(np.uint8).tobytes())
        for label, pixels in zip(labels, grey, strict=True)
    }
    actual = {
        (label, image[..., 0].tobytes())
        for part in split.parts.values()
        for label, image in zip(part.targets, part.inputs, strict=True)
    }
    assert actual == expected
    assert sum(map(len, split.parts.values())) == 1797


def test_digits_have_the_size_asked_for():
    examples = data.digits(image_size=(12, 20)).train
    assert (examples.image_size, examples.shape, examples.dtype) == ((12, 20), (12, 20, 3), np.uint8)
    assert examples.image(0).shape == (12, 20, 3)


def test_arrays_keep_inputs_with_their_labels():
    inputs = np.arange(40, dtype=np.float32)[:, np.newaxis]
    split = data.arrays(inputs, np.arange(40) % 2, labels=["even", "odd"], test_fraction=0.1)
    for part in split.parts.values():
        assert (part.inputs[:, 0] % 2 == part.targets).all()
        assert part.image_size is None


@pytest.mark.parametrize(
    ("targets", "labels", "message"),
    [
        ([0, 0, 0], ["a"], "a classifier needs at least two classes. Received: only 'a' in the arrays"),
        ([0, 1], ["a", "b"], "`inputs` must hold one value for each target. Received: 3 for 2."),
        ([0, 0, 1], ["a", "b", "c"], "every class of the arrays must have an example. Without any: c"),
        ([0, 1, 2], ["a", "b"], "`targets` must lie in \\[0, 2\\), .* Received: 0 to 2"),
        (
            [0.0, 0.5, 1.0],
            ["a", "b"],
            "`targets` must be whole numbers, the classes of the inputs. Received: 0.5 at index 1",
        ),
    ],
)
def test_arrays_tell_what_is_wrong_with_the_targets(targets, labels, message):
    with pytest.raises(InputError, match=message):
        data.arrays(np.zeros((3, 4)), np.array(targets), labels=labels)


def write_parts(folder, parts):
    for part, classes in parts.items():
        for name, count in classes.items():
            write_images(folder / part / name, COLOURS[name], count)


def test_folders_of_parts_are_the_parts(tmp_path):
    write_parts(tmp_path, {"Training": {"blue": 4, "red": 3}, "val": {"blue": 2, "red": 1}, "test": {"red": 2}})
    split = data.image_folder(tmp_path, image_size=(8, 8), test_fraction=0.3)
    assert split.sizes == {"train": 7, "validation": 3, "test": 2}
    for part, folder in (("train", "Training"), ("validation", "val"), ("test", "test")):
        examples = split.parts[part]
        images = examples.read(np.arange(len(examples)))
        for target, key, image in zip(examples.targets, examples.keys, images, strict=True):
            assert key.startswith(f"{folder}/{split.labels[target]}/")
            assert (image == COLOURS[split.labels[target]]).all()


def test_a_part_without_a_folder_comes_out_of_train(tmp_path):
    write_parts(tmp_path, {"train": {"blue": 10, "red": 10}, "test": {"blue": 2, "red": 2}})
    split = data.image_folder(tmp_path, image_size=(8, 8), validation_fraction=0.2, test_fraction=0.5)
    assert split.sizes == {"train": 16, "validation": 4, "test": 4}
    folds = [data.image_folder(tmp_path, image_size=(8, 8), folds=5, fold=fold) for fold in range(5)]
    assert all(fold.sizes == {"train": 16, "validation": 4, "test": 4} for fold in folds)
    assert len({key for fold in folds for key in fold.validation.keys}) == 20


def test_a_class_that_train_lacks_is_told(tmp_path):
    write_parts(tmp_path, {"train": {"blue": 4}, "val": {"blue": 2, "red": 1}, "test": {"red": 2}})
    with pytest.raises(InputError, match="class 'red' of .* has no training example and cannot be learned"):
        data.image_folder(tmp_path, image_size=(8, 8))


def test_folds_hold_out_every_example_once():
    whole = data.digits(image_size=(8, 8), validation_fraction=0).train
    held_out = [data.folds(whole, 4, fold).validation.inputs for fold in range(4)]
    assert sorted(image.tobytes() for part in held_out for image in part) == sorted(i.tobytes() for i in whole.inputs)
    with pytest.raises(InputError, match=r"`fold` must lie in \[0, 4\), the folds counted from 0. Received: 4"):
        data.folds(whole, 4, 4)


def test_targets_follow_the_labels_of_a_model(folder):
    examples = data.under_labels(data.listing(folder), ("red", "green", "blue"))
    assert examples.labels == ("red", "green", "blue")
    assert examples.class_counts.tolist() == [5, 0, 5]
    with pytest.raises(InputError, match="must have the names of the model's labels: red, green. Unknown: blue."):
        data.under_labels(data.listing(folder), ("red", "green"))


def test_arrays_in_a_file_are_a_source(tmp_path):
    pixels = np.arange(12, dtype=np.uint8)[:, np.newaxis, np.newaxis] * np.ones((1, 4, 6), np.uint8)
    marks = ["train"] * 8 + ["val", "val", "test", "test"]
    np.savez(tmp_path / "a.npz", inputs=pixels, targets=np.arange(12) % 2, labels=["even", "odd"], marks=marks)
    split = data.split(data.listing(tmp_path / "a.npz", image_size=(5, 5)))
    assert (split.labels, split.sizes) == (("even", "odd"), {"train": 8, "validation": 2, "test": 2})
    assert split.train.shape == (5, 5, 3)
    assert (split.train.inputs[:, 0, 0, 0] % 2 == split.train.targets).all()
    np.savez(tmp_path / "b.npz", inputs=pixels, targets=np.arange(12.0))
    ages = data.split(data.listing(tmp_path / "b.npz", image_size=(4, 6), task="regression")).train
    assert (ages.labels, ages.targets.dtype) == (("target 0",), np.float32)
    assert (ages.inputs[:, 0, 0, 0] == ages.targets[:, 0]).all()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"inputs": np.zeros(3)}, "has no array 'targets'. Its arrays are: inputs."),
        (
            {"inputs": np.zeros(3), "target": np.zeros(3), "weigths": np.zeros(3)},
            "unknown array 'weigths'. Known: .* Did you mean 'weights'",
        ),
        (
            {"inputs": np.array([None] * 3), "targets": np.zeros(3, int)},
            "the array 'inputs' of '.*a.npz' must hold numbers or texts. Received: Python objects",
        ),
        (
            {"inputs": np.zeros((3, 2, 2, 5), np.uint8), "targets": np.zeros(3, int)},
            r"the inputs of .* must have the shape \(n, height, width\) of grey images, or .* Received: \(3, 2, 2, 5\)",
        ),
        (
            {"inputs": np.zeros((2, 2, 2)), "targets": np.zeros(2, int), "marks": ["train", "tset"]},
            "unknown part 'tset'",
        ),
    ],
)
def test_a_file_of_arrays_tells_what_is_wrong(tmp_path, columns, message):
    np.savez(tmp_path / "a.npz", **columns)
    with pytest.raises(InputError, match=message):
        data.listing(tmp_path / "a.npz")


def test_a_file_that_is_no_npz_is_told(tmp_path):
    (tmp_path / "a.npz").write_text("nothing of the kind")
    with pytest.raises(InputError, match="cannot read '.*a.npz' as an .npz file"):
        data.listing(tmp_path / "a.npz")
    with pytest.raises(FileNotFoundError, match="no data at '.*gone.npz'"):
        data.listing(tmp_path / "gone.npz")


@pytest.mark.slow
def test_image_folder_reads_real_photos(shared):
    split = data.image_folder(shared("data/sign_digits"), image_size=(64, 64), test_fraction=0.1)
    assert split.labels == tuple("0123456789")
    assert sum(map(len, split.parts.values())) == 2062
    assert sum(part.class_counts for part in split.parts.values()).min() == 204
    assert split.train.read(np.arange(100)).std() > 20
