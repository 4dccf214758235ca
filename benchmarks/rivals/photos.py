"""The photos and networks of the table: the same files for all contestants.

Takes what the environment variable KERASTRAIN_SHARED names, a folder with `data/` and `models/`; without it photos are drawn
and networks get random weights, and the name of what is returned says so.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import input_pipeline

HERE = Path(__file__).parent
PARTS = ("test", "validation", "test", "train", "train", "train", "train", "train", "train", "train")  # of every ten
DRAWN = 600  # photos
MOBILENET = "models/mobilenet_v1_0.25_224.h5"


def shared(name):
    """The Path of a shared file or folder; None if it is not there."""
    path = Path(os.environ.get("KERASTRAIN_SHARED", "/nonexistent"), name)
    return path if path.exists() else None


def source(work):
    """(folder, name) of the photos, with a folder for each class."""
    folder = shared("data/sign_digits")
    if folder is not None:
        return folder, "sign_digits"
    folder = work / "drawn"
    if not folder.exists():
        input_pipeline.draw_photos(folder, DRAWN)
    return folder, f"{DRAWN} drawn digits instead of sign_digits"


def files(folder, count):
    """Files of a folder by class, `count` of all classes together."""
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    return {path.name: sorted(path.iterdir())[: -(-count // len(classes))] for path in classes}


def split(work, count):
    """A folder with `train`, `validation` and `test` of some photos, each with a folder for each class."""
    return _copied(
        work / f"photos_{count}",
        {
            Path(PARTS[number % len(PARTS)], label, path.name): path
            for label, paths in files(source(work)[0], count).items()
            for number, path in enumerate(paths)
        },
    )


def by_class(work, count):
    """A folder of some photos with a folder for each class."""
    chosen = files(source(work)[0], count)
    names = {Path(label, path.name): path for label, paths in chosen.items() for path in paths}
    return _copied(work / f"classes_{count}", names)


def flat(work, count):
    """A folder of some photos without folders of classes."""
    chosen = files(source(work)[0], count)
    names = {Path(f"{label}_{path.name}"): path for label, paths in chosen.items() for path in paths}
    return _copied(work / f"flat_{count}", names)


def _copied(place, names):
    """The folder `place` with copies of files under other names, complete or not at all."""
    if not place.exists():
        with tempfile.TemporaryDirectory(dir=place.parent) as partial:
            for name, path in names.items():
                Path(partial, "photos", name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, Path(partial, "photos", name))
            Path(partial, "photos").rename(place)
    return place


def weights(work, network):
    """(file of weights, what they are) of a network of keras.applications."""
    if network == "MobileNet" and (path := shared(MOBILENET)) is not None:
        return path, "ImageNet"
    path = work / f"{network}.weights.h5"
    if not path.exists():
        alpha = ["0.25"] if network == "MobileNet" else []
        subprocess.run([sys.executable, HERE / "keras_networks.py", network, path, *alpha], check=True)
    return path, "random weights"
