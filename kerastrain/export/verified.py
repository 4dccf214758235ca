"""The flow of every export: predict, convert, run the file, compare, and only then move it to its path.

Takes what the exports of a model share and an `Exporter`, which knows one file format. Writes the file and what belongs to it,
and returns a `Parity`. Must not know any format.
"""

import dataclasses
import logging
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

import keras
import numpy as np

from kerastrain.export import endpoints, parity, tokens
from kerastrain.export.encoder_models import EncoderModel
from kerastrain.export.endpoints import DEFAULT_SIGNATURE
from kerastrain.export.shared import Shared
from kerastrain.export.targets import number_files, sizes, task_of, write_beside, write_inside
from kerastrain.system import files

Steps = Generator[None, None, parity.Parity]
"""An export in two steps: the file begins to be written and run; then its outputs are compared, and it is moved to its path."""

logger = logging.getLogger("kerastrain")


@dataclasses.dataclass(frozen=True)
class Source:
    """What a file is made from.

    Attributes:
        model: keras.Model to convert.
        inputs: dict from the name of each signature to the inputs that the file will be run on, see `endpoints.Values`.
        labels: tuple of str, the class names in the order of the outputs, or empty.
        texts: tokens.TokenModel or EncoderModel, whose `model` is to be converted, where the exported model takes texts and the
            format has no string operations; else None.
    """

    model: keras.Model
    inputs: Mapping[str, endpoints.Values]
    labels: tuple[str, ...]
    texts: tokens.TokenModel | EncoderModel | None

    @property
    def arguments(self) -> dict[str, np.ndarray]:
        """The inputs of the default signature, as its arguments by name."""
        return endpoints.arguments(self.model, self.inputs[DEFAULT_SIGNATURE])


@dataclasses.dataclass(frozen=True)
class Call:
    """What a signature is called with.

    Attributes:
        inputs: endpoints.Values.
        rows: int (k,), which of all inputs these are; None for all.
        encoded: bool, whether the images are passed as encoded files.
    """

    inputs: endpoints.Values
    rows: np.ndarray | None = None
    encoded: bool = False


@dataclasses.dataclass(frozen=True)
class Exporter:
    """One file format.

    Attributes:
        convert: callable (source: Source, path: Path) that writes the file or folder `path`, which does not exist; or that
            begins to, and returns a callable that waits until it is written.
        run: callable (path: Path, source: Source) that begins to run the file on `Source.inputs` in its own runtime, and returns
            a callable that waits for the outputs of all signatures, one after the other, as a float32 array.
        kind: str, a key of `TOLERANCES`.
        takes_strings: bool, whether the format has strings; if not, a model of texts is cut after its tokenizer.
        takes_half: bool, whether the format has half precision; if not, the model computes in float32 while it is converted,
            and for its reference.
        calls: callable from all inputs to the `Call` of each signature, by name.
    """

    convert: Callable[[Source, Path], Callable[[], None] | None]
    run: Callable[[Path, Source], Callable[[], np.ndarray]]
    kind: str = "float32"
    takes_strings: bool = True
    takes_half: bool = True
    calls: Callable[[endpoints.Values], dict[str, Call]] = lambda inputs: {DEFAULT_SIGNATURE: Call(inputs)}


def steps(shared: Shared, path: Path, exporter: Exporter, tolerance: parity.Tolerance | None) -> Steps:
    """Writes one file, runs it on samples, and keeps it only if its outputs match `model.predict`.

    Args:
        shared: Shared, of a model that `targets.require_target` accepts.
        path: Path from `targets.require_target`.
        exporter: Exporter for the format.
        tolerance: Tolerance, or None for `TOLERANCES[exporter.kind]`.

    Yields:
        None, once, while another process may be converting or running the file.

    Returns:
        Parity, over all signatures together.

    Raises:
        InputError: the model cannot be converted, or the samples or labels cannot be used.
        ParityError: the file's outputs differ from `model.predict`; nothing is written and an existing `path` is kept.
    """
    prepared, labels = shared.prepared, shared.labels
    with files.atomic(path) as temporary:
        with shared.full_precision(not exporter.takes_half):
            texts = None if exporter.takes_strings else shared.texts
            calls = exporter.calls(shared.drawn[0])
            reference = _references(shared, calls) if shared.outputs is None else None
            source = Source(
                texts.model if texts else prepared.model,
                {name: call.inputs if texts is None else shared.token_inputs for name, call in calls.items()},
                labels,
                texts,
            )
            written = exporter.convert(source, temporary)
        outputs = None if written else _run(exporter, temporary, source, path)
        yield
        if written:
            written()
            outputs = _run(exporter, temporary, source, path)
        if reference is None:
            with shared.full_precision(not exporter.takes_half):
                reference = _references(shared, calls)
        measured = _measured(shared, exporter, temporary, calls, reference, outputs(), tolerance)
        if temporary.is_dir():
            write_inside(temporary, labels, measured, {**number_files(prepared.model), **prepared.files})
    if not path.is_dir():
        beside = {**(texts.files if texts else {}), **number_files(prepared.model), **prepared.files}
        write_beside(path, labels, measured, beside)
    return measured


def _run(exporter: Exporter, temporary: Path, source: Source, path: Path) -> Callable[[], np.ndarray]:
    count = sum(len(keras.tree.flatten(inputs)[0]) for inputs in source.inputs.values())
    logger.info("comparing %s with the model on %s inputs", path.name, f"{count:,}")
    return exporter.run(temporary, source)


def finish(steps: Steps) -> parity.Parity:
    """Takes all steps of an export that are left.

    Args:
        steps: Steps.

    Returns:
        Parity.
    """
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def _references(shared: Shared, calls: Mapping[str, Call]) -> np.ndarray:
    """The model's outputs for all calls, one after the other."""
    return np.concatenate([_reference(shared, call) for call in calls.values()])


def _reference(shared: Shared, call: Call) -> np.ndarray:
    """The model's outputs for a call; a signature may take other inputs than those of all files, such as rounded ones."""
    inputs = shared.drawn[0]
    if call.rows is not None:
        inputs = keras.tree.map_structure(lambda values: values[call.rows], inputs)
    pairs = zip(keras.tree.flatten(inputs), keras.tree.flatten(call.inputs), strict=True)
    if all(ours is theirs or np.array_equal(ours, theirs) for ours, theirs in pairs):
        outputs = shared.reference()
        return outputs if call.rows is None else outputs[call.rows]
    return shared.prepared.predictions(call.inputs, shared.activation)


def _measured(shared, exporter, temporary, calls, reference, outputs, tolerance) -> parity.Parity:
    _, targets = shared.drawn
    if targets is not None:
        targets = np.concatenate([targets if call.rows is None else targets[call.rows] for call in calls.values()])
    return parity.check(
        reference,
        outputs,
        file=temporary.name,
        kind=exporter.kind,
        **sizes(temporary),
        targets=targets,
        tolerance=tolerance,
        threshold=endpoints.threshold(shared.activation),
        task=task_of(shared.prepared.model),
        encoded_count=sum(len(call.rows) for call in calls.values() if call.encoded),
    )
