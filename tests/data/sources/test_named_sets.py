import io
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from kerastrain import data
from kerastrain.data.sources.table_columns import Columns
from kerastrain.errors import InputError
from kerastrain.system import network
from kerastrain.system.optional_imports import MissingExtra


def example(number):
    return {
        "image": np.full((5, 4, 3), number, np.uint8),
        "label": number % 2,
        "tags": [[], [1], [0, 2]][number % 3],
        "age": 1.5 * number,
        "text": f"text {number}",
        "patient": f"p{number // 2}",
    }


@pytest.fixture(scope="module")
def hugging_face(tmp_path_factory):
    library = pytest.importorskip("datasets")
    library.disable_progress_bars()
    features = library.Features(
        {
            "image": library.Image(),
            "label": library.ClassLabel(names=["odd", "even"]),
            "tags": library.List(library.ClassLabel(names=["x", "y", "z"])),
            "age": library.Value("float32"),
            "text": library.Value("string"),
            "patient": library.Value("string"),
        }
    )
    folder = tmp_path_factory.mktemp("hf")

    def part(rows):
        columns = {name: [example(row)[name] for row in rows] for name in features}
        columns["image"] = [Image.fromarray(image) for image in columns["image"]]
        return library.Dataset.from_dict(columns, features=features)

    parts = {"train": part(range(12)), "test": part(range(12, 16)), "unlabelled": part(range(3))}
    library.DatasetDict(parts).save_to_disk(folder / "all")
    parts["train"].save_to_disk(folder / "one")
    return folder


@pytest.fixture(scope="module", params=["tfrecord", "array_record"])
def tfds(request, tmp_path_factory):
    library = pytest.importorskip("tensorflow_datasets")
    library.disable_progress_bar()

    class Sixteen(library.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = library.core.Version("1.0.0")

        def _info(self):
            features = library.features
            return library.core.DatasetInfo(
                builder=self,
                features=features.FeaturesDict(
                    {
                        "image": features.Image(shape=(None, None, 3)),
                        "label": features.ClassLabel(names=["odd", "even"]),
                        "tags": features.Sequence(features.ClassLabel(names=["x", "y", "z"])),
                        "age": features.Scalar(np.float32),
                        "text": features.Text(),
                        "patient": features.Text(),
                    }
                ),
            )

        def _split_generators(self, _):
            return {"train": self._generate_examples(range(12)), "test": self._generate_examples(range(12, 16))}

        def _generate_examples(self, rows):
            yield from ((row, example(row)) for row in rows)

    builder = Sixteen(data_dir=tmp_path_factory.mktemp("tfds"), file_format=request.param)
    builder.download_and_prepare()
    return builder.data_path


def numbers(examples):
    return examples.read(np.arange(len(examples)))[:, 0, 0, 0]


def check_images(split):
    assert (split.labels, split.train.shape) == (("odd", "even"), (6, 6, 3))
    assert sorted(np.concatenate([numbers(split.train), numbers(split.validation)])) == list(range(12))
    assert sorted(numbers(split.test)) == [12, 13, 14, 15]
    for part in split.parts.values():
        np.testing.assert_array_equal(part.targets, numbers(part) % 2)


def check_other_tasks(path):
    tags = data.split(data.listing(path, image_size=(4, 4), task="multi_label", columns=Columns(targets=("tags",))))
    assert tags.labels == ("x", "y", "z")
    expected = np.array([[0, 0, 0], [0, 1, 0], [1, 0, 1]])[numbers(tags.train) % 3]
    np.testing.assert_array_equal(tags.train.targets, expected)
    columns = Columns(targets=("age",), group="patient")
    ages = data.split(data.listing(path, image_size=(4, 4), task="regression", columns=columns))
    np.testing.assert_array_equal(ages.train.targets[:, 0], numbers(ages.train) * 1.5)
    assert ages.train.groups.tolist() == [f"p{number // 2}" for number in numbers(ages.train)]
    texts = data.split(data.listing(path, kind="text"))
    assert {int(text.removeprefix("text ")) % 2 == target for text, target in zip(texts.train.inputs, texts.train.targets,
                                                                                  strict=True)} == {True}  # fmt: skip


def test_a_hugging_face_set_gives_images_texts_classes_numbers_and_parts(hugging_face):
    check_images(data.named_set(f"hf:{hugging_face / 'all'}", image_size=(6, 6)))
    listing = data.listing(f"hf:{hugging_face / 'all'}")
    assert listing.layout.endswith("/all': images of 'image', targets of 'label'")
    assert listing.notes == ("parts that are not train, validation or test are left out: unlabelled (3 examples)",)
    check_other_tasks(f"hf:{hugging_face / 'all'}")
    assert data.sizes(data.listing(f"hf:{hugging_face / 'one'}"), test_fraction=0.2) == {
        "train": 8, "validation": 2, "test": 2,
    }  # fmt: skip


def test_a_set_of_tensorflow_datasets_gives_images_texts_classes_numbers_and_parts(tfds):
    check_images(data.named_set(f"tfds:{tfds}", image_size=(6, 6)))
    check_other_tasks(f"tfds:{tfds}")


def test_named_sets_are_written_as_shards(hugging_face, tmp_path):
    listing = data.listing(f"hf:{hugging_face / 'all'}", image_size=(5, 4))
    again = data.tfrecord_set(data.write_tfrecords(listing, tmp_path / "records"), image_size=(5, 4))
    np.testing.assert_array_equal(numbers(again.test), numbers(data.split(listing).test))


def test_named_sets_are_counted_without_tensorflow(tfds, hugging_face):
    code = (
        "import sys; from kerastrain import data; print([data.sizes(data.listing(path)) for path in sys.argv[1:]]);"
        "assert 'tensorflow' not in sys.modules"
    )
    paths = [f"tfds:{tfds}", f"hf:{hugging_face / 'all'}"]
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == str([{"train": 10, "validation": 2, "test": 4}] * 2), done.stderr


@pytest.mark.parametrize(
    ("path", "library", "extra"),
    [("hf:someone/something", "datasets", "huggingface"), ("tfds:something", "tensorflow_datasets", "tfds")],
)
def test_a_set_whose_library_is_missing_names_the_extra(monkeypatch, path, library, extra):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=rf"kerastrain needs {library}. .* pip install 'kerastrain\[{extra}\]'"):
        data.listing(path)


