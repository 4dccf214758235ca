"""A fingerprint changes with what a model learns from, and with nothing else."""

import dataclasses

import numpy as np

from kerastrain import data, testing


def test_the_same_pictures_elsewhere_have_the_same_digits(tmp_path):
    fingerprints = set()
    for name in ("one", "two"):
        testing.colour_folder(tmp_path / name, colours=("red", "blue"), count=4)
        split = data.image_folder(tmp_path / name, image_size=(8, 8), validation_fraction=0.25)
        fingerprints.add(data.fingerprint(split))
    assert len(fingerprints) == 1


def test_every_change_changes_the_digits():
    split = data.digits(image_size=(8, 8))
    train = split.train
    changed = train.inputs.copy()
    changed[7, 3, 3, 0] ^= 1
    others = [
        dataclasses.replace(split, train=dataclasses.replace(train, inputs=changed)),
        dataclasses.replace(split, train=dataclasses.replace(train, targets=np.roll(train.targets, 1))),
        dataclasses.replace(split, train=dataclasses.replace(train, labels=("0", "1", *train.labels[3:], "2"))),
        dataclasses.replace(split, train=dataclasses.replace(train, weights=np.ones(len(train), "float32"))),
        dataclasses.replace(split, train=train.subset(np.arange(len(train))[::-1])),
        dataclasses.replace(split, validation=None),
        dataclasses.replace(split, validation=split.train, train=split.validation),
    ]
    assert len({data.fingerprint(variant) for variant in (split, *others)}) == len(others) + 1


def test_texts_do_not_run_into_each_other():
    def split(texts):
        part = data.Examples(np.array([0, 1]), ("a", "b"), np.array(texts, object))
        return data.Split(part)

    assert data.fingerprint(split(["ab", "c"])) != data.fingerprint(split(["a", "bc"]))
