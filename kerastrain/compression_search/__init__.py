"""The compression of a finished run: one way or all that make sense, each trained, written, proven and measured.

    ways -> training -> measuring -> climbing -> choosing -> picture

Takes a run with its data; gives files and rungs. Made of calls to public functions of `compress` and `export`. Must not
change the run's model.
"""

from kerastrain.compression_search.calibration import calibration_table
from kerastrain.compression_search.candidates import LADDER, Way, one_way
from kerastrain.compression_search.measurement import Rung, Score
from kerastrain.compression_search.pareto_plot import draw
from kerastrain.compression_search.selection import Choice, choose, size_of
from kerastrain.compression_search.sweep import climb

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
