import numpy as np
from PIL import Image

from kerastrain.data.image_files import decode_all
from kerastrain.data.image_files.stores import ImageFiles


def test_every_image_that_cannot_be_read_is_found(tmp_path):
    paths = [str(tmp_path / f"{value:02}.png") for value in range(40)]
    for value, path in enumerate(paths):
        Image.new("L", (5, 5), value).save(path)
    store = ImageFiles(paths, (2, 3))
    assert decode_all.faults(store) == {}
    assert store[np.arange(40)][:, 0, 0, 0].tolist() == list(range(40))
    for path in paths[::10]:
        with open(path, "w") as file:
            file.write("no picture")
    (tmp_path / "05.png").unlink()
    faults = decode_all.faults(store)
    assert {index: fault.kind for index, fault in faults.items()} == {
        **dict.fromkeys((0, 10, 20, 30), "no image"),
        5: "unreadable",
    }
    assert faults[10].path == paths[10]
