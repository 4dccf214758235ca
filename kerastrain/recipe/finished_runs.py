"""Works with a finished run: evaluates, predicts, explains and exports its model.

Takes a `Run`; returns records and writes files into the run's folder. Only calls public functions. Must not change the
model.
"""

import datetime
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kerastrain import data, evaluation, explain, export, models, recipe, report
from kerastrain.config import validate
from kerastrain.errors import InputError, unknown
from kerastrain.recipe import plan
from kerastrain.run_directory import EXAMPLES_FILE, Run
from kerastrain.system import files

logger = logging.getLogger("kerastrain")


_METHODS = {"gradcam": explain.gradcam, "saliency": explain.saliency}
_ACTIVATIONS = {"single_label": keras.ops.softmax, "multi_label": keras.ops.sigmoid, "regression": np.asarray}


@data.surface_read_errors()
def evaluate(run: Run, places: Mapping[str, str]) -> dict[str, dict]:
    """Evaluates a run on other data, or on its own validation and test parts.

    Measures of other data are written to `evaluations/NAME.json`, with the path of the data, the date, and the number of
    examples that the run was trained or validated on, which is also logged as a warning. The report is updated; it shows
    them beside the measures of the run's own parts, also if they have the same name.

    Args:
        run: Run.
        places: mapping from a name to a path as in `data.path`. If the data there are divided into parts and the name is
            one of them, such as "test", only that part is evaluated. If the mapping is empty, the run's own parts are.

    Returns:
        dict from each name to its measures; see `evaluation.report`.

    Raises:
        InputError: the data have a label that the model does not know, or too many files are unreadable.
        FileNotFoundError: a path does not exist.
    """
    if not places:
        return recipe.measure(run.model, run.config, _split(run))
    examples = {name: _examples(run, name, place) for name, place in places.items()}
    measures = evaluation.report(
        run.model, {name: data.batches(part, run.config.evaluation.batch_size) for name, part in examples.items()}
    )
    for name, measured in measures.items():
        measured["data"] = {
            "path": places[name] if places[name].startswith(("hf:", "tfds:")) else str(Path(places[name]).absolute()),
            "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "shared": _shared(run, name, examples[name]),
        }
        files.write_json(run.directory / "evaluations" / f"{Path(name).name}.json", measured)
    report.write(run.directory)
    return measures


def predict(run: Run, inputs: Sequence[str | Path], *, top: int = 3) -> list[tuple[str, list[tuple[str, float]]]]:
    """Predicts the most probable labels of image files or texts, or the numbers of a regression model.

    Args:
        run: Run.
        inputs: sequence of paths of image files; for a text model, sequence of str.
        top: int > 0, number of labels per input; ignored for regression, which returns every number.

    Returns:
        list of (input, [(label, probability in [0, 1]), …]), most probable label first. The probabilities of a multi_label
        model are independent of each other. For regression: list of (input, [(name, number), …]) in the model's order.

    Raises:
        InputError: a file is not an image that can be decoded.
        FileNotFoundError: a file does not exist.
    """
    labels, task = models.labels(run.model), models.task(run.model)
    is_text = run.config.data.kind == "text"
    values = tf.constant([str(text) for text in inputs]) if is_text else _images(run, inputs)
    outputs = keras.ops.convert_to_numpy(_ACTIVATIONS[task](run.model.predict(values, verbose=0)))
    order = np.argsort(-outputs, axis=1)[:, :top]
    if task == "regression":
        order = np.broadcast_to(np.arange(len(labels)), outputs.shape)
    return [
        (str(example), [(labels[index], float(row[index])) for index in indices])
        for example, row, indices in zip(inputs, outputs, order, strict=True)
    ]


