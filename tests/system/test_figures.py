import pytest
from matplotlib.figure import Figure

from kerastrain.errors import InputError
from kerastrain.system import figures


def test_write_takes_the_format_from_the_suffix_and_refuses_others(tmp_path):
    assert figures.write(Figure(), tmp_path / "new" / "a.svg").read_bytes().startswith(b"<?xml")
    with pytest.raises(InputError, match="cannot write a figure to '.*a.gifx': unknown suffix '.gifx'.*Known:.*png"):
        figures.write(Figure(), tmp_path / "a.gifx")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
