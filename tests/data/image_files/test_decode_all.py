import numpy as np
import pytest
from PIL import Image

from kerastrain.data.image_files import decode_all
from kerastrain.data.image_files.stores import ImageFiles
from kerastrain.errors import InputError


@pytest.fixture
def paths(tmp_path):
    made = []
    for value in range(40):
        made.append(str(tmp_path / f"{value:02}.png"))
        Image.new("L", (5, 5), value).save(made[-1])
    return made


def test_images_come_in_the_order_of_the_paths(paths):
    images = decode_all.decode(ImageFiles(paths, (2, 3)), memory_fraction=0.5)
    assert (images.shape, images.dtype) == ((40, 2, 3, 3), np.uint8)
    assert images[:, 0, 0, 0].tolist() == list(range(40))


def test_nothing_is_kept_when_the_images_do_not_fit(paths, monkeypatch):
    needed_bytes = 40 * 2 * 3 * 3
    monkeypatch.setattr(decode_all, "available_bytes", lambda: 2 * needed_bytes)
    assert decode_all.decode(ImageFiles(paths, (2, 3)), memory_fraction=0.5) is not None
    monkeypatch.setattr(decode_all, "available_bytes", lambda: 2 * needed_bytes - 1)
    assert decode_all.decode(ImageFiles(paths, (2, 3)), memory_fraction=0.5) is None


@pytest.mark.parametrize("memory_fraction", [0.0, 0.5])
def test_every_bad_file_is_counted_and_three_are_named(paths, memory_fraction):
    for path in paths[::10]:
        with open(path, "w") as file:
            file.write("no picture")
    with pytest.raises(
        InputError, match=r"^4 files cannot be read as images. .*00.png.*10.png.*20.png.* And 1 more. Repair"
    ):
        decode_all.decode(ImageFiles(paths, (2, 3)), memory_fraction=memory_fraction)
