import re
from pathlib import Path

import pytest

from kerastrain import data
from kerastrain.data.sources import table_paths
from kerastrain.data.sources.table import Columns
from kerastrain.errors import InputError


def files(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def find(names, root, **options):
    return table_paths.find(names, root, "'x.csv'", **options)


def relative(found, root):
    return [Path(path).relative_to(root).as_posix() for path in found.paths]


def test_ids_are_found_in_the_only_folder_that_has_them(tmp_path):
    files(tmp_path, "images/1.jpg", "images/2.jpg", "images/1.txt", "other/9.jpg", ".cache/1.jpg")
    found = find(["1", "2"], tmp_path)
    assert relative(found, tmp_path) == ["images/1.jpg", "images/2.jpg"]
    assert found.notes == ("the images of 'x.csv' are found in 'images' with the suffix .jpg",)


def test_ids_may_be_spread_over_folders(tmp_path):
    files(tmp_path, "part_1/1.jpg", "part_2/2.png", "part_2/3.png")
    found = find(["1", "2", "3"], tmp_path)
    assert relative(found, tmp_path) == ["part_1/1.jpg", "part_2/2.png", "part_2/3.png"]
    assert found.notes == ("the images of 'x.csv' are found in 'part_1', 'part_2' with the suffix .jpg or .png",)


def test_several_places_are_refused_until_one_is_named(tmp_path):
    files(
        tmp_path,
        *(f"{part}/{name}.{suffix}" for part in ("train", "test") for name in "12" for suffix in ("jpg", "png")),
    )
    message = "the image '1' of 'x.csv' may be any of 'test/1.jpg', 'test/1.png', 'train/1.jpg', …. Set "
    with pytest.raises(InputError, match=f"{message}`data.columns.folder` and `data.columns.suffix`"):
        find(["1", "2"], tmp_path)
    with pytest.raises(InputError, match="may be any of '1.jpg', '1.png'. Set `data.columns.suffix` to that of"):
        find(["1", "2"], tmp_path, folder="test")
    assert relative(find(["1", "2"], tmp_path, folder="test", suffix="png"), tmp_path) == ["test/1.png", "test/2.png"]
    found = find(["1", "2"], tmp_path, suffix=".jpg", stem="train")
    assert relative(found, tmp_path) == ["train/1.jpg", "train/2.jpg"]
    with pytest.raises(InputError, match="the folder '.*nowhere' of `data.columns.folder` does not exist"):
        find(["1"], tmp_path, folder="nowhere")


def test_a_folder_that_has_all_wins_over_one_that_has_some(tmp_path):
    files(tmp_path, "all/1.jpg", "all/2.jpg", "some/1.jpg")
    assert relative(find(["1", "2"], tmp_path), tmp_path) == ["all/1.jpg", "all/2.jpg"]


@pytest.mark.parametrize(
    ("pattern", "note"),
    [
        ("a/{}.png", ()),
        ("./a/{}.png", ()),
        ("a\\{}.png", ("backslashes in the image paths of 'x.csv' are read as slashes",)),
        ("/home/ann/data/a/{}.png", ("the images of 'x.csv' are found by the ends of their paths",)),
        ("C:\\Users\\ann\\a\\{}.png", ("the images of 'x.csv' are found by the ends of their paths",)),
        ("file:///data/a/{}.png", ("the images of 'x.csv' are found by the ends of their paths",)),
        ("data/a/{}.png", ("the images of 'x.csv' are found by the ends of their paths",)),
        ("A/{}.PNG", ("the images of 'x.csv' are found under names in another case",)),
        ("{}.png", ("the images of 'x.csv' are found in 'a'",)),
    ],
)
def test_paths_of_other_programs_and_machines_are_found(tmp_path, pattern, note):
    files(tmp_path, "a/1.png", "a/2.png", "b/3.png")
    found = find([pattern.format(1), pattern.format(2)], tmp_path)
    assert relative(found, tmp_path) == ["a/1.png", "a/2.png"]
    assert found.notes == note
    assert found.missing == {}


def test_the_folder_of_the_class_tells_files_of_one_name_apart(tmp_path):
    files(tmp_path, "cat/1.png", "dog/1.png", "dog/2.png")
    found = find(["1.png", "1.png", "2.png"], tmp_path, classes=["cat", "Dog", "dog"])
    assert relative(found, tmp_path) == ["cat/1.png", "dog/1.png", "dog/2.png"]
    with pytest.raises(InputError, match="may be any of 'cat/1.png', 'dog/1.png'. Set `data.columns.folder`"):
        find(["1.png"], tmp_path, classes=["bird"])


def test_links_to_folders_are_followed_once(tmp_path):
    files(tmp_path / "store", "1.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/images").symlink_to(tmp_path / "store")
    (tmp_path / "store/loop").symlink_to(tmp_path / "set")
    found = find(["1"], tmp_path / "set")
    assert relative(found, tmp_path) == ["set/images/1.png"]


def test_the_longest_end_of_a_path_counts(tmp_path):
    files(tmp_path, "train/cat/1.png", "train/dog/1.png", "test/cat/1.png", "test/dog/1.png")
    names = [f"/other/set/{part}/{label}/1.png" for part in ("train", "test") for label in ("cat", "dog")]
    assert relative(find(names, tmp_path), tmp_path) == [name.removeprefix("/other/set/") for name in names]


def test_the_file_of_another_row_is_not_taken_for_a_missing_one(tmp_path):
    files(tmp_path, "dog/1.png", "dog/2.png")
    found = find(["/d/dog/1.png", "/d/dog/2.png", "/d/cat/1.png"], tmp_path)
    assert found.paths[:2] == (f"{tmp_path}/dog/1.png", f"{tmp_path}/dog/2.png")
    assert list(found.missing) == [2]
    found = find(["dog/1.png", "dog/2.png", "cat/2.png"], tmp_path)
    assert found.missing == {2: "it is missing"}


def test_folders_beside_that_of_the_table_are_searched_last(tmp_path):
    files(tmp_path, "images/1.png", "images/2.png")
    (tmp_path / "annotations").mkdir()
    found = find(["1.png", "2.png"], tmp_path / "annotations")
    assert [Path(path).resolve() for path in found.paths] == [tmp_path / "images/1.png", tmp_path / "images/2.png"]
    assert found.notes == ("the images of 'x.csv' are found in '../images'",)


def test_what_does_not_exist_is_reported_with_the_nearest(tmp_path):
    files(tmp_path, "a/photo_001.png", "a/photo_002.png", "a/photo_003.png")
    found = find(["a/photo_001.png", "a/photo_002.png", "a/photo_01.png"], tmp_path)
    assert found.missing == {2: f"it is missing, and the nearest is '{tmp_path}/a/photo_001.png'"}
    with pytest.raises(
        InputError,
        match=re.escape(
            f"none of the images in 'x.csv' exists: '1', '2'. Paths are relative to the folder of the table, '{tmp_path}', "
            "and no folder in it has files with these names. The nearest that exists is "
        ),
    ):
        find(["1", "2"], tmp_path)
    files(tmp_path, "b/0007.png")
    with pytest.raises(InputError, match=f"The nearest that exists is '{tmp_path}/b/0007.png'. Correct the paths, or"):
        find(["7"], tmp_path)
    with pytest.raises(InputError, match="If they are texts, set data.kind=text"):
        find(["this is a text and no path"], tmp_path)


def test_missing_images_are_skipped_within_the_fraction(tmp_path):
    files(tmp_path, *(f"{number}.png" for number in range(19)))
    rows = "".join(f"{number}.png,{'ab'[number % 2]}\n" for number in range(20))
    (tmp_path / "x.csv").write_text(f"path,label\n{rows}")
    listing = data.listing(tmp_path / "x.csv")
    assert len(listing) == 19
    assert [(Path(row.path).name, row.kind) for row in listing.skipped] == [("19.png", "unreadable")]
    assert listing.skipped[0].reason.startswith("it is missing")


def test_the_config_names_folder_and_suffix(tmp_path, monkeypatch):
    from kerastrain import config

    files(tmp_path, "set/images/1.png")
    monkeypatch.chdir(tmp_path)
    keys = ["data.path=set/x.csv", "data.columns.suffix=.png"]
    (tmp_path / "set/x.csv").write_text("id,label\n1,a\n")
    columns = config.load(overrides=[*keys, "data.columns.folder=images"]).data.columns
    assert (columns.folder, columns.suffix) == ("images", ".png")
    columns = config.load(overrides=[*keys, "data.columns.folder=set/images"]).data.columns
    assert columns.folder == str(tmp_path / "set/images")  # As the command line names files.
    listing = data.listing(tmp_path / "set/x.csv", columns=Columns(**columns.model_dump()))
    assert listing.examples.paths == (str(tmp_path / "set/images/1.png"),)
