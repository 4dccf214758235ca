"""Findings about a finished run: what is wrong with its model, its training and its data, and what to try next.

Takes records and arrays; returns findings. Must not know of configs, of folders of runs or of data sources, and must not
import TensorFlow.
"""

from kerastrain.diagnosis import curves, descriptors, verdict
from kerastrain.diagnosis.records import Change, Finding, Part, Record
from kerastrain.diagnosis.verdict import findings, setting

__all__ = ["Change", "Finding", "Part", "Record", "curves", "descriptors", "findings", "setting", "verdict"]