def test_a_set_that_nobody_has_is_told(monkeypatch):
    library = pytest.importorskip("datasets")
    monkeypatch.setattr(library.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="cannot load 'hf:nobody/nothing': .*without a network, give a folder"):
        data.listing("hf:nobody/nothing")
    pytest.importorskip("tensorflow_datasets")
    with pytest.raises(InputError, match="cannot load 'tfds:nothing': TensorFlow Datasets has no set of that name"):
        data.listing("tfds:nothing")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            Columns(input="picture"),
            "`data.columns.input` must name a feature of images: image. Its features are: image,",
        ),
        (Columns(targets=("lable",)), "unknown column 'lable'. Known: .* Did you mean 'label'"),
        (Columns(targets=("label",), group="patients"), "unknown column 'patients'. .* Did you mean 'patient'"),
    ],
)
def test_a_feature_that_a_set_lacks_is_told(hugging_face, columns, message):
    with pytest.raises(InputError, match=message):
        data.listing(f"hf:{hugging_face / 'one'}", columns=columns)


def saved(path, columns, **features):
    """Writes a set with `save_to_disk`; a dict of columns is one of parts."""
    library = pytest.importorskip("datasets")
    library.disable_progress_bars()
    kinds = {"text": library.Value("string"), "label": library.ClassLabel(names=["a", "b"])} | features
    parts = columns if isinstance(next(iter(columns.values())), dict) else {"train": columns}
    library.DatasetDict(
        {
            part: library.Dataset.from_dict(values, features=library.Features({name: kinds[name] for name in values}))
            for part, values in parts.items()
        }
    ).save_to_disk(path)
    return f"hf:{path}"


def texts(count, labels):
    return {"text": [f"text {index}" for index in range(count)], "label": labels}


def test_a_part_without_labels_is_left_out(tmp_path):
    name = saved(tmp_path / "set", {"train": texts(10, [0, 1] * 5), "test": texts(3, [-1] * 3)})
    listing = data.listing(name, kind="text")
    assert listing.notes == ("the part test is left out: none of its 3 examples has a label",)
    assert (len(listing), set(listing.predefined_split), listing.skipped) == (10, {"train"}, ())


def test_an_example_without_a_label_or_a_text_is_skipped(tmp_path):
    columns = {"text": ["x", "", None, *"abcdefg"], "label": [0, 1, 0, 1, -1, 0, None, 1, 0, 1]}
    name = saved(tmp_path / "set", columns)
    listing = data.listing(name, kind="text")
    assert [(fault.path, fault.kind, fault.reason) for fault in listing.skipped] == [
        (f"row 1 of '{name}'", "incomplete", "its text is empty"),
        (f"row 2 of '{name}'", "incomplete", "its text is empty"),
        (f"row 4 of '{name}'", "incomplete", "it has no 'label'"),
        (f"row 6 of '{name}'", "incomplete", "it has no 'label'"),
    ]
    assert listing.examples.inputs.tolist() == ["x", "a", "c", "e", "f", "g"]
    assert listing.examples.targets.tolist() == [0, 1, 0, 1, 0, 1]
    assert len(data.split(listing, unreadable_fraction=0.4, validation_fraction=0.3).quarantined) == 4
    with pytest.raises(InputError, match="4 of 10"):
        data.split(listing, unreadable_fraction=0.3)


