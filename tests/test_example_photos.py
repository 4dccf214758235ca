"""The photos that ship in examples/photos: they are whole, small and credited, and the defaults learn them."""

import json
from pathlib import Path

import pytest
from PIL import Image

from kerastrain import config, data, recipe
from kerastrain.recipe import automatic_backbone, plan

PHOTOS = Path(__file__).resolve().parent.parent / "examples" / "photos"


def test_the_folder_is_whole_small_and_credited():
    files = sorted(PHOTOS.rglob("*.jpg"))
    counts = {part: sum(file.parts[-3] == part for file in files) for part in ("train", "test")}
    assert counts == {"train": 36, "test": 24}
    assert max(file.stat().st_size for file in files) <= 15_000
    for file in files:
        with Image.open(file) as image:
            image.load()
            assert max(image.size) == 240
            assert not image.getexif()
    assert "Apache License 2.0" in PHOTOS.with_suffix(".NOTICE").read_text()
    assert {file.name for file in PHOTOS.iterdir()} == {"train", "test"}


def test_the_defaults_take_the_photos_with_the_backbone_for_photos():
    settings = config.load(overrides=[f"data.path={PHOTOS}"])
    whole = plan.listing(settings)
    assert automatic_backbone.choose(settings, whole)[0].model.backbone == "kerastrain:efficientnet_lite0"
    assert whole.notes == ()
    assert data.scan(whole).quarantined == ()
    parts = plan.parts(settings, whole)
    assert {name: len(part) for name, part in parts.items()} == {"train": 28, "validation": 8, "test": 24}
    assert whole.examples.labels == ("cat", "dog")


@pytest.mark.slow
def test_the_head_tells_cats_from_dogs(tmp_path):
    settings = config.load(overrides=[f"data.path={PHOTOS}", "fit.epochs=0", "fit.head_epochs=10", "export.formats=[]"])
    result = recipe.run(settings, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["test"]["accuracy"] >= 0.9
    assert result.measures["test"]["accuracy"] >= 0.9
    assert "backbone: kerastrain:efficientnet_lite0\n" in (tmp_path / "run" / "config.yaml").read_text()
