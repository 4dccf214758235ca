"""Compresses a finished run: one requested combination of steps, or all candidates within a budget.

    candidates -> prospects -> training, halving -> writing -> measurement -> sweep -> selection -> pareto_plot

`unfinished` is the folder that a later process continues, and `progress` predicts the time that is left. Takes a run with
its data; returns files and measured results. Made of calls to public functions of `compress` and
`export`. Must not change the model of the run.
"""

from kerastrain.compression_search.calibration import calibration_table
from kerastrain.compression_search.candidates import CANDIDATES, Candidate, requested_candidates
from kerastrain.compression_search.measurement import CandidateResult, Score, guess_score
from kerastrain.compression_search.pareto_plot import draw
from kerastrain.compression_search.selection import Choice, choose, size_of
from kerastrain.compression_search.sweep import grouped, require, sweep
from kerastrain.compression_search.unfinished import Unfinished

__all__ = [
    "CANDIDATES",
    "Candidate",
    "CandidateResult",
    "Choice",
    "Score",
    "Unfinished",
    "calibration_table",
    "choose",
    "draw",
    "grouped",
    "guess_score",
    "requested_candidates",
    "require",
    "size_of",
    "sweep",
]
