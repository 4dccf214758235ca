"""Writes a self-contained page about a run: its training, measures, exported files and their checks.

Takes a run directory and writes `report.html` in it. Only reads files: it needs no model, no data and no TensorFlow, so a
report can be written again on any machine. The page must not load or run anything.
"""

from kerastrain.report.page import write
from kerastrain.report.run_files import run_folder

__all__ = ["run_folder", "write"]
