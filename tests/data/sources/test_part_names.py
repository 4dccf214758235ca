import pytest

from kerastrain.data.sources import parts
from kerastrain.errors import InputError


@pytest.mark.parametrize(
    ("part", "names"),
    [
        (
            "train",
            "train Train TRAINING training_set trainset TrainData seg_train train2017 01_train train-images trainval",
        ),
        ("validation", "val valid validation-set valset val2017 dev eval Development validation_images"),
        ("test", "test tests test_set testset test1 TestImages holdout hold-out held_out PublicTest testing.data"),
    ],
)
def test_a_part_has_many_names(part, names):
    assert {name: parts.part_of(name) for name in names.split()} == dict.fromkeys(names.split(), part)


@pytest.mark.parametrize(
    "name", ["cats", "contest", "latest", "train_station", "bullet train", "invalid", "train_test", "", "1"]
)
def test_a_name_that_says_something_else_is_no_part(name):
    assert parts.part_of(name) is None


def test_the_synonyms_are_exact_where_a_user_names_a_data_set():
    assert [parts.part_named(name) for name in ("Val", " test ", "val2017", "other")] == [
        "validation",
        "test",
        None,
        None,
    ]


def test_other_words_do_not_matter_if_two_parts_share_them():
    names = ["asl_alphabet_train", "asl_alphabet_test", "bullet_train", "readme"]
    assert parts.parts_of(names) == {"asl_alphabet_train": "train", "asl_alphabet_test": "test"}
    assert parts.parts_of(["car", "bus", "train"]) == {"train": "train"}


def test_names_of_both_a_part_and_a_class_are_found():
    assert parts.mixed_with_classes(["test_cat", "test_dog", "train_cat", "train_dog"]) == ("train_cat", "test_cat")
    assert parts.mixed_with_classes(["seg_train", "seg_test"]) is None


def test_a_column_of_parts_is_read():
    assert parts.part_names(["Training", "PublicTest", "val"], where="x").tolist() == ["train", "test", "validation"]
    with pytest.raises(InputError, match="column 'split': unknown part 'tset'. Known: .* Did you mean 'test'"):
        parts.part_names(["train", "tset"], where="column 'split'")
