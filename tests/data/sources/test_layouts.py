"""Folders of images and texts as they are found in the wild, each with what it is read as, or why it is refused."""

import os
import re
from pathlib import Path

import pytest
from PIL import Image

from kerastrain import data
from kerastrain.errors import InputError

README = "README.md"


def build(root: Path, *patterns: str) -> Path:
    """Writes three files for each pattern such as "train/{cat,dog}/*.png"; "?" is one file, "/" an empty folder."""
    for pattern in patterns:
        before, *alternatives = re.split(r"\{(.*?)\}", pattern, maxsplit=1)
        names = [before + word + alternatives[1] for word in alternatives[0].split(",")] if alternatives else [before]
        if alternatives and any("{" in name for name in names):
            build(root, *names)
            continue
        for name in names:
            for number in range(3 if "*" in name else 1):
                path = root / name.replace("*", str(number)).replace("?", "")
                (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
                if path.suffix == ".png":
                    Image.new("RGB", (4, 4)).save(path)
                elif not name.endswith("/"):
                    path.write_text(f"a text of {name} {number}")
    return root


def counts(listing: data.Listing) -> dict:
    """Returns the number of examples by part and label."""
    examples, found = listing.examples, {}
    parts = ["all"] * len(examples) if listing.predefined_split is None else listing.predefined_split.tolist()
    for part, target in zip(parts, examples.targets, strict=True):
        key = f"{part}/{examples.labels[target]}"
        found[key] = found.get(key, 0) + 1
    return found


CAT_AND_DOG = {"all/cat": 3, "all/dog": 3}
PARTS = {"train/cat": 3, "train/dog": 3, "test/cat": 3, "test/dog": 3}
READ = {
    "one folder of images per class": (["{cat,dog}/*.png"], CAT_AND_DOG, "", []),
    "a wrapper": (["pets/pets/{cat,dog}/*.png"], CAT_AND_DOG, ", in pets/pets", []),
    "a stray image beside a wrapper": (
        ["pets/{cat,dog}/*.png", "banner.png"],
        CAT_AND_DOG,
        ", in pets",
        ["left out 1 image directly in 'ROOT', such as 'banner.png'"],
    ),
    "a folder beside the parts": (
        ["{train,test}/{cat,dog}/*.png", "annotations/*.xml", "sample/*.png"],
        PARTS,
        ", in train and test",
        [
            "left out 'sample' (3 images), which is no part",
            "left out the folder 'annotations' without images",
            "skipped files that are no images by their names: 3 .xml",
        ],
    ),
    "other spellings": (
        ["{Training_Set,test-set}/{cat,dog}/*.png"],
        PARTS,
        ", in train (Training_Set) and test (test-set)",
        [],
    ),
    "years": (
        ["{train2017,val2017}/{cat,dog}/*.png"],
        {"train/cat": 3, "train/dog": 3, "validation/cat": 3, "validation/dog": 3},
        ", in train (train2017) and validation (val2017)",
        [],
    ),
    "parts nested once more": (
        ["seg_train/seg_train/{cat,dog}/*.png", "seg_test/seg_test/{cat,dog}/*.png", "seg_pred/seg_pred/*.png"],
        PARTS,
        ", in train (seg_train/seg_train) and test (seg_test/seg_test)",
        ["left out 'seg_pred' (3 images), which is no part"],
    ),
    "parts in a wrapper, twice": (
        ["x/{train,test}/{cat,dog}/*.png", "x/x/{train,test}/{cat,dog}/*.png", "x/__MACOSX/x/._1.png"],
        PARTS,
        ", in train (x/train) and test (x/test)",
        ["left out 'x/x' (12 images), which is no part", "did not look into the folder '__MACOSX'"],
    ),
    "a test part without classes": (
        ["train/{cat,dog}/*.png", "test/*.png"],
        {"train/cat": 3, "train/dog": 3},
        ", in train",
        ["left out 'test' (3 images), whose classes are unknown"],
    ),
    "a test part in one folder": (
        ["letters_train/letters_train/{cat,dog}/*.png", "letters_test/letters_test/*.png"],
        {"train/cat": 3, "train/dog": 3},
        ", in train (letters_train/letters_train)",
        ["left out 'letters_test' (3 images), whose classes are unknown"],
    ),
    "tiny-imagenet": (
        ["train/{n01,n02}/images/*.png", "train/n01/n01_boxes.txt", "{val,test}/images/*.png", "wnids.txt"],
        {"train/n01": 3, "train/n02": 3},
        ", in train, also in folders inside them",
        [
            "left out 'test' (3 images), whose classes are unknown",
            "left out 'val' (3 images), whose classes are unknown",
            "skipped files that are no images by their names: 2 .txt",
        ],
    ),
    "parts inside the classes": (["{cat,dog}/{train,test}/*.png"], PARTS, ", with train and test inside each", []),
    "a class called train": (
        ["{bus,train}/*.png"],
        {"all/bus": 3, "all/train": 3},
        "",
        ["the folder 'train' is read as a class, because no folders are in it"],
    ),
    "an empty class folder, a class in one part": (
        ["train/{cat,dog,fox}/*.png", "test/{cat,dog}/*.png", "train/owl/"],
        PARTS | {"train/fox": 3},
        ", in train and test",
        [
            "left out the folder 'train/owl' without images",
            "no examples in test: the class 'fox'; data.exclude_classes=[fox] leaves it out",
        ],
    ),
    "names of one class in two cases": (
        ["train/{Cat,dog}/*.png", "train/Cat/more.png", "test/{cat,dog}/*.png"],
        {"train/Cat": 4, "train/dog": 3, "test/Cat": 3, "test/dog": 3},
        ", in train and test",
        ["the names 'cat' (3) and 'Cat' (4) are one class, 'Cat'"],
    ),
    "files beside the images": (
        ["{cat,dog}/*.png", "cat/*.xml", "dog/*.json", "dog/Thumbs.db", "cat/.DS_Store", "cat/._0.png", README],
        CAT_AND_DOG,
        "",
        [
            "skipped files that are no images by their names: 3 .json, 3 .xml, 1 .DS_Store, 1 hidden, 1 README.md and 1 Thumbs.db"
        ],
    ),
    "copies of a notebook": (
        ["{cat,dog}/*.png", ".ipynb_checkpoints/cat/*.png", "dog/.ipynb_checkpoints/*.png"],
        CAT_AND_DOG,
        "",
        ["did not look into the folder '.ipynb_checkpoints'"],
    ),
    "images and masks inside the classes": (
        ["lungs/{cat,dog}/{images,masks}/*.png"],
        CAT_AND_DOG,
        ", in lungs, also in folders inside them",
        ["left out 'masks' (6 images), which annotates others by its name"],
    ),
    "annotations without a suffix beside the images": (
        ["Images/{cat,dog}/*.png", "Annotation/{cat,dog}/1*"],
        CAT_AND_DOG,
        ", in Images",
        ["left out 'Annotation' (6 images), which annotates others by its name"],
    ),
    "two classes, one of them masks": (["{masks,no_masks}/*.png"], {"all/masks": 3, "all/no_masks": 3}, "", []),
    "masks beside the classes": (
        ["{cat,dog,masks}/*.png"],
        CAT_AND_DOG,
        "",
        ["left out 'masks' (3 images), which annotates others by its name"],
    ),
}


@pytest.mark.parametrize("case", READ)
def test_images_are_read_as_a_person_would(tmp_path, case):
    patterns, expected, place, notes = READ[case]
    root = build(tmp_path / "data", *patterns)
    listing = data.listing(root)
    assert counts(listing) == expected
    assert listing.layout == f"one folder of images per class{place}"
    assert [note.replace(str(root), "ROOT") for note in listing.notes] == notes
    assert all(
        (root / key).samefile(path) for key, path in zip(listing.examples.keys, listing.examples.paths, strict=True)
    )


REFUSED = {
    "images whose class is in the name": (
        ["{cat,dog}.*.png"],
        "'ROOT' contains no folders. Put the images of each class into a folder named after the class. If 'ROOT' is itself a "
        "class, give the folder around it. Received: 6 images, such as 'cat.0.png'.",
    ),
    "parts without class folders beside a table": (
        ["{train,test}/*.png", "sample_submission.csv", "truth.csv"],
        "'ROOT/train' contains no folders. Put the images of each class into a folder named after the class, or, if "
        "'ROOT/truth.csv' is a table of the classes, set data.path to it. Received: 3 images, such as '0.png'.",
    ),
    "an export for detection": (
        ["images/{train,val}/*.png", "labels/{train,val}/*.txt", "data.yaml"],
        "'ROOT/images/train' contains no folders. Put the images of each class into a folder named after the class. Received: "
        "3 images, such as '0.png'.",
    ),
    "images and masks": (
        ["{images,masks}/*.png"],
        "'ROOT/images' contains no folders. Put the images of each class into a folder named after the class. Received: 3 "
        "images, such as '0.png'.",
    ),
    "a part beside folders": (
        ["train/{cat,dog}/*.png", "more/*.png"],
        "'ROOT' contains 'train', which looks like the training part, beside the folder 'more', which may be classes. Set "
        "data.path to 'ROOT/train', or, if 'train' is a class, put its files directly into it.",
    ),
    "a test part beside classes": (
        ["{cat,dog,test}/*.png"],
        "'ROOT' contains 'test', whose files are in no class folder, beside the classes 'cat' and 'dog'. Move it elsewhere, "
        "or, if it is a class, rename it.",
    ),
    "folders of folders of the same names": (
        ["{entrenamiento,prueba}/{gato,perro}/*.png"],
        "the folders 'entrenamiento' and 'prueba' of 'ROOT' hold folders of the same names, 'gato' and 'perro', so either may "
        "be the classes. Name parts train, validation and test, and put the files of a class directly into its folder.",
    ),
    "domains": (
        ["{amazon,webcam}/images/{cup,pen}/*.png"],
        "the folders 'amazon' and 'webcam' of 'ROOT' hold folders of the same names, 'cup' and 'pen', so either may be the "
        "classes. Name parts train, validation and test, and put the files of a class directly into its folder.",
    ),
    "a copy inside": (
        ["{cat,dog}/*.png", "pets/{cat,dog}/*.png"],
        "'ROOT/pets' holds folders with the names of those beside it, 'cat' and 'dog'. Move it elsewhere, or set data.path to "
        "it.",
    ),
    "a data set beside a folder": (
        ["data/{train,test}/{cat,dog}/*.png", "sample/*.png"],
        "'ROOT/data' contains 'test' and 'train', so it is no class but a data set of its own. Set data.path to it, or keep "
        "only class folders.",
    ),
    "names of a part and a class": (
        ["{train,test}_{cat,dog}/*.png"],
        "the folders 'train_cat' and 'test_cat' of 'ROOT' are named after both a part and a class. Put the class folders into "
        "folders train, validation and test.",
    ),
    "two training parts": (
        ["{train,training,test}/{cat,dog}/*.png"],
        "'ROOT' contains the folders train and training, both for train. Keep one.",
    ),
    "a test part beside folders": (
        ["test/{cat,dog}/*.png", "more/*.png"],
        "'ROOT' contains test but no train. Add a folder train.",
    ),
    "texts": (
        ["{pos,neg}/*.txt"],
        "there are no images in 'ROOT', only 6 .txt. Put the images of each class into a folder named after the class, or, for "
        "texts, set data.kind=text.",
    ),
    "empty folders": (
        ["{cat,dog}/"],
        "there are no images in 'ROOT', only empty folders. Put the images of each class into a folder named after the class, "
        "or, for texts, set data.kind=text.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_images_that_can_be_read_in_two_ways_are_refused(tmp_path, case):
    patterns, message = REFUSED[case]
    root = build(tmp_path / "data", *patterns)
    with pytest.raises(InputError) as error:
        data.listing(root)
    assert str(error.value).replace(str(root), "ROOT") == message


TEXTS = {
    "reviews of films": (
        [
            "x/{train,test}/{neg,pos}/*.txt",
            "x/train/unsup/*.txt",
            "x/train/urls_pos.txt",
            "x/train/labels.feat",
            "x/imdb.vocab",
        ],
        {f"{part}/{label}": 3 for part in ("train", "test") for label in ("neg", "pos")} | {"train/unsup": 3},
        "one folder of texts per class, a text per file, in train (x/train) and test (x/test)",
        [
            "left out 1 text directly in 'ROOT/x/train', such as 'urls_pos.txt'",
            "skipped files that are no texts by their names: 1 .feat and 1 .vocab",
            "no examples in test: the class 'unsup'; data.exclude_classes=[unsup] leaves it out",
        ],
    ),
    "newsgroups": (
        ["news-train/{sci.space,rec.autos}/1*", "news-test/{sci.space,rec.autos}/2*"],
        {f"{part}/{label}": 3 for part in ("train", "test") for label in ("sci.space", "rec.autos")},
        "one folder of texts per class, a text per file, in train (news-train) and test (news-test)",
        [],
    ),
    "files of classes with others beside": (
        ["{neg,pos}.txt", "vocabulary.json", "model.bin", README],
        {"all/neg": 1, "all/pos": 1},
        "one file of texts per class, a text per line",
        [
            "skipped files that are no texts by their names: 1 .json and 1 README.md",
            "left out 'model.bin', not named like the files of the classes",
        ],
    ),
    "files of classes in a folder": (
        ["reviews/{neg,pos}.txt"],
        {"all/neg": 1, "all/pos": 1},
        "one file of texts per class, a text per line, in reviews",
        [],
    ),
    "a test part without classes": (
        ["train/{neg,pos}/*.txt", "test/*.txt"],
        {"train/neg": 3, "train/pos": 3},
        "one folder of texts per class, a text per file, in train",
        ["left out 'test' (3 texts), whose classes are unknown"],
    ),
    "a class called valid": (
        ["{invalid,valid}/*.txt"],
        {"all/invalid": 3, "all/valid": 3},
        "one folder of texts per class, a text per file",
        ["the folder 'valid' is read as a class, because no folders are in it"],
    ),
    "numbers": (
        ["{1,2,10}.txt"],
        {"all/1": 1, "all/2": 1, "all/10": 1},
        "one file of texts per class, a text per line",
        [],
    ),
}


@pytest.mark.parametrize("case", TEXTS)
def test_texts_are_read_as_a_person_would(tmp_path, case):
    patterns, expected, layout, notes = TEXTS[case]
    root = build(tmp_path / "data", *patterns)
    listing = data.listing(root, kind="text")
    assert counts(listing) == expected
    assert (listing.layout, [note.replace(str(root), "ROOT") for note in listing.notes]) == (layout, notes)


def test_numbered_classes_are_in_one_order_everywhere(tmp_path):
    numbers = ("1", "2", "10")
    images = data.listing(build(tmp_path / "images", "{1,2,10}/*.png"))
    texts = data.listing(build(tmp_path / "texts", "{1,2,10}/*.txt"), kind="text")
    (tmp_path / "table.csv").write_text(
        "text,label\n" + "".join(f"a text {number},{number}\n" for number in numbers * 3)
    )
    table = data.listing(tmp_path / "table.csv", kind="text")
    assert images.examples.labels == texts.examples.labels == table.examples.labels == numbers


def test_a_text_that_cannot_be_decoded_is_skipped(tmp_path):
    root = build(tmp_path / "data", "{neg,pos}/*.txt")
    (root / "neg" / "bad.txt").write_bytes(b"\0\1\2\0\3")
    (root / "pos" / "empty.txt").write_text(" \n")
    listing = data.listing(root, kind="text")
    assert [(Path(file.path).name, file.kind) for file in listing.skipped] == [("bad.txt", "unreadable")]
    assert (len(listing), listing.notes) == (6, ("left out 1 empty text",))


def test_links_are_followed_unless_they_lead_back(tmp_path):
    build(tmp_path / "store", "{cat,dog}/*.png")
    root = tmp_path / "data"
    root.mkdir()
    for name, target in (("cat", tmp_path / "store" / "cat"), ("dog", "../store/dog"), ("self", "."), ("up", "..")):
        (root / name).symlink_to(target)
    listing = data.listing(root)
    assert (counts(listing), listing.notes) == (CAT_AND_DOG, ("did not look into the folders 'self' and 'up'",))


def test_an_unknown_suffix_is_judged_by_the_first_bytes(tmp_path):
    root = build(tmp_path / "data", "{cat,dog}/*.png", "cat/notes.xyz")
    (root / "dog" / "0.png").rename(root / "dog" / "0.png_large")
    os.mkfifo(root / "dog" / "pipe.abc")
    listing = data.listing(root)
    assert counts(listing) == CAT_AND_DOG
    assert listing.notes == ("skipped files that are no images by their names: 1 .abc and 1 .xyz",)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "pets.tar.gz",
            b"",
            "must be a folder with one folder per class, but it is an archive. Unpack it and give the folder.",
        ),
        ("cat.jpg", b"\xff\xd8\xff", "it is one image. Give the folder that contains the folders of the classes."),
        ("cat.bin", b"x", "must be a folder with one folder per class, but it is a file."),
    ],
)
def test_a_file_in_place_of_a_folder_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(NotADirectoryError, match=re.escape(message)):
        data.listing(tmp_path / name)


