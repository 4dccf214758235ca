"""A model for export together with its operating point: the temperature in its graph, and a file with all of it.

Takes a keras.Model and an `OperatingPoint`; returns a `Calibrated`. Must not write files.
"""

import dataclasses
import json
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from kerastrain.evaluation.operating_point import FILE, OperatingPoint
from kerastrain.export import endpoints


@dataclasses.dataclass(frozen=True)
class Calibrated:
    """What an exporter writes, and what its file is compared with.

    Attributes:
        model: keras.Model to export; it divides its outputs by the temperature if the file returns probabilities.
        source: keras.Model that it was made of, and shares its layers with.
        temperature: float > 0, by which `model` divides the outputs of `source`.
        files: mapping from a file name to its content, which belongs to the exported file: the operating point.
    """

    model: keras.Model
    source: keras.Model
    temperature: float
    files: Mapping[str, str]

    def predictions(
        self, inputs: endpoints.Values, activation: str | None, *, outputs: np.ndarray | None = None
    ) -> np.ndarray:
        """The reference for the exported file: the outputs of `source` from `predict`, divided here and not in the graph.

        Args:
            inputs: endpoints.Values.
            activation: a key of `endpoints.ACTIVATIONS`.
            outputs: float (n, ..., outputs) of `source` for the inputs, if they are known; None to compute them.

        Returns:
            float32 (n, ..., outputs).

        Raises:
            InputError: as for `endpoints.predictions`.
        """
        if outputs is None:
            outputs = endpoints.predictions(self.source, inputs, None)
        if self.temperature == 1:
            return endpoints.activated(outputs, activation)
        return endpoints.ACTIVATIONS[activation](tf.constant(outputs / self.temperature, tf.float32)).numpy()


def calibrated(model: keras.Model, activation: str | None, point: OperatingPoint | None) -> Calibrated:
    """Prepares a model for export at an operating point.

    Args:
        model: keras.Model that `endpoints.require_exportable` accepts.
        activation: a key of `endpoints.ACTIVATIONS`. Without one, the file returns the logits of the model as they are.
        point: OperatingPoint, or None for none.

    Returns:
        Calibrated.
    """
    if point is None:
        return Calibrated(model, model, 1.0, {})
    temperature = point.temperature if activation else 1.0
    record = {**dataclasses.asdict(point), "outputs": "probabilities" if activation else "logits"}
    exported = model
    if temperature != 1:
        scaled = keras.layers.Rescaling(1 / temperature, dtype="float32", name="temperature")(model.outputs[0])
        exported = keras.Model(model.input, scaled, name=model.name)
    return Calibrated(exported, model, temperature, {FILE: json.dumps(record, indent=2) + "\n"})
