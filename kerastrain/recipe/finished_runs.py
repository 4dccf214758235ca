"""What is done with a finished run: measure it on more data, ask it, explain it, export it, compress it.

Takes a `Run`, gives records and files in the run's folder. Made only of calls to public functions, like `recipe`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kerastrain import compression_search, data, evaluation, explain, export, models, recipe, report
from kerastrain.config import CompressConfig, validate
from kerastrain.errors import InputError, unknown
from kerastrain.recipe import plan
from kerastrain.run_directory import Run, refuse_existing
from kerastrain.system import files


@dataclass(frozen=True)
class Compression:
    """What the compression of a run came to.

    Args:
        rungs: tuple of ladder.Rung, every file that was made, the run's float model first.
        left_out: dict from the name of a way that could not be done to the reason.
        choice: ladder.Choice within the budget, or None where there was none.
        calibration: list of dict, what more calibration examples bring to int8; see `ladder.calibration_table`.
    """

    rungs: tuple[compression_search.CandidateResult, ...]
    left_out: dict[str, str]
    choice: compression_search.Choice | None
    calibration: list[dict]


_METHODS = {"gradcam": explain.gradcam, "saliency": explain.saliency}
_ACTIVATIONS = {"single_label": keras.ops.softmax, "multi_label": keras.ops.sigmoid, "regression": np.asarray}


@data.surface_read_errors()
def evaluate(run: Run, places: Mapping[str, str]) -> dict[str, dict]:
    """The measures of a run on other data, written to `evaluations/NAME.json`; without any, on its own parts.

    Args:
        run: Run.
        places: mapping from a name to a path as in `data.path`, whose labels are among the model's. Where what stands there
            marks its parts and the name is one of them, such as "test", that part alone is measured.

    Returns:
        dict from each name to its measures.

    Raises:
        InputError: a label there is none of the model's, or more of the files than allowed are no images.
    """
    if not places:
        return recipe.measure(run.model, run.config, _split(run))
    sets = {
        name: data.batches(_examples(run, name, place), run.config.evaluation.batch_size)
        for name, place in places.items()
    }
    measures = evaluation.report(run.model, sets)
    for name, measured in measures.items():
        files.write_json(run.directory / "evaluations" / f"{Path(name).name}.json", measured)
    report.write(run.directory)
    return measures


def predict(run: Run, inputs: Sequence[str | Path], *, top: int = 3) -> list[tuple[str, list[tuple[str, float]]]]:
    """The most probable labels of image files, or of texts; of a model of numbers, those.

    Args:
        run: Run.
        inputs: image files; for a model of texts, texts.
        top: int > 0, labels for each; numbers are given all.

    Returns:
        list of (input, [(label, probability in [0, 1]), …] from the most probable down); of a model of numbers (input,
        [(name, number), …] in its own order. Where an example may have several labels, each has its own probability.
    """
    labels, task = models.labels(run.model), models.task(run.model)
    is_text = run.config.data.kind == "text"
    values = tf.constant([str(text) for text in inputs]) if is_text else _images(run, inputs)
    answers = keras.ops.convert_to_numpy(_ACTIVATIONS[task](run.model.predict(values, verbose=0)))
    order = np.argsort(-answers, axis=1)[:, :top]
    if task == "regression":
        order = np.broadcast_to(np.arange(len(labels)), answers.shape)
    return [
        (str(given), [(labels[index], float(row[index])) for index in shown])
        for given, row, shown in zip(inputs, answers, order, strict=True)
    ]


def explain_images(run: Run, paths: Sequence[Path], *, method: str = "gradcam", label: str | None = None) -> list[Path]:
    """Pictures of where the model looked, in `explanations/`, one for each image.

    Args:
        run: Run.
        paths: image files.
        method: "gradcam" or "saliency".
        label: str, the class or number to explain; None for the predicted class, or the first number.

    Returns:
        list of Path of the PNG files.

    Raises:
        InputError: an unknown method or label, or a backbone that shows no feature maps (`saliency` is offered).
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
    form = "{} {:.4g}" if is_number else "{} {:.1%}"
    answers = [dict(pairs) for _, pairs in predict(run, paths, top=len(labels))]
    titles = [form.format(shown := label or next(iter(one)), one[shown]) for one in answers]
    written = []
    for name, image, heatmap, title in zip(_names(paths), images, heatmaps, titles, strict=True):
        target = run.directory / "explanations" / f"{name}_{method}.png"
        written.append(explain.write(image[None], heatmap[None], target, titles=[title]))
    report.write(run.directory)
    return written


def export_formats(run: Run, settings: Mapping, *, replace: bool = False) -> dict[Path, export.Parity]:
    """Writes a run's model in more formats into `exports/`; see `recipe.export_all`.

    Args:
        run: Run.
        settings: mapping of the keys of `export` that differ from the run's own, `formats` among them.
        replace: bool, whether files that exist may be replaced.

    Returns:
        dict from the Path of each file to its Parity.

    Raises:
        ConfigError: a key is unknown or a value cannot be used.
        ParityError: a file does not answer as the model does; it was removed, those before it stay.
    """
    own = run.config.model_dump(mode="json")
    config = validate({**own, "export": {**own["export"], **settings}}, source="the command line")
    directory = run.directory / "exports"
    exports = recipe.export_all(run.model, config, _split(run), config.export.formats, directory, replace=replace)
    report.write(run.directory)
    return exports


@data.surface_read_errors()
def compress(run: Run, settings: CompressConfig) -> Compression:
    """Makes a run's model smaller, one way or within a budget, as TFLite files in `compressed/`.

    The run's own model is not changed. `compressed/` is there whole or not at all: the TFLite files, each checked against
    its model as every export is; the `.keras` file of every model that was trained; `compression.json`. With a budget every
    way of `ladder.LADDER` is tried, the files that no other beats are kept, and `pareto.png` shows all of them. Chosen is by
    the validation part; the test part is only measured.

    Args:
        run: Run.
        settings: CompressConfig.

    Returns:
        Compression.

    Raises:
        FileExistsError: the run has been compressed before.
        InputError: without a budget, a step cannot be done with this model.
    """
    target, split, budget = refuse_existing(run.directory / "compressed"), _split(run), settings.budget
    ways = compression_search.CANDIDATES if budget else compression_search.requested_candidates(settings)
    with files.atomic(target) as folder:
        folder.mkdir()
        rungs, left_out = compression_search.sweep(run, split, ways, settings, folder)
        choice = compression_search.choose(rungs, budget) if budget else None
        calibration = []
        if any(way.quantize == "int8" and "quantize_aware" not in way.steps for way in ways):
            options = {"samples": run.config.export.samples}
            calibration = compression_search.calibration_table(run.model, split, settings.calibration_counts, **options)
        if choice is not None:
            compression_search.draw(folder / "pareto.png", rungs, choice, budget)
            _keep(folder, rungs, choice)
        done = Compression(tuple(rungs), left_out, choice, calibration)
        files.write_json(folder / "compression.json", {"settings": settings.model_dump(mode="json"), **asdict(done)})
    report.write(run.directory)
    return done


def _keep(folder: Path, rungs: Sequence[compression_search.CandidateResult], choice: compression_search.Choice) -> None:
    """Removes the files that another one beats, and the models that none of the others was written from."""
    kept = {rung.name for rung in rungs if rung.name in choice.pareto}
    models_kept = {compression_search.Candidate(rung.steps, "").stem for rung in rungs if rung.name in kept}
    for path in folder.iterdir():
        own = models_kept if path.suffix == ".keras" else kept
        if path.suffix != ".png" and path.name.split(".")[0] not in own:
            path.unlink()


def _names(paths: Sequence[Path]) -> list[str]:
    """The files' names without suffix, with their folders' names before them where two would be the same."""
    names = [path.stem for path in paths]
    return names if len(set(names)) == len(names) else [f"{path.parent.name}_{path.stem}" for path in paths]


def _split(run: Run) -> data.Split:
    return recipe.load_data(run.config, _image_size(run))


def _examples(run: Run, name: str, place: str) -> data.Examples:
    """What stands at a place, under the labels of the run's model."""
    listing = plan.listing(run.config, path=place, image_size=_image_size(run))
    examples = data.under_labels(listing, models.labels(run.model))
    if listing.marks is not None and (part := data.part_named(name)) in listing.marks:
        examples = examples.subset(np.flatnonzero(listing.marks == part))
    return data.read(examples, unreadable_fraction=run.config.data.unreadable_fraction)


def _image_size(run: Run) -> tuple[int, int] | None:
    return tuple(run.model.input_shape[1:3]) or None


def _require_images(run: Run, what: str) -> None:
    if run.config.data.kind != "images":
        raise InputError(f"{what} works on models of images. Received: {str(run.directory)!r}, a model of texts.")


def _images(run: Run, paths: Sequence[Path]) -> np.ndarray:
    return np.stack([data.load_image(path, _image_size(run)) for path in paths])
