"""Writes the TFLite file of a candidate; the files of the same model share its samples, its predictions and its graph.

Takes a run, its data and models; writes files and returns their checks. Must not train, and must not score files.
"""

import contextlib
import dataclasses
from pathlib import Path

import keras

from kerastrain import data, export
from kerastrain.compression_search.candidates import Candidate
from kerastrain.run_directory import Run


class Writer:
    """Writes files of candidates, one model after the other. A context manager.

    Args:
        run: Run, whose config says on how many examples files are checked and calibrated.
        split: data.Split of the run.
        has_budget: bool, whether a budget decides later on the loss of accuracy; if not, a file that loses much raises.
    """

    def __init__(self, run: Run, split: data.Split, *, has_budget: bool):
        self.run, self.split, self.has_budget = run, split, has_budget
        self._stem, self._session, self._stack = None, None, contextlib.ExitStack()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *error) -> None:
        self._stack.__exit__(*error)

    def write(self, candidate: Candidate, model: keras.Model, path: Path) -> export.Parity:
        """Writes a file, in place of one without a record that a killed process left.

        Args:
            candidate: Candidate.
            model: keras.Model of its steps, the same for all candidates with these steps.
            path: Path of the file.

        Returns:
            export.Parity, the check of the file on examples of the validation part.

        Raises:
            InputError: the model cannot be converted, or the file differs too much from it.
        """
        if self._stem != candidate.stem:
            self._stem = None  # until the next session is open
            self._stack.close()
            samples = self.run.config.export.samples
            session = export.Session(model, samples=self.split.validation, sample_count=samples)
            self._session, self._stem = self._stack.enter_context(session), candidate.stem
        return self._session.tflite(
            path,
            quantize=None if candidate.quantize == "float32" else candidate.quantize,
            float_layers=candidate.float_layers,
            representative=self.split.train,
            representative_count=self.run.config.export.representative_samples,
            tolerance=_tolerance(candidate.quantize, has_budget=self.has_budget),
            replace=True,
        ).result()


def _tolerance(quantize: str, *, has_budget: bool) -> export.Tolerance:
    """The tolerance of the export; with a budget, the whole validation part decides later on the loss of accuracy."""
    tolerance = export.TOLERANCES[quantize]
    return dataclasses.replace(tolerance, agreement=0.0, score_loss_fraction=1.0) if has_budget else tolerance
