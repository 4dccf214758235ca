import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kerastrain import data
from kerastrain.data.sources.table_columns import Columns
from kerastrain.errors import InputError


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    for number in range(20):
        path = tmp_path / "flowers" / ("daisy", "röse")[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (12, 9, 3), np.uint8)).save(path)
    return tmp_path / "flowers"


@pytest.fixture
def written(folder, tmp_path):
    return data.write_tfrecords(data.listing(folder), tmp_path / "records", shards=3, name="flowers")


def assert_equal(first, second):
    assert list(first.parts) == list(second.parts)
    for ours, theirs in zip(first.parts.values(), second.parts.values(), strict=True):
        assert (ours.labels, ours.task, ours.keys) == (theirs.labels, theirs.task, theirs.keys)
        np.testing.assert_array_equal(ours.read(np.arange(len(ours))), theirs.read(np.arange(len(ours))))
        np.testing.assert_array_equal(ours.targets, theirs.targets)


def test_a_sharded_set_is_the_folder_that_it_was_written_from(folder, written):
    options = {"image_size": (8, 8), "test_fraction": 0.2, "seed": 3}
    assert_equal(data.tfrecord_set(written, **options), data.image_folder(folder, **options))
    assert sorted(path.name for path in written.iterdir()) == [
        "SHA256SUMS",
        "flowers-00000-of-00003.tfrecord",
        "flowers-00001-of-00003.tfrecord",
        "flowers-00002-of-00003.tfrecord",
        "index.npz",
        "kerastrain.json",
    ]


def test_batches_are_equal_at_any_step(folder, written):
    first, second = (
        data.split(data.listing(path, image_size=(8, 8)), cache="none").train for path in (folder, written)
    )
    options = {"shuffle": True, "epochs": 2, "start_step": 3}
    for ours, theirs in zip(data.batches(first, 5, **options), data.batches(second, 5, **options), strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, ours, theirs)


def test_tensorflow_reads_the_shards_as_records_of_examples(folder, written):
    records = tf.data.TFRecordDataset(sorted(map(str, written.glob("*.tfrecord"))))
    features = {"image": tf.io.FixedLenFeature((), tf.string), "label": tf.io.FixedLenFeature((), tf.int64),
                "key": tf.io.FixedLenFeature((), tf.string)}  # fmt: skip
    examples = {}
    for record in records.as_numpy_iterator():
        example = tf.io.parse_single_example(record, features)
        examples[example["key"].numpy().decode()] = example["image"].numpy(), int(example["label"])
    assert examples == {
        f"{name}/{path.name}": (path.read_bytes(), number)
        for number, name in enumerate(("daisy", "röse"))
        for path in (folder / name).iterdir()
    }
    shard_labels = [[int(tf.train.Example.FromString(record.numpy()).features.feature["label"].int64_list.value[0])
                     for record in tf.data.TFRecordDataset(str(path))] for path in written.glob("*.tfrecord")]  # fmt: skip
    assert all(len(set(labels)) == 2 for labels in shard_labels)


def test_a_split_keeps_its_parts_weights_groups_and_several_labels(folder, tmp_path):
    rows = [(path.relative_to(folder), f"{number % 3}|{number % 5}", number, number % 2, ("train", "val")[number % 2])
            for number, path in enumerate(sorted(folder.rglob("*.jpg")))]  # fmt: skip
    lines = [",".join(map(str, row)) for row in [("path", "labels", "w", "g", "split"), *rows]]
    (folder / "m.csv").write_text("\n".join(lines), encoding="utf-8")
    columns = Columns(weight="w", group="g")
    options = {"image_size": (6, 6), "task": "multi_label", "columns": columns}
    split = data.manifest(folder / "m.csv", **options)
    again = data.tfrecord_set(data.write_tfrecords(split, tmp_path / "records"), image_size=(6, 6))
    assert_equal(again, split)
    for part, other in zip(again.parts.values(), split.parts.values(), strict=True):
        np.testing.assert_array_equal(part.weights, other.weights)
        assert part.groups.tolist() == other.groups.tolist()


