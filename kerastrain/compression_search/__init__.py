"""Compresses a finished run: one requested combination of steps, or all candidates within a budget.

    candidates -> training -> measurement -> sweep -> selection -> pareto_plot

Takes a run with its data; returns files and measured results. Made of calls to public functions of `compress` and
`export`. Must not change the model of the run.
"""

from kerastrain.compression_search.calibration import calibration_table
from kerastrain.compression_search.candidates import CANDIDATES, Candidate, requested_candidates
from kerastrain.compression_search.measurement import CandidateResult, Score
from kerastrain.compression_search.pareto_plot import draw
from kerastrain.compression_search.selection import Choice, choose, size_of
from kerastrain.compression_search.sweep import sweep

__all__ = [
    "CANDIDATES",
    "Candidate",
    "CandidateResult",
    "Choice",
    "Score",
    "calibration_table",
    "choose",
    "draw",
    "requested_candidates",
    "size_of",
    "sweep",
]
