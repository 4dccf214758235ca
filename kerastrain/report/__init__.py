"""Writes a self-contained page about a run: its training, measures, exported files and their checks.

Takes a run directory and writes `report.html` in it. Only reads files: it needs no model, no data and no TensorFlow, so a
report can be written again on any machine. The page must not load or run anything.

Modules are imported on first use, because most commands need only `run_folder`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["comparison", "explained_texts"],
    submod_attrs={"page": ["write"], "run_files": ["run_folder"]},
)
