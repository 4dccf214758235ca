"""How many training examples the calibration of int8 needs: the same file from few and from many.

Takes a model and its data; gives a table. Must not leave files.
"""

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras

from kerastrain import data, export
from kerastrain.compression_search.measurement import score


def calibration_table(model: keras.Model, split: data.Split, counts: Sequence[int], *, samples: int) -> list[dict]:
    """An int8 file of `model` for each number of calibration examples, measured on the validation part.

    The examples are drawn from the training part so that each class has its share.

    Args:
        model: keras.Model.
        split: data.Split.
        counts: numbers of examples, each > 0; those beyond the training part are left out.
        samples: int > 0, validation examples on which file and model are held against each other.

    Returns:
        list of dict with "count", "validation" (a Score as dict) and "agreement", the share of answers like the model's.

    Raises:
        InputError: the model cannot be written as int8.
    """
    # What few examples do to the file is what the table tells: it must not be refused for it.
    any_agreement = export.Tolerance(relative_difference=1e9, agreement=0.0)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for count in [count for count in counts if count <= len(split.train)]:
            path = Path(scratch) / f"{count}.tflite"
            parity = export.tflite(
                model,
                path,
                samples=split.validation,
                sample_count=samples,
                quantize="int8",
                representative=split.train,
                representative_count=count,
                tolerance=any_agreement,
            )
            found = dataclasses.asdict(score(path, split.validation))
            rows.append({"count": count, "validation": found, "agreement": parity.agreement})
    return rows