def test_texts_features_and_images_in_memory_come_back_as_they_were(tmp_path):
    texts = np.array(["", "zwei\nZeilen", "é" * 5000, "four"])
    for name, inputs in {
        "text": texts,
        "features": np.arange(12, dtype=np.float32).reshape(4, 3),
        "images": np.arange(4 * 60, dtype=np.uint8).reshape(4, 4, 5, 3),
    }.items():
        split = data.arrays(inputs, np.arange(4.0), labels=["age"], task="regression", validation_fraction=0)
        path = data.write_tfrecords(split.train, tmp_path / name, shards=9)
        assert len([*path.glob("*.tfrecord")]) == 4
        again = data.tfrecord_set(path, image_size=(4, 5) if name == "images" else None, validation_fraction=0)
        assert again.train.read(np.arange(4)).tolist() == split.train.inputs.tolist()
        assert again.train.targets.tolist() == split.train.targets.tolist()


def test_a_set_is_counted_without_tensorflow_and_without_its_images(written):
    code = (
        "import sys; from kerastrain import data; print(data.sizes(data.listing(sys.argv[1])));"
        "assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code, str(written)], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "{'train': 16, 'validation': 4}", done.stderr


def test_checksums_are_those_of_the_shell(written):
    if shutil.which("sha256sum") is None:
        pytest.skip("needs sha256sum")
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=written, check=True)


def shard(folder):
    return folder / "flowers-00001-of-00003.tfrecord"


def flip(folder):
    content = bytearray(shard(folder).read_bytes())
    position = content.index(b"\xff\xd8\xff") + 200
    content[position] ^= 1
    shard(folder).write_bytes(content)


def cut(folder):
    shard(folder).write_bytes(shard(folder).read_bytes()[:-1])


def forge(folder):
    with np.load(folder / "index.npz") as file:
        columns = dict(file)
    np.savez(folder / "index.npz", **{**columns, "targets": 1 - columns["targets"]})


def rename(folder):
    description = json.loads((folder / "kerastrain.json").read_text())
    (folder / "kerastrain.json").write_text(json.dumps({**description, "format": "kerastrain.tfrecords.9"}))


@pytest.mark.parametrize(
    ("harm", "error", "message"),
    [
        (
            flip,
            InputError,
            "the shard '.*flowers-00001-of-00003.tfrecord' is damaged: the record at byte .* does not match its checksum",
        ),
        (cut, InputError, "the shard '.*flowers-00001-of-00003.tfrecord' is damaged: it must have .* bytes. Received:"),
        (lambda folder: shard(folder).unlink(), FileNotFoundError, "the shard '.*00001-of-00003.tfrecord' is missing"),
        (lambda folder: (folder / "index.npz").unlink(), FileNotFoundError, "the index '.*index.npz' is missing"),
        (forge, InputError, "the index '.*index.npz' is damaged: its checksum does not match"),
        (rename, InputError, "must describe a sharded set of format kerastrain.tfrecords.1"),
        (
            lambda folder: (folder / "kerastrain.json").unlink(),
            FileNotFoundError,
            "no sharded set at .*: it has no kerastrain.json",
        ),
    ],
)
def test_a_set_that_is_not_as_it_was_written_is_refused(written, harm, error, message):
    harm(written)
    with pytest.raises(error, match=message):
        data.tfrecord_set(written, image_size=(8, 8))


def test_what_cannot_be_written_is_told(folder, tmp_path):
    listing = data.listing(folder)
    with pytest.raises(FileExistsError, match="exists and is not overwritten"):
        data.write_tfrecords(listing, folder)
    with pytest.raises(InputError, match="`shards` must be at least 1. Received: 0"):
        data.write_tfrecords(listing, tmp_path / "new", shards=0)
    with pytest.raises(InputError, match="`data` must hold at least one example"):
        data.write_tfrecords(listing.examples.subset([]), tmp_path / "new")
    (folder / "daisy" / "0.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match="cannot read '.*0.jpg' as an image"):
        data.write_tfrecords(listing, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_what_a_set_holds_must_be_what_is_asked_for(written):
    with pytest.raises(InputError, match="must be those of .*: 'images' and 'single_label'. Received: 'text' and"):
        data.listing(written, kind="text")
