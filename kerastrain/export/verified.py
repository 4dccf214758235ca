"""The flow of every export: predict, convert, run the file, compare, and only then move it to its path.

Takes a keras.Model, samples and an `Exporter`, which knows one file format. Writes the file and what belongs to it, and
returns a `Parity`. Must not know any format.
"""

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from kerastrain.export import endpoints, parity, tokens
from kerastrain.export import samples as sampling
from kerastrain.export.calibrated import Calibrated
from kerastrain.export.targets import labels_of, number_files, sizes, task_of, write_beside, write_inside
from kerastrain.system import files

DEFAULT_SIGNATURE = "serving_default"

logger = logging.getLogger("kerastrain")


@dataclasses.dataclass(frozen=True)
class Source:
    """What a file is made from.

    Attributes:
        model: keras.Model to convert.
        inputs: dict from the name of each signature to the inputs that the file will be run on, see `endpoints.Values`.
        labels: tuple of str, the class names in the order of the outputs, or empty.
        texts: tokens.TokenModel, whose `model` is to be converted, where the exported model takes texts and the format
            has no string operations; else None.
    """

    model: keras.Model
    inputs: Mapping[str, endpoints.Values]
    labels: tuple[str, ...]
    texts: tokens.TokenModel | None

    @property
    def arguments(self) -> dict[str, np.ndarray]:
        """The inputs of the default signature, as its arguments by name."""
        return endpoints.arguments(self.model, self.inputs[DEFAULT_SIGNATURE])


@dataclasses.dataclass(frozen=True)
class Exporter:
    """One file format.

    Attributes:
        convert: callable (source: Source, path: Path) that writes the file or folder `path`, which does not exist.
        run: callable (path: Path, source: Source) that runs the file on `Source.inputs` in its own runtime and returns the
            outputs of all signatures, one after the other, as a float32 array.
    """

    convert: Callable[[Source, Path], None]
    run: Callable[[Path, Source], np.ndarray]


def write(
    prepared: Calibrated,
    path: Path,
    exporter: Exporter,
    *,
    samples,
    labels: Sequence[str] | None,
    activation: str | None,
    tolerance: parity.Tolerance | None,
    sample_count: int | None,
    kind: str = "float32",
    takes_strings: bool = True,
    signatures: Callable[[endpoints.Values], dict[str, endpoints.Values]] = lambda inputs: {DEFAULT_SIGNATURE: inputs},
) -> parity.Parity:
    """Writes one file, runs it on samples, and keeps it only if its outputs match `model.predict`.

    Args:
        prepared: Calibrated, of a model that `targets.require_target` accepts.
        path: Path from `targets.require_target`.
        exporter: Exporter for the format.
        samples: real inputs, see `samples.draw`.
        labels: class names in the order of the outputs, or None for those in the model.
        activation: "softmax", "sigmoid" or None, applied to the model's outputs.
        tolerance: Tolerance, or None for `TOLERANCES[kind]`.
        sample_count: int > 0, the most samples to compare; None for all.
        kind: str, a key of `TOLERANCES`.
        takes_strings: bool, whether the format has strings; if not, a model of texts is cut after its
            `TextVectorization`.
        signatures: callable from the drawn inputs to the inputs of each signature, by name.

    Returns:
        Parity, over all signatures together.

    Raises:
        InputError: the model cannot be converted, or the samples or labels cannot be used.
        ParityError: the file's outputs differ from `model.predict`; nothing is written and an existing `path` is kept.
    """
    model = prepared.model
    labels = labels_of(model, labels)
    texts = None if takes_strings or model.inputs[0].dtype != "string" else tokens.token_model(model)
    drawn, targets = sampling.draw_with_targets(samples, model, count=sample_count)
    inputs = signatures(drawn)
    reference = np.concatenate([prepared.predictions(values, activation) for values in inputs.values()])
    if texts is not None:
        inputs = {name: endpoints.changed(values, texts.ids) for name, values in inputs.items()}
    with files.atomic(path) as temporary:
        source = Source(texts.model if texts else model, inputs, labels, texts)
        exporter.convert(source, temporary)
        logger.info("comparing %s with the model on %s inputs", path.name, f"{len(reference):,}")
        measured = parity.check(
            reference,
            exporter.run(temporary, source),
            file=path.name,
            kind=kind,
            **sizes(temporary),
            targets=None if targets is None else np.concatenate([targets] * len(inputs)),
            tolerance=tolerance,
            threshold=endpoints.threshold(activation),
            task=task_of(model),
        )
        if temporary.is_dir():
            write_inside(temporary, labels, measured, {**number_files(model), **prepared.files})
    if not path.is_dir():
        beside = {**(texts.files if texts else {}), **number_files(model), **prepared.files}
        write_beside(path, labels, measured, beside)
    return measured
