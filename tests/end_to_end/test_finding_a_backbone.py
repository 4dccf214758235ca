"""`kerastrain find backbone` on a folder of images: a table, a line for each that cannot be used, and the line to use."""

import pytest

from kerastrain import testing
from kerastrain.cli import program
from kerastrain.recipe import local_backbones


@pytest.fixture(autouse=True)
def _in_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(program.console, "width", 200)
    monkeypatch.setattr(
        local_backbones, "found", lambda kind: ("kerastrain:fractal_small",) if kind == "images" else ()
    )


@pytest.mark.slow
def test_backbones_are_ranked_and_one_is_recommended(tmp_path, kerastrain):
    testing.saved_model(tmp_path / "module", image_size=(16, 16), features=8)
    testing.colour_folder(tmp_path / "colours", count=12)
    code, out, err = kerastrain(
        "find", "backbone", "data.path=colours", "--backbones", "module", "missing", "keras:Nothing"
    )
    assert code == 0, err
    lines = out.splitlines()
    rows = [line for line in lines if line.startswith("│")]
    assert sorted(row.split()[1] for row in rows) == ["kerastrain:fractal_small", "module"]
    assert any("16 x 16" in row for row in rows if "module" in row)
    assert any(line.startswith("missing cannot be used: no SavedModel at 'missing'") for line in lines)
    assert any(
        line.startswith("keras:Nothing cannot be used: `model.backbone`: unknown network 'Nothing'") for line in lines
    )
    assert "training examples on" in out
    assert "always the most frequent answer has accuracy 0.333" in " ".join(out.split())  # of three colours
    assert lines[-1] in [
        f"kerastrain train data.path=colours model.backbone={name}" for name in ("module", "kerastrain:fractal_small")
    ]


def test_what_cannot_be_ranked_is_refused(kerastrain, tmp_path):
    (tmp_path / "texts").mkdir()
    code, _, err = kerastrain("find", "backbone", "data.kind=text", "data.path=texts")
    assert code == 2
    assert "there is no pretrained backbone for texts on this machine. Name some with --backbones" in err
