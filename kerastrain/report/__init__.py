"""One self-contained page about a run: what was trained, how good it is, which files came out and how they were checked.

Takes a run directory; gives `report.html` in it. Reads files only: it needs no model, no data and no TensorFlow, so a
report can be written again anywhere. Nothing in the page loads or runs anything from outside of it.
"""

from kerastrain.report.page import write

__all__ = ["write"]
