"""What the exported files of one model share: real inputs, the model's outputs for them, the graph of TFLite files, a process.

Takes a keras.Model and samples. Everything is made when it is first needed. Must not know which files are written.
"""

import contextlib
import functools
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

from kerastrain.evaluation.operating_point import OperatingPoint
from kerastrain.export import calibrated, endpoints, targets, tokens
from kerastrain.export import samples as sampling
from kerastrain.export.encoder_models import EncoderModel
from kerastrain.export.full_precision import full_precision
from kerastrain.export.selective import Sensitivity
from kerastrain.export.serving_process import ServingProcess
from kerastrain.keras_internals.layers import every_layer


class Shared:
    """The common part of the exports of one model, which must not change meanwhile. A context manager.

    Args:
        model: keras.Model.
        samples: real inputs, see `samples.draw`.
        labels: class names in the order of the outputs, or None for those in the model.
        activation: "softmax", "sigmoid" or None, applied to the model's outputs.
        operating_point: OperatingPoint, see `calibrated`, or None.
        sample_count: int > 0, the most samples to compare; None for all.
        outputs: callable as for `Session`; None for none.
        process: ServingProcess of the caller, who ends it; None for one of these exports' own.
        background: bool, whether TFLite files are converted in the process too.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        samples,
        labels: Sequence[str] | None,
        activation: str | None,
        operating_point: OperatingPoint | None,
        sample_count: int | None,
        outputs: Callable[[], np.ndarray | None] | None = None,
        process: ServingProcess | None = None,
        background: bool = False,
    ):
        self.model, self.activation, self.background = model, activation, background
        self._samples, self._sample_count, self._labels = samples, sample_count, labels
        self._operating_point, self._process = operating_point, process
        self.outputs, self._own_precision = outputs, None if outputs is None else _precision(model)
        self._references, self._graph, self._stack = {}, None, contextlib.ExitStack()
        self._sensitivities: dict[bytes, Sensitivity] = {}

    def __enter__(self) -> "Shared":
        return self

    def __exit__(self, *error) -> None:
        self._stack.close()

    @functools.cached_property
    def prepared(self) -> calibrated.Calibrated:
        """The model with the temperature of the operating point."""
        return calibrated.calibrated(self.model, self.activation, self._operating_point)

    @functools.cached_property
    def labels(self) -> tuple[str, ...]:
        """The class names; InputError if they do not fit the outputs."""
        return targets.labels_of(self.prepared.model, self._labels)

    @functools.cached_property
    def texts(self) -> tokens.TokenModel | EncoderModel | None:
        """The part of a model of texts after its tokenizer, for formats without strings; None for other models."""
        model = self.prepared.model
        return tokens.token_model(model) if model.inputs[0].dtype == "string" else None

    @functools.cached_property
    def drawn(self) -> tuple[endpoints.Values, np.ndarray | None]:
        """The inputs that every file is compared on, and their targets or None."""
        return sampling.draw_with_targets(self._samples, self.prepared.model, count=self._sample_count)

    @functools.cached_property
    def token_inputs(self) -> endpoints.Values:
        """The inputs as token ids, for `texts`."""
        return endpoints.changed(self.drawn[0], self.texts.ids)

    @functools.cached_property
    def process(self) -> ServingProcess:
        """The process that runs SavedModels."""
        return self._process or self._stack.enter_context(ServingProcess())

    def reference(self) -> np.ndarray:
        """The model's outputs for the inputs in the precision that it computes in now, see `Calibrated.predictions`."""
        precision = _precision(self.model)
        if precision not in self._references:
            outputs = self._known_outputs() if precision == self._own_precision else None
            self._references[precision] = self.prepared.predictions(self.drawn[0], self.activation, outputs=outputs)
        return self._references[precision]

    def _known_outputs(self) -> np.ndarray | None:
        """What `outputs` knows for the inputs; None if it knows nothing, or if they are only the starts of texts."""
        known = self.outputs()
        if known is None:
            return None
        rows = sampling.rows(self._samples, count=self._sample_count)
        is_text = self.model.inputs[0].dtype == "string"
        if is_text and sampling.are_shortened(keras.tree.flatten(self._samples.model_inputs(rows))[0]):
            return None
        return known[rows]

    def graph(self, write: Callable[[Path], None]) -> Path:
        """The SavedModel that TFLite files are converted from, written once.

        Args:
            write: callable (path: Path) that writes the folder, the same for all files.

        Returns:
            Path of the folder.
        """
        if self._graph is None:
            self._graph = Path(self._stack.enter_context(tempfile.TemporaryDirectory())) / "model"
        if not self._graph.exists():
            try:
                write(self._graph)
            except BaseException:
                shutil.rmtree(self._graph, ignore_errors=True)
                raise
        return self._graph

    def sensitivity(self, calibration: np.ndarray, measure: Callable[[], Sensitivity]) -> Sensitivity:
        """The sensitivity of the operations of the graph to int8, measured once for the same calibration inputs.

        Args:
            calibration: array (n, ...), the calibration inputs.
            measure: callable that measures it.

        Returns:
            Sensitivity.
        """
        key = hashlib.sha256(calibration.tobytes()).digest()
        if key not in self._sensitivities:
            self._sensitivities[key] = measure()
        return self._sensitivities[key]

    def full_precision(self, wanted: bool) -> contextlib.AbstractContextManager:
        """The context in which the model computes in float32, for formats without half precision.

        Args:
            wanted: bool; False leaves the model as it is.

        Returns:
            Context manager.
        """
        return full_precision(self.model) if wanted else contextlib.nullcontext()


def _precision(model: keras.Model) -> tuple[str, ...]:
    """The precision that each layer computes in now."""
    return tuple(layer.compute_dtype for layer in every_layer(model))