@pytest.mark.parametrize(
    ("labels", "classes"), [([-1, 0, 1] * 4, ("-1", "0", "1")), ([0, 1] * 6, ("0", "1"))], ids=["a class", "a mark"]
)
def test_minus_one_among_plain_numbers_is_a_class_unless_a_whole_part_is_minus_one(tmp_path, labels, classes):
    integer = pytest.importorskip("datasets").Value("int64")
    name = saved(tmp_path / "set", {"train": texts(12, labels), "test": texts(3, [-1] * 3)}, label=integer)
    listing = data.listing(name, kind="text")
    assert (listing.examples.labels, len(listing)) == (classes, 15 if len(classes) == 3 else 12)


def test_lists_of_one_class_are_single_labels(tmp_path):
    library = pytest.importorskip("datasets")
    lists = library.List(library.ClassLabel(names=["a", "b"]))
    name = saved(tmp_path / "set", texts(8, [[0], [1]] * 4), label=lists)
    assert data.listing(name, kind="text").examples.targets.tolist() == [0, 1] * 4
    name = saved(tmp_path / "several", texts(8, [[0], [0, 1]] * 4), label=lists)
    with pytest.raises(InputError, match=r"must hold one class .* Received: \[0, 1\]. Set data.task=multi_label"):
        data.listing(name, kind="text")


@pytest.mark.parametrize(("part", "notes"), [("train[:10%]", 0), ("test", 1)])
def test_the_only_part_is_divided_whatever_its_name(tmp_path, part, notes):
    library = pytest.importorskip("datasets")
    whole = library.Dataset.from_dict(texts(10, ["a", "b"] * 5), split=part)
    whole.save_to_disk(tmp_path / "set")
    listing = data.listing(f"hf:{tmp_path / 'set'}", kind="text")
    assert (set(listing.predefined_split), len(listing.notes)) == ({"train"}, notes)


def png(value):
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (value, 0, 0)).save(file, "PNG")
    return file.getvalue()


def test_a_broken_image_of_a_set_costs_that_one(tmp_path, caplog):
    library = pytest.importorskip("datasets")
    images = [{"bytes": png(10 * index), "path": None} for index in range(20)]
    images[3], images[6] = {"bytes": b"broken", "path": None}, None
    columns = {"image": images, "label": [0, 1] * 10}
    name = saved(tmp_path / "set", columns, image=library.Image(decode=False))
    with caplog.at_level("WARNING", "kerastrain"):
        split = data.named_set(name, image_size=(4, 4))
    assert [(fault.path, fault.kind) for fault in split.quarantined] == [
        (f"row 3 of '{name}'", "no image"),
        (f"row 6 of '{name}'", "unreadable"),
    ]
    assert "skipped 2 of 20 images" in caplog.text
    assert sorted(np.concatenate([numbers(split.train), numbers(split.validation)]).tolist()) == [
        10 * index for index in range(20) if index not in (3, 6)
    ]
    listing = data.listing(name, image_size=(4, 4))
    assert [fault.path for fault in data.scan(listing).quarantined] == [f"row {row} of '{name}'" for row in (3, 6)]
    with pytest.raises(InputError, match=r"2 of 20 files cannot be read as images, more than the fraction 0.05"):
        data.split(listing, unreadable_fraction=0.05)


@pytest.mark.parametrize("form", ["bytes", "dict", "path"])
def test_images_may_be_bytes_dicts_or_paths(tmp_path, form):
    library = pytest.importorskip("datasets")
    kinds = {
        "bytes": library.Value("binary"),
        "dict": {"bytes": library.Value("binary"), "path": library.Value("string")},
        "path": library.Value("string"),
    }
    values = [png(10 * index) for index in range(10)]
    if form == "path":
        for index, content in enumerate(values):
            (tmp_path / f"{index}.png").write_bytes(content)
    stored = {
        "bytes": values,
        "dict": [{"bytes": value, "path": "x.png"} for value in values],
        "path": [str(tmp_path / f"{index}.png") for index in range(10)],
    }
    name = saved(tmp_path / "set", {"picture": stored[form], "label": [0, 1] * 5}, picture=kinds[form])
    listing = data.listing(name, image_size=(4, 4))
    assert numbers(listing.examples).tolist() == [10 * index for index in range(10)]


