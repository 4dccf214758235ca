import logging
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from kerastrain import data
from kerastrain.data.sources.table_columns import Columns
from kerastrain.errors import InputError
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


def test_a_hugging_face_set_gives_images_texts_classes_numbers_and_parts(hugging_face, caplog):
    with caplog.at_level(logging.WARNING, "kerastrain"):
        check_images(data.named_set(f"hf:{hugging_face / 'all'}", image_size=(6, 6)))
    assert "skipped the parts that are not train, validation or test: unlabelled" in caplog.text
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


def test_a_class_that_is_not_given_is_told(tmp_path):
    library = pytest.importorskip("datasets")
    features = library.Features({"text": library.Value("string"), "label": library.ClassLabel(names=["a", "b"])})
    library.Dataset.from_dict({"text": ["x", "y"], "label": [0, -1]}, features=features).save_to_disk(tmp_path / "set")
    with pytest.raises(
        InputError, match="row 1 of .* column 'label' must hold class numbers from 0 to 1. Received: -1"
    ):
        data.listing(f"hf:{tmp_path / 'set'}", kind="text")
