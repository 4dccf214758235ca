"""Measures how many training examples the calibration of int8 needs, by exporting a model with different counts.

Takes a model and its data; returns a table. Must not leave files.
"""

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras

from kerastrain import data, export
from kerastrain.compression_search.measurement import Score, validation_score

NAME = "calibrated"
"""The name of the record of `row` of the int8 file that a compression makes."""


def row(count: int, validation: Score, parity: export.Parity) -> dict:
    """One row of the table.

    Args:
        count: int >= 1, the calibration examples of an int8 file.
        validation: Score of the file on the validation part.
        parity: export.Parity of the file.

    Returns:
        dict as in `calibration_table`.
    """
    return {"count": count, "validation": dataclasses.asdict(validation), "agreement": parity.agreement}


def calibration_table(
    model: keras.Model, split: data.Split, counts: Sequence[int], *, samples: int, known: dict | None = None
) -> list[dict]:
    """Exports a model as int8 for each number of calibration examples, and measures the files on the validation part.

    The calibration examples are a stratified sample of the training part.

    Args:
        model: keras.Model.
        split: data.Split.
        counts: sequence of int >= 1, numbers of calibration examples; counts above the size of the training part are
            skipped.
        samples: int >= 1, validation examples on which the outputs of file and model are compared.
        known: dict, a row of a file that was made before, which is not made again; None if there is none.

    Returns:
        list of dict with "count" (int), "validation" (a Score as dict) and "agreement" (float in [0, 1], the fraction of
        examples with the same output as the model).

    Raises:
        InputError: the model cannot be exported as int8.
    """
    # The table shows the effect of few examples, so the export must not fail because of it.
    no_limit = export.Tolerance(relative_difference=1e9, agreement=0.0)
    rows = []
    session = export.Session(model, samples=split.validation, sample_count=samples)
    with tempfile.TemporaryDirectory() as folder, session:
        for count in [count for count in counts if count <= len(split.train)]:
            if known is not None and known["count"] == count:
                rows.append(known)
                continue
            path = Path(folder) / f"{count}.tflite"
            options = {"representative": split.train, "representative_count": count, "tolerance": no_limit}
            parity = session.tflite(path, quantize="int8", **options).result()
            rows.append(row(count, validation_score(path, split.validation, parity), parity))
    return rows
