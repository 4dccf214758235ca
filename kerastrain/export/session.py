"""Several files of one model, which share what each of them would otherwise make again.

Takes a keras.Model, real inputs and paths; writes files and returns a `Parity` for each. Must not know how a format is written.
"""

import os
from collections.abc import Callable, Sequence

import keras
import numpy as np

from kerastrain.evaluation.operating_point import OperatingPoint
from kerastrain.export import keras_files, litert, onnx_files, parity, serving, verified
from kerastrain.export.serving_process import ServingProcess
from kerastrain.export.shared import Shared


class Pending:
    """A file that is written, and whose outputs are being computed by another process or have not been compared yet.

    Args:
        steps: verified.Steps of the export.
    """

    def __init__(self, steps: verified.Steps):
        self._steps, self._parity, self._error = steps, None, None
        next(steps)

    def result(self) -> parity.Parity:
        """Waits for the outputs, compares them, and moves the file to its path.

        Returns:
            Parity.

        Raises:
            InputError: the file cannot be kept.
        """
        if self._steps is not None:
            steps, self._steps = self._steps, None
            try:
                self._parity = verified.finish(steps)
            except Exception as error:
                self._error = error
        if self._error is not None:
            raise self._error
        return self._parity

    @property
    def is_open(self) -> bool:
        """Whether the file has not been compared yet."""
        return self._steps is not None

    def cancel(self) -> None:
        """Removes a file that has not been compared yet."""
        if self._steps is not None:
            self._steps.close()


class Session:
    """Exports one model to several files. A context manager, in which the model must not change.

    The files equal those of `saved_model`, `tflite`, `onnx` and `keras_file`, and each is checked like them. The samples are
    read once, the model predicts them once, TFLite files are converted from one graph, and one process runs all SavedModels,
    while the next file is written.

    Args:
        model: keras.Model, built, with one input and one output; not changed.
        samples: real inputs, see `samples.draw`.
        labels: class names in the order of the outputs, or None for those in the model.
        activation: "softmax" or "sigmoid" to return probabilities, None to return the model's outputs.
        operating_point: OperatingPoint as for `saved_model`, or None.
        sample_count: int > 0, the most samples to compare; None for all.
        outputs: callable that returns float (n, ..., outputs), what the model returns for all n of `samples`, which are then
            data.Examples, as an evaluation finds it; or None if it is not known. It is asked when a file is compared, and not
            for files that compute in another precision. None to run the model before a file is written.
        process: ServingProcess, such as one that was started before, which the session leaves running; None for its own.
        background: bool, whether the process converts TFLite files too, while this one does something else; those with
            `float_layers` are converted here.

    Example:
        >>> with Session(model, samples=images) as session:  # doctest: +SKIP
        ...     folder = session.saved_model("flowers")
        ...     file = session.tflite("flowers.tflite", quantize="int8", representative=more_images)
        >>> print(folder.result(), file.result())  # doctest: +SKIP
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        samples,
        labels: Sequence[str] | None = None,
        activation: str | None = None,
        operating_point: OperatingPoint | None = None,
        sample_count: int | None = 512,
        outputs: Callable[[], np.ndarray | None] | None = None,
        process: ServingProcess | None = None,
        background: bool = False,
    ):
        options = {"samples": samples, "labels": labels, "activation": activation, "operating_point": operating_point}
        options |= {"sample_count": sample_count, "outputs": outputs}
        self._shared = Shared(model, process=process, background=background, **options)
        self._pending = []

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, kind, error, traceback) -> None:
        """Finishes the files whose results were not asked for, and raises the first error; removes them after an error inside."""
        errors = []
        try:
            for pending in filter(lambda pending: pending.is_open, self._pending):
                if kind is not None:
                    pending.cancel()
                    continue
                try:
                    pending.result()
                except Exception as problem:
                    errors.append(problem)
        finally:
            self._shared.__exit__()
        if errors:
            raise errors[0]

    def saved_model(self, path: str | os.PathLike, **options) -> Pending:
        """Writes a SavedModel, and begins to check it in another process.

        Args:
            path: as for `export.saved_model`.
            **options: `tolerance`, `image_bytes` and `replace` of `export.saved_model`.

        Returns:
            Pending.
        """
        return self._begin(serving.steps(self._shared, path, **options))

    def tflite(self, path: str | os.PathLike, **options) -> Pending:
        """Writes a TFLite file.

        Args:
            path: as for `export.tflite`.
            **options: `quantize`, `representative`, `representative_count`, `float_layers`, `io`, `tolerance` and `replace` of
                `export.tflite`.

        Returns:
            Pending.
        """
        return self._begin(litert.steps(self._shared, path, **options))

    def onnx(self, path: str | os.PathLike, **options) -> Pending:
        """Writes an ONNX file.

        Args:
            path: as for `export.onnx`.
            **options: `tolerance`, `opset` and `replace` of `export.onnx`.

        Returns:
            Pending.
        """
        return self._begin(onnx_files.steps(self._shared, path, **options))

    def keras_file(self, path: str | os.PathLike, **options) -> Pending:
        """Writes a `.keras` file.

        Args:
            path: as for `export.keras_file`.
            **options: `tolerance` and `replace` of `export.keras_file`.

        Returns:
            Pending.
        """
        return self._begin(keras_files.steps(self._shared, path, **options))

    def _begin(self, steps: verified.Steps) -> Pending:
        self._pending.append(Pending(steps))
        return self._pending[-1]