def explain_images(run: Run, paths: Sequence[Path], *, method: str = "gradcam", label: str | None = None) -> list[Path]:
    """Draws a heatmap over each image that shows which pixels the prediction depends on.

    Args:
        run: Run of an image model.
        paths: sequence of Path of image files.
        method: "gradcam" or "saliency".
        label: str, the class or number to explain; None for the predicted class, or for the first number.

    Returns:
        list of Path of the PNG files in `explanations/`, one for each image.

    Raises:
        InputError: the method or label is unknown, the model is for texts, or the backbone has no feature maps for
            Grad-CAM (use "saliency").
        FileNotFoundError: an image file does not exist.
    """
    _require_images(run, "explain")
    labels, paths = models.labels(run.model), [Path(path) for path in paths]
    if method not in _METHODS:
        raise InputError(unknown("method", method, _METHODS))
    if label is not None and label not in labels:
        raise InputError(unknown("label", label, labels))
    images = _images(run, paths)
    is_number = models.task(run.model) == "regression"
    classes = labels.index(label or labels[0]) if label or is_number else None
    heatmaps = _METHODS[method](run.model, images, classes)
    template = "{} {:.4g}" if is_number else "{} {:.1%}"
    predictions = [dict(pairs) for _, pairs in predict(run, paths, top=len(labels))]
    titles = [template.format(shown := label or next(iter(scores)), scores[shown]) for scores in predictions]
    written = []
    for name, image, heatmap, title in zip(_names(paths), images, heatmaps, titles, strict=True):
        target = run.directory / "explanations" / f"{name}_{method}.png"
        written.append(explain.write(image[None], heatmap[None], target, titles=[title]))
    report.write(run.directory)
    return written


def export_formats(run: Run, settings: Mapping, *, replace: bool = False) -> dict[Path, export.Parity]:
    """Exports a run's model to more formats in `exports/`; see `recipe.export_all`.

    Args:
        run: Run.
        settings: mapping of the keys of the config section `export` that differ from the run's own, such as `formats`.
        replace: bool, whether existing files may be replaced.

    Returns:
        dict from the Path of each file to its export.Parity.

    Raises:
        ConfigError: a key or value is invalid.
        ParityError: a file differs too much from the model; it is removed, and the files before it stay.
        FileExistsError: a file exists and `replace` is False.
    """
    own = run.config.model_dump(mode="json")
    config = validate({**own, "export": {**own["export"], **settings}}, source="the command line")
    directory = run.directory / "exports"
    exports = recipe.export_all(run.model, config, _split(run), config.export.formats, directory, replace=replace)
    report.write(run.directory)
    return exports


def _names(paths: Sequence[Path]) -> list[str]:
    """Returns file names without suffix, prefixed with the folder's name if two of them would be equal."""
    names = [path.stem for path in paths]
    return names if len(set(names)) == len(names) else [f"{path.parent.name}_{path.stem}" for path in paths]


def _shared(run: Run, name: str, examples: data.Examples) -> dict[str, int] | None:
    """The number of examples in each part of the run's own data, logged; None if the run does not record its data."""
    path = run.directory / EXAMPLES_FILE
    if not path.is_file():
        logger.warning("%s: not compared with the training data, because the run has no %s", name, EXAMPLES_FILE)
        return None
    with np.load(path) as parts:
        shared = data.overlap.shared_counts(data.overlap.digests(examples), parts)
    for part, verb in (("train", "was trained"), ("validation", "selected its best epoch")):
        if shared.get(part):
            logger.warning(
                "%s: the run %s on %d of these %d examples, so their measures are not those of held-out data",
                *(name, verb, shared[part], len(examples)),
            )
    return shared


def _split(run: Run) -> data.Split:
    return recipe.load_data(run.config, _image_size(run))


def _examples(run: Run, name: str, place: str) -> data.Examples:
    """Reads the examples at a path, with targets in the label order of the run's model."""
    listing = plan.listing(run.config, path=place, image_size=_image_size(run))
    examples = data.under_labels(listing, models.labels(run.model))
    if listing.predefined_split is not None and (part := data.part_named(name)) in listing.predefined_split:
        examples = examples.subset(np.flatnonzero(listing.predefined_split == part))
    return data.read(examples, unreadable_fraction=run.config.data.unreadable_fraction)


def _image_size(run: Run) -> tuple[int, int] | None:
    return tuple(run.model.input_shape[1:3]) or None


def _require_images(run: Run, what: str) -> None:
    if run.config.data.kind != "images":
        raise InputError(f"{what} needs an image model. Received: {str(run.directory)!r}, a text model.")


def _images(run: Run, paths: Sequence[Path]) -> np.ndarray:
    return np.stack([data.load_image(path, _image_size(run)) for path in paths])
