"""`model.backbone=auto`: the choice by the size of the images, and where it is kept."""

import logging

import numpy as np
import pytest
import untrained
from PIL import Image

import kerastrain as kt
from kerastrain import cli, run_directory
from kerastrain.errors import ConfigError, InputError
from kerastrain.recipe import automatic_backbone
from kerastrain.recipe.automatic_backbone import PHOTOS, TINY_IMAGES


def folder(place, *sizes):
    """A folder of two classes with images of these (width, height)."""
    for label in "ab":
        (place / label).mkdir(parents=True)
        for number, size in enumerate(sizes):
            Image.new("RGB", size, (number, ord(label), 0)).save(place / label / f"{number}.png")
    return place


def config(path, *overrides):
    return kt.config.load(overrides=[f"data.path={path}", *overrides])


@pytest.mark.parametrize(
    ("sizes", "side", "name"),
    [
        ([(32, 32)], 32, TINY_IMAGES),
        ([(300, 40)], 40, TINY_IMAGES),
        ([(41, 64)], 41, PHOTOS),
        ([(500, 375)] * 2 + [(20, 20)], 375, PHOTOS),
    ],
)
def test_the_median_of_the_shorter_sides_chooses(tmp_path, sizes, side, name):
    chosen, sentence = automatic_backbone.choose(config(folder(tmp_path / "data", *sizes)))
    assert chosen.model.backbone == name
    count = 2 * len(sizes)
    assert sentence.startswith(
        f"model.backbone=auto: {name}, because the median of the shorter sides of {count} images of the data is {side} "
        "pixels, "
    )
    assert automatic_backbone.choose(chosen) == (chosen, None)


def test_the_image_size_of_the_config_chooses_before_the_data_are_read():
    chosen, sentence = automatic_backbone.choose(config("nowhere", "data.image_size=[32, 300]"))
    assert chosen.model.backbone == TINY_IMAGES
    assert sentence == (
        f"model.backbone=auto: {TINY_IMAGES}, because the shorter side of data.image_size is 32 pixels, and up to 40 count "
        "as tiny"
    )
    chosen, sentence = automatic_backbone.choose(config("digits", "data.image_size=[96, 128]"))
    assert (chosen.model.backbone, chosen.data.image_size) == (PHOTOS, (96, 128))
    assert sentence.endswith(
        "because the shorter side of data.image_size is 96 pixels, more than the 40 of tiny images"
    )


def test_images_in_arrays_and_tables_are_measured_and_unreadable_files_are_passed_over(tmp_path):
    np.savez(tmp_path / "photos.npz", x=np.zeros((6, 48, 52, 3), np.uint8), y=[0, 1] * 3)
    assert automatic_backbone.choose(config(tmp_path / "photos.npz"))[0].model.backbone == PHOTOS
    assert automatic_backbone.choose(config("digits"))[0].model.backbone == TINY_IMAGES
    folder(tmp_path, (30, 30), (30, 30))
    (tmp_path / "a" / "0.png").write_bytes(b"not a picture")
    (tmp_path / "b" / "0.png").write_bytes((tmp_path / "b" / "0.png").read_bytes()[:20])
    (tmp_path / "table.csv").write_text("image,label\n" + "".join(f"{c}/{i}.png,{c}\n" for c in "ab" for i in range(2)))
    chosen, sentence = automatic_backbone.choose(config(tmp_path / "table.csv"))
    assert chosen.model.backbone == TINY_IMAGES
    assert "of 2 images of the data is 30 pixels" in sentence
    for label in "ab":
        (tmp_path / label / "1.png").write_bytes(b"not a picture")
    chosen, sentence = automatic_backbone.choose(config(tmp_path / "table.csv"))
    assert sentence == f"model.backbone=auto: {PHOTOS}, because no image of a sample could be opened"


def test_the_chief_says_the_choice_and_other_workers_do_not(monkeypatch, caplog):
    logger = logging.getLogger("kerastrain")
    monkeypatch.setattr(logger, "propagate", True)
    caplog.set_level(logging.INFO, logger="kerastrain")
    assert automatic_backbone.resolved(config("digits")).model.backbone == TINY_IMAGES
    assert list(dict.fromkeys(caplog.messages)) == [automatic_backbone.choose(config("digits"))[1]]
    caplog.clear()
    cluster = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}'
    monkeypatch.setenv("TF_CONFIG", cluster)
    assert automatic_backbone.resolved(config("digits")).model.backbone == TINY_IMAGES
    assert not caplog.messages


def test_check_says_the_choice_and_prints_its_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "data", *[(64, 64)] * 5)
    monkeypatch.setattr("sys.argv", ["kerastrain", "check", "data.path=data", "model.backbone=auto"])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    assert not exited.value.code
    printed = capsys.readouterr().out
    assert f"  backbone: {PHOTOS}\n" in printed
    assert f"\nmodel.backbone=auto: {PHOTOS}, because the median of the shorter sides of 10 images" in printed


@pytest.mark.parametrize("key", ["weights=imagenet", "value_range=[0, 1]", "signature=x", "output_key=x", "alpha=0.5"])
def test_what_belongs_to_one_backbone_is_refused(key):
    with pytest.raises(
        ConfigError, match=f"model.{key.partition('=')[0]} is only for .* and the backbone 'auto' for images"
    ):
        config("digits", f"model.{key}")


def test_a_run_that_starts_from_another_has_its_backbone_and_a_resumed_run_its_own(tmp_path):
    given = [
        f"model.backbone={PHOTOS}",
        "data.image_size=[8, 8]",
        "runtime.precision=float32",
        "runtime.jit_compile=keras",
    ]
    run = untrained.card(tmp_path / "run", ["0"], overrides=given)
    from_run = kt.recipe.config_from(run, overrides=["model.backbone=auto"])
    assert automatic_backbone.choose(from_run)[0].model.backbone == PHOTOS
    asked = kt.config.load(overrides=["data.image_size=[8, 8]"])
    assert asked.model.backbone == "auto"
    assert run_directory.resumable(run, asked) == kt.config.load(run / "config.yaml")
    with pytest.raises(InputError, match="model.backbone='kerastrain:fractal_small' .in the run"):
        run_directory.resumable(
            run, kt.config.load(overrides=["data.image_size=[8, 8]", f"model.backbone={TINY_IMAGES}"])
        )


def test_doctor_says_that_the_data_choose(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["kerastrain", "doctor", "--backbone", "auto"])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    assert exited.value.code == 2
    assert "auto is chosen by the size of a run's images" in capsys.readouterr().err