def test_a_misspelt_path_is_answered_with_the_nearest(tmp_path):
    build(tmp_path / "flowers", "{cat,dog}/*.png")
    with pytest.raises(FileNotFoundError, match="there is no such folder. Did you mean '.*/flowers'?"):
        data.listing(tmp_path / "flowres")


def test_the_word_digits_wins_over_a_folder(tmp_path, monkeypatch):
    build(tmp_path / "digits", "{cat,dog}/*.png")
    monkeypatch.chdir(tmp_path)
    assert len(data.listing("digits")) == 1797
    assert data.listing("./digits").examples.labels == data.listing(Path("digits")).examples.labels == ("cat", "dog")


def test_a_path_may_start_at_home_and_end_with_a_slash(tmp_path, monkeypatch):
    build(tmp_path / "pets", "{cat,dog}/*.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert counts(data.listing("~/pets/")) == CAT_AND_DOG


def test_a_part_given_alone_says_what_lies_beside_it(tmp_path):
    root = build(tmp_path / "pets", "{train,test}/{cat,dog}/*.png")
    assert data.listing(root / "train").notes == (
        f"'train' is one part of '{root}', whose other parts are not read: 'test'",
    )


def test_a_folder_of_held_out_parts_can_be_evaluated_but_not_trained_on(tmp_path):
    listing = data.listing(build(tmp_path / "data", "{val,test}/{cat,dog}/*.png"))
    assert counts(listing) == {"validation/cat": 3, "validation/dog": 3, "test/cat": 3, "test/dog": 3}
    with pytest.raises(
        InputError, match="data' contains validation and test but no train. Give the examples to train on."
    ):
        data.divide(listing)


def test_what_was_left_out_is_logged_in_python(tmp_path, caplog):
    root = build(tmp_path / "data", "train/{neg,pos,unsup}/*.txt", "train/urls.txt", "test/{neg,pos}/2*.txt")
    split = data.text_files(root, exclude_classes=["unsup"])
    assert split.labels == ("neg", "pos")
    assert [message.replace(str(root), "ROOT") for message in caplog.messages if "without the" not in message] == [
        "left out 1 text directly in 'ROOT/train', such as 'urls.txt'",
        "left out the class 'unsup' with 3 examples, as data.exclude_classes says",
    ]
    caplog.clear()
    data.text_files(root)
    assert "no examples in test: the class 'unsup'; data.exclude_classes=[unsup] leaves it out" in [
        message.replace(str(root), "ROOT") for message in caplog.messages
    ]
