"""The compression of a finished run: one way or all that make sense, each trained, written, proven and measured.

    ways -> training -> measuring -> climbing -> choosing -> picture

Takes a run with its data; gives files and rungs. Made of calls to public functions of `compress` and `export`. Must not
change the run's model.
"""

from kerastrain.ladder.calibration import calibration_table
from kerastrain.ladder.choosing import Choice, choose, size_of
from kerastrain.ladder.climbing import climb
from kerastrain.ladder.measuring import Rung, Score
from kerastrain.ladder.picture import draw
from kerastrain.ladder.ways import LADDER, Way, one_way

__all__ = [
    "LADDER",
    "Choice",
    "Rung",
    "Score",
    "Way",
    "calibration_table",
    "choose",
    "climb",
    "draw",
    "one_way",
    "size_of",
]
