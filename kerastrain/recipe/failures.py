"""Shows where a run fails: writes `errors.json`, with thumbnails and heatmaps of the most confident errors.

Takes a model, its data and a folder with predictions; writes files. Must not run the model over a whole part again.
"""

import logging
from pathlib import Path

import keras
import numpy as np

from kerastrain import data, explain
from kerastrain.data.sources.text_pairs import shown
from kerastrain.diagnosis import failures
from kerastrain.diagnosis.failures import Failure, Failures
from kerastrain.errors import InputError
from kerastrain.evaluation import Predictions, predictions
from kerastrain.recipe.thumbnails import thumbnail
from kerastrain.system import files, stopwatch

logger = logging.getLogger("kerastrain")

FILE, FOLDER = "errors.json", "errors"
MOST_PICTURES = 12
"""The largest number of errors with a heatmap."""

_PARTS = ("test", "validation")
_QUICK_METHODS = ("gradcam", "layercam", "rollout")  # Occlusion would run the model hundreds of times for each picture.
_MOST_CHARACTERS = 500


@data.surface_read_errors()
@stopwatch.timed("diagnosis")
def write(model: keras.Model, split: data.Split, directory: Path) -> Path | None:
    """Writes where a run fails on its test part, or else on its validation part.

    Args:
        model: keras.Model, trained.
        split: data.Split of the run.
        directory: Path of the run, with `predictions/`.

    Returns:
        Path of `errors.json`; None if there are no predictions for a held-out part.

    Raises:
        WriteError: the folder cannot be written to.
    """
    name = next((name for name in _PARTS if (directory / predictions.FOLDER / f"{name}.npz").is_file()), None)
    if name is None or name not in split.parts:
        return None
    predicted = predictions.read(directory / predictions.FOLDER / f"{name}.npz")
    writer = _Writer(model, split.parts[name], predicted, name)
    record = {"part": name, "count": len(predicted), **writer.record()}
    if writer.pictures:
        with files.atomic(directory / FOLDER) as folder:
            folder.mkdir()
            for picture, content in writer.pictures.items():
                files.write_bytes(folder / picture, content)
    return files.write_json(directory / FILE, record)


class _Writer:
    """Makes the record of `errors.json`, and the `pictures` that it names: bytes by the name of the file."""

    def __init__(self, model: keras.Model, part: data.Examples, predicted: Predictions, name: str):
        self._model, self._part, self._predicted, self._name = model, part, predicted, name
        self.pictures, self._name_of = {}, {}

    def record(self) -> dict:
        predicted = self._predicted
        if predicted.task == "regression":
            largest = failures.largest_residuals(predicted.outputs, predicted.targets, most=MOST_PICTURES)
            return {"errors": None, "confident": [], "pairs": [], "hardest": [self._number(*each) for each in largest]}
        find = failures.class_failures if predicted.task == "single_label" else failures.label_failures
        found: Failures = find(predicted.probabilities, predicted.targets, most=MOST_PICTURES)
        heatmaps = self._heatmaps(found.confident)
        return {
            "errors": found.errors,
            "confident": [self._failure(one) | heatmaps.get(place, {}) for place, one in enumerate(found.confident)],
            "pairs": [self._pair(pair) for pair in found.pairs],
            "hardest": [self._failure(one) for one in found.hardest],
        }

    def _example(self, index: int) -> dict:
        keys, part = self._predicted.keys, self._part
        record = {"key": str(index + 1) if keys is None else keys[index][:_MOST_CHARACTERS], "part": self._name}
        if part.dtype == object:
            record["text"] = shown(part.inputs[index])[:_MOST_CHARACTERS]
        return record | self._picture(index)

    def _picture(self, index: int) -> dict[str, str]:
        if self._part.image_size is None:
            return {}
        if index not in self._name_of:
            self._name_of[index] = f"{len(self._name_of) + 1}.jpg"
            self.pictures[self._name_of[index]] = thumbnail(self._part.image(index))
        return {"picture": f"{FOLDER}/{self._name_of[index]}"}

    def _failure(self, one: Failure) -> dict:
        labels = self._predicted.labels
        if self._predicted.task == "multi_label":
            answers = (
                ("present", "absent") if self._predicted.targets[one.index, one.true] > 0 else ("absent", "present")
            )
            named = {"label": labels[one.true]} | dict(zip(("true", "predicted"), answers, strict=True))
        else:
            named = {"true": labels[one.true], "predicted": labels[one.predicted]}
        numbers = {"probability": one.probability, "true_probability": one.true_probability, "loss": one.loss}
        return self._example(one.index) | named | {key: round(value, 6) for key, value in numbers.items()}

    def _pair(self, pair: failures.Confusion) -> dict:
        labels = self._predicted.labels
        if self._predicted.task == "multi_label":
            answers = ("absent", "present") if pair.predicted else ("present", "absent")
            named = {"true": f"{labels[pair.true]} {answers[0]}", "predicted": answers[1]}
        else:
            named = {"true": labels[pair.true], "predicted": labels[pair.predicted]}
        return named | {"count": pair.count, "share": round(pair.share, 6)} | self._picture(pair.index)

    def _number(self, index: int, size: float) -> dict:
        target, output = (
            array[index].astype(float).tolist() for array in (self._predicted.targets, self._predicted.outputs)
        )
        single = len(target) == 1
        record = {"target": target[0] if single else target, "output": output[0] if single else output}
        return self._example(index) | record | {"loss": round(size, 6)}

    def _heatmaps(self, confident: tuple[Failure, ...]) -> dict[int, dict[str, str]]:
        """Draws what each confident error looked at, if the method of the model is quick."""
        part = self._part
        if not confident or part.image_size is None or part.numbers is not None:
            return {}
        try:
            explainer = explain.Explainer(self._model, part.shape)
            if explainer.method not in _QUICK_METHODS:
                logger.info("errors: no heatmaps, since %s", explainer.reason)
                return {}
            images = part.read(np.array([one.index for one in confident]))
            values = explainer(images, [one.predicted for one in confident]).values
        except InputError as error:
            logger.info("errors: no heatmaps: %s", error)
            return {}
        drawn = {}
        for place, (image, heatmap) in enumerate(zip(images, values, strict=True)):
            name = f"{place + 1}_{explainer.method}.jpg"
            self.pictures[name] = thumbnail(explain.overlay(image, heatmap))
            drawn[place] = {"heatmap": f"{FOLDER}/{name}", "method": explainer.method}
        return drawn
