import pictures
import pytest
from matplotlib.figure import Figure

from kerastrain.errors import InputError
from kerastrain.system import figures


def test_write_takes_the_format_from_the_suffix_and_refuses_others(tmp_path):
    figure = Figure(figsize=(4, 3))
    figure.subplots().plot([0, 1, 2, 3], [0, 2, 1, 5], color="red")
    picture = figures.write(figure, tmp_path / "new" / "a.svg")
    assert picture == tmp_path / "new" / "a.svg"
    (curve,) = pictures.curves(picture)
    pictures.assert_proportional(curve[:, 0], [0, 1, 2, 3])
    pictures.assert_proportional(curve[:, 1], [0, 2, 1, 5])
    picture = figures.write(figure, tmp_path / "new" / "a.PNG")
    assert pictures.pixels(picture).shape == (450, 600, 3)  # inches at 150 dots
    assert pictures.shows(picture, "red")
    with pytest.raises(InputError, match="cannot write a figure to '.*a.gifx': unknown suffix '.gifx'.*Known:.*png"):
        figures.write(Figure(), tmp_path / "a.gifx")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
