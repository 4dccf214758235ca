import pytest

from kerastrain.data.sources import table_roles
from kerastrain.data.sources.table import Columns, Table
from kerastrain.errors import InputError

TEXTS = [f"a long text number {number}" for number in range(6)]
CLASSES = ["pos", "neg"] * 3
FILES = [f"{number}.png" for number in range(6)]


def table(**columns):
    return Table("'x.csv'", columns, range(2, 8), "line")


def completed(content, kind="text", task="single_label", **columns):
    found, notes = table_roles.completed(content, Columns(**columns), kind=kind, task=task)
    return found.inputs, found.targets, found.split, notes


@pytest.mark.parametrize(
    ("content", "kind", "task", "expected"),
    [
        (table(text=TEXTS, label=CLASSES), "text", "single_label", (("text",), ("label",), None, ())),
        (
            table(Review=TEXTS, Sentiment=CLASSES),
            "text",
            "single_label",
            (("Review",), ("Sentiment",), None, ("the classes are in column 'Sentiment'",)),
        ),
        (
            table(v1=CLASSES, v2=TEXTS),
            "text",
            "single_label",
            (
                ("v2",),
                ("v1",),
                None,
                (
                    "the texts are in column 'v2', by their contents",
                    "the classes are in column 'v1', because no other column is left",
                ),
            ),
        ),
        (
            table(id=range(6), text=TEXTS, author=CLASSES),
            "text",
            "single_label",
            (("text",), ("author",), None, ("the classes are in column 'author', because no other column is left",)),
        ),
        (
            table(image_id=FILES, path=FILES, label=CLASSES),
            "images",
            "single_label",
            (("path",), ("label",), None, ()),
        ),
        (
            table(id=FILES, breed=CLASSES, fold=["train", "valid"] * 3),
            "images",
            "single_label",
            (
                ("id",),
                ("breed",),
                None,
                (
                    "column 'fold' names parts and is not read; data.columns.split=fold uses it",
                    "the classes are in column 'breed'",
                ),
            ),
        ),
        (
            table(image=FILES, cat=[0, 1] * 3, dog=["1", "0"] * 3),
            "images",
            "multi_label",
            (("image",), ("cat", "dog"), None, ("the labels are the columns of 0 and 1: cat, dog",)),
        ),
        (
            table(image=FILES, price=["1,5"] * 6),
            "images",
            "regression",
            (("image",), ("price",), None, ("the numbers are in column 'price'",)),
        ),
        (
            table(text=TEXTS, label=["train", "test"] * 3, is_valid=["True", "False"] * 3),
            "text",
            "single_label",
            (
                ("text",),
                ("label",),
                None,
                ("column 'is_valid' is not read; a column of parts holds names such as train and val",),
            ),
        ),
        (table(text=TEXTS, other=CLASSES), "text", None, (("text",), (), None, ())),
    ],
)
def test_roles_are_found_by_usual_names_and_by_elimination(content, kind, task, expected):
    assert completed(content, kind, task) == expected


@pytest.mark.parametrize(
    ("content", "kind", "task", "columns", "message"),
    [
        (
            table(title=TEXTS, description=TEXTS, label=CLASSES),
            "text",
            "single_label",
            {},
            r"several columns that may hold the texts: title, description. Set `data.columns.input` to one of them, or to "
            r"several that are joined in order, such as \[title, description\]",
        ),
        (
            table(text=TEXTS, category=CLASSES, sentiment=CLASSES),
            "text",
            "single_label",
            {},
            "several columns that may hold the classes: category, sentiment. Set `data.columns.targets` to one of them",
        ),
        (
            table(text=TEXTS, x=CLASSES, z=CLASSES),
            "text",
            "single_label",
            {},
            "unknown column 'label'. Known: text, x, z. Set `data.columns.targets` to the classes",
        ),
        (
            table(image=FILES, cat=[0, 1] * 3, dog=[1, 0] * 3),
            "images",
            "single_label",
            {},
            "Columns of 0 and 1 are the labels of data.task=multi_label",
        ),
        (
            table(text=TEXTS, label=CLASSES),
            "images",
            "single_label",
            {},
            "has no column of images, and its column 'text' seems to hold texts. Set data.kind=text, or `data.columns.input`",
        ),
        (
            table(image=TEXTS, label=CLASSES),
            "images",
            "single_label",
            {},
            "column 'image' of .* must hold paths of images. Received: 'a long text number 0', apparently a text. Set data.k",
        ),
        (
            table(text=FILES, label=CLASSES),
            "text",
            "single_label",
            {},
            "column 'text' of .* must hold texts. Received: '0.png', apparently an image. Set data.kind=images",
        ),
        (
            table(image=FILES, text=TEXTS, label=CLASSES),
            "images",
            "single_label",
            {"input": ("image", "text")},
            "`data.columns.input` must be one column for images. Received: image, text",
        ),
        (
            table(text=TEXTS, lable=CLASSES),
            "text",
            "single_label",
            {"targets": ("label",)},
            "unknown column 'label'. Known: lable, text. Did you mean 'lable'. Correct `data.columns.targets`",
        ),
    ],
)
def test_a_role_that_is_unclear_is_refused(content, kind, task, columns, message):
    with pytest.raises(InputError, match=message):
        completed(content, kind, task, **columns)
