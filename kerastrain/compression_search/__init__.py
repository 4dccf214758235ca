"""The compression of a finished run: one way or all that make sense, each trained, written, proven and measured.

    ways -> training -> measuring -> climbing -> choosing -> picture

Takes a run with its data; gives files and rungs. Made of calls to public functions of `compress` and `export`. Must not
change the run's model.
"""

from kerastrain.compression_search.calibration import calibration_table
from kerastrain.compression_search.candidates import CANDIDATES, Candidate, requested_candidates
from kerastrain.compression_search.measurement import CandidateResult, Score
from kerastrain.compression_search.pareto_plot import draw
from kerastrain.compression_search.selection import Choice, choose, size_of
from kerastrain.compression_search.sweep import sweep

__all__ = [
    "CANDIDATES",
    "Choice",
    "CandidateResult",
    "Score",
    "Candidate",
    "calibration_table",
    "choose",
    "sweep",
    "draw",
    "requested_candidates",
    "size_of",
]
