import pytest
from matplotlib.figure import Figure

from kerastrain import drawing
from kerastrain.errors import InputError


def test_write_takes_the_format_from_the_suffix_and_refuses_others(tmp_path):
    assert drawing.write(Figure(), tmp_path / "new" / "a.svg").read_bytes().startswith(b"<?xml")
    with pytest.raises(InputError, match="no name for a picture: unknown suffix '.gifx'.*Known:.*png"):
        drawing.write(Figure(), tmp_path / "a.gifx")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