def test_a_folder_of_parquet_files_is_a_set(tmp_path, monkeypatch):
    library = pytest.importorskip("datasets")
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    whole = library.Dataset.from_dict(texts(10, ["a", "b"] * 5))
    (tmp_path / "set").mkdir()
    whole.to_parquet(tmp_path / "set" / "train-00000-of-00001.parquet")
    assert len(data.listing(f"hf:{tmp_path / 'set'}", kind="text")) == 10
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputError, match="cannot load 'hf:.*nothing' from that folder: .* Give a folder that `save_to"):
        data.listing(f"hf:{tmp_path / 'nothing'}", kind="text")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ValueError(
                "Config name is missing.\nPlease pick one among the available configs: ['cola', 'sst2']\nExample"
            ),
            "it has several configurations: cola, sst2. Choose one, such as hf:some/set:cola.",
        ),
        (
            ValueError("BuilderConfig 'sst' not found. Available: ['cola', 'sst2']"),
            "unknown configuration 'sst'. Known: cola, sst2. Did you mean 'sst2'?.",
        ),
        (
            RuntimeError("Dataset scripts are no longer supported, but found set.py"),
            "it is made by the Python script set.py, which the library datasets does not run any more. Use a copy of the "
            "set in Parquet, or save it with an older version and `save_to_disk`.",
        ),
        (
            FileNotFoundError(
                "Dataset 'some/set' is a gated dataset on the Hub. You must be authenticated to access it."
            ),
            "the set is gated. Ask for access at https://huggingface.co/datasets/some/set, and log in with `hf auth login`.",
        ),
        (
            FileNotFoundError("Dataset 'some/set' doesn't exist on the Hub or cannot be accessed."),
            "the Hub has no set of that name that you may read. Check the name; for a private set, log in with "
            "`hf auth login`.",
        ),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(monkeypatch, error, message):
    library = pytest.importorskip("datasets")

    def load_dataset(*_, **__):
        raise error

    monkeypatch.setattr(library, "load_dataset", load_dataset)
    monkeypatch.setattr(network, "reachable", lambda *_: True)
    with pytest.raises(InputError) as caught:
        data.listing("hf:some/set", kind="text")
    assert str(caught.value) == f"cannot load 'hf:some/set': {message}"


def test_without_a_network_a_set_is_refused_at_once_and_a_cached_one_is_used(tmp_path, monkeypatch):
    library = pytest.importorskip("datasets")
    library.disable_progress_bars()
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    start = time.monotonic()
    with pytest.raises(InputError, match="cannot load 'hf:some/set': the Hub cannot be reached, and the set is not in"):
        data.listing("hf:some/set", kind="text")
    assert time.monotonic() - start < 5
    cached = tmp_path / "cache" / "some___set" / "default" / "0.0.0" / "0123456789abcdef0123456789abcdef01234567"
    whole = library.Dataset.from_dict(texts(10, ["a", "b"] * 5))
    (tmp_path / "files").mkdir()
    whole.to_parquet(tmp_path / "files" / "train.parquet")
    library.load_dataset(
        "parquet", data_files=str(tmp_path / "files" / "train.parquet"), cache_dir=str(tmp_path / "made")
    )
    cached.parent.mkdir(parents=True)
    next((tmp_path / "made").glob("parquet/*/*/*/")).rename(cached)
    for file in [*cached.glob("parquet-*.arrow")]:
        file.rename(cached / file.name.replace("parquet-", "set-"))
    info = cached / "dataset_info.json"
    info.write_text(info.read_text().replace('"dataset_name": "parquet"', '"dataset_name": "set"'))
    assert len(data.listing("hf:some/set", kind="text")) == 10
    next(cached.glob("set-*.arrow")).unlink()
    with pytest.raises(
        InputError, match="its copy in the cache is incomplete or damaged .* Delete '.*/some___set', and"
    ):
        data.listing("hf:some/set", kind="text")


def test_a_set_of_tensorflow_datasets_that_is_not_prepared_needs_a_network(tmp_path, monkeypatch):
    pytest.importorskip("tensorflow_datasets")
    monkeypatch.setattr(network, "reachable", lambda *_: False)
    start = time.monotonic()
    with pytest.raises(InputError, match="cannot load 'tfds:mnist': it is not prepared on this machine in '.*mnist"):
        data.listing("tfds:mnist")
    assert time.monotonic() - start < 5
