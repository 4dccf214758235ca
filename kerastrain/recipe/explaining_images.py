"""Explains the predictions of a finished run of images by pictures of heatmaps, and scores these.

Takes a `Run` and images; writes a picture for each, contact sheets and an index. Explains a few images at a time, so that any
number of them fits into memory. The model is as it was afterwards.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from kerastrain import explain, models, report
from kerastrain.errors import InputError, counted, unknown
from kerastrain.explain.pictures import MOST_ON_SHEET, SheetCell, write_sheet
from kerastrain.recipe import explanation_files, predicting
from kerastrain.recipe.input_batches import input_batches
from kerastrain.recipe.inputs import Input, require_explainable
from kerastrain.recipe.picture_names import picture_names, safe
from kerastrain.run_directory import Run

logger = logging.getLogger("kerastrain")

SCORED = 4
"""The number of images that are scored unless it is given."""

_PICTURES_AT_ONCE = 32
_SLOW = ("occlusion", "scorecam")  # whose sanity check would take minutes
_SANITY_STAGES = (2, 4)  # by default and on request: a Hub module is cut again in each


def explain_images(
    run: Run,
    inputs: Sequence[str | Path | Input],
    *,
    method: str = "auto",
    label: str | None = None,
    layer: str | None = None,
    score: int | None = None,
    out: Path | None = None,
    replace: bool = False,
    on_fault: Callable[[str], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Iterator[Path]:
    """Draws a heatmap over each image that shows which pixels the prediction depends on.

    Args:
        run: Run of an image model.
        inputs: sequence of paths of image files, or of Input; one that is given twice is drawn once.
        method: str, out of `explain.METHODS`, or "auto", see `explain.Explainer`.
        label: str, the class or number to explain; None for the predicted class, or for the first number.
        layer: str, the layer whose feature maps are used, also of one inside a Hub module; None for the last ones.
        score: int >= 0, the number of images, the first ones, whose heatmaps are scored by deletion and insertion, and by a
            comparison with randomised weights; 0 for none; None for `SCORED`, and no comparison for slow methods.
        out: Path of the folder for the pictures; None for `explanations` in the run's folder, whose report is then
            written again.
        replace: bool, whether existing pictures of the same images may be replaced.
        on_fault: as for `predicting.predict`.
        on_note: callable that gets a sentence about the method, the scores and the other files.

    Yields:
        Path of each PNG file, named after its image, and after as many of the folders above it as tell it from the
        others. `index.json` and a contact sheet are written beside them.

    Raises:
        InputError: the method, label or layer is unknown or does not suit the model, or the model is for texts or reads
            numbers.
        FileExistsError: a picture exists and `replace` is False; nothing is drawn.
        InputError, FileNotFoundError: as for `predicting.predict`.
    """
    labels, task = models.labels(run.model), models.task(run.model)
    if run.config.data.kind != "images":
        raise InputError(f"explain_images needs an image model. Received: {str(run.directory)!r}, a text model.")
    require_explainable(run.config, run.directory)
    if method not in ("auto", *explain.METHODS):
        raise InputError(unknown("method", method, ("auto", *explain.METHODS)))
    if label is not None and label not in labels:
        raise InputError(unknown("label", label, labels))
    if score is not None and score < 0:
        raise InputError(f"`score` must be at least 0. Received: {score}. Use 0 to leave the scores out.")
    note = on_note or (lambda sentence: None)
    folder = run.directory / "explanations" if out is None else Path(out)
    items = {item.value: item for item in reversed([_item(one) for one in inputs])}
    items = {path: items[path] for path in reversed(items)}
    if method != "auto":  # Known before the model is prepared, which can take seconds.
        _targets(folder, items, method, label, replace)
    explainer = explain.Explainer(run.model, (*run.image_size, 3), method, layer=layer)
    targets, ending = _targets(folder, items, explainer.method, label, replace)
    logger.info("explaining %s by %s", counted(len(items), "images"), explainer.method)
    note(f"method {explainer.method}: {explainer.reason}")
    index = labels.index(label) if label is not None else 0 if task == "regression" else None
    is_smoothed = explainer.method in explain.PIXEL_METHODS
    scored, sheet = _Scored(run.model, explainer, layer, score, task), _Sheets(folder, ending, run)
    outputs = predicting.forward(run.model)
    for batch, images in input_batches(run, list(items.values()), _PICTURES_AT_ONCE, on_fault):
        found = explainer(images, index)
        raw = outputs(images)
        values = predicting.activated(raw, task) if run.operating_point is None or task == "regression" else None
        values = run.operating_point.probabilities(raw, task) if values is None else values
        answers = predicting.answers(raw, labels, task, 1, run.operating_point)
        results, records = scored.add(images, found), []
        for number, (item, image, heatmap, (top, chosen)) in enumerate(
            zip(batch, images, found.values, answers, strict=True)
        ):
            explained = min(int(found.classes[number]), len(labels) - 1)
            record = _record(item, labels, task, top, chosen, values[number], explained, explainer)
            record |= {"file": targets[item.value].name, "scores": results[number]}
            title, notes = _texts(record)
            path = explain.write(
                image[None], heatmap[None], targets[item.value], titles=[title], notes=[notes], is_smoothed=is_smoothed
            )
            records.append(record)
            sheet.add(image, heatmap, record, is_smoothed)
            yield path
        explanation_files.add(folder, records)
    if sheet.count:
        sheet.flush()
        summary = scored.summary()
        explanation_files.add(folder, [], sheets=sheet.paths, methods={ending: summary} if summary else {})
        for sentence in scored.sentences():
            note(sentence)
        for path in sheet.paths:
            note(f"contact sheet: {path}")
    if out is None:
        report.write(run.directory)


def _item(item: str | Path | Input) -> Input:
    return item if isinstance(item, Input) else Input(str(item))


def _targets(folder: Path, items: dict, method: str, label: str | None, replace: bool) -> tuple[dict[str, Path], str]:
    ending = method if label is None else f"{method}_{safe(label)}"
    paths = list(items)
    return explanation_files.targets(folder, paths, picture_names(paths), ending, replace=replace), ending


def _record(item, labels, task, top, chosen, values, explained, explainer) -> dict:
    if task == "regression":
        answer = {"predicted": labels[explained], "probability": None, "number": float(values[explained])}
    else:
        # No label is predicted where all of many are improbable, or the operating point rejects the most probable one.
        predicted = ", ".join(chosen) if chosen else None
        probability = top[0][1] if not chosen or chosen[0] == top[0][0] else float(values[labels.index(chosen[0])])
        answer = {"predicted": predicted, "probability": probability, "number": None, "most_probable": top[0][0]}
    return {
        "file": "",
        "input": item.value,
        "row": item.row,
        "true": _true_label(item, labels, task),
        **answer,
        "explained": labels[explained],
        "explained_probability": None if task == "regression" else float(values[explained]),
        "method": explainer.method,
        "reason": explainer.reason,
        "scores": None,
    }


def _true_label(item: Input, labels: Sequence[str], task: str) -> str | None:
    """What the table of an image says, or the nearest folder around it that has the name of a label."""
    if item.target:
        return item.target
    if task == "regression":
        return None
    parents = [parent.name for parent in Path(os.path.abspath(item.value)).parents]
    return next((name for name in parents if name in labels), None)


def _texts(record: dict) -> tuple[str, str]:
    """The title of a picture and the line under it."""
    name = Path(record["input"]).name
    if record["number"] is not None:
        answer = f"{record['predicted']} {record['number']:.4g}"
    elif record["predicted"] is None:
        answer = f"none predicted, most probable {record['most_probable']} {record['probability']:.1%}"
    else:
        answer = f"predicted {record['predicted']} {record['probability']:.1%}"
    parts = [answer] if record["true"] is None else [answer, f"true {record['true']}"]
    about = f"{record['method']} of {record['explained']}"
    if record["explained_probability"] is not None and record["explained"] != record["predicted"]:
        about += f" ({record['explained_probability']:.1%})"
    return name, f"{', '.join(parts)}\n{about}"


class _Scored:
    """Scores the heatmaps of the first images."""

    def __init__(self, model, explainer, layer, score: int | None, task: str):
        self.model, self.explainer, self.layer = model, explainer, layer
        self.most = SCORED if score is None else score
        self.has_sanity = score is not None or explainer.method not in _SLOW
        self.stages = _SANITY_STAGES[score is not None]
        self.has_deletion = task != "regression"
        self.areas, self.sanity, self.count = [], None, 0

    def add(self, images: np.ndarray, found) -> list[dict | None]:
        """The scores of each image, None for those that are not scored."""
        count = min(len(images), self.most - self.count)
        results = [None] * len(images)
        if count < 1:
            return results
        self.count += count
        images, values, classes = images[:count], found.values[:count], found.classes[:count]
        if self.has_sanity and self.sanity is None:
            self.sanity = explain.sanity_check(
                self.model, images, classes, self.explainer.method, layer=self.layer, stages=self.stages
            )
        if self.has_deletion:
            areas = explain.deletion_insertion(self.model, images, values, classes).areas
            for number in range(count):
                results[number] = {name: float(area[number]) for name, area in areas.items()}
            self.areas += results[:count]
        return results

    def summary(self) -> dict:
        """The means, as plain values; empty if nothing was scored."""
        found = {name: float(np.mean([area[name] for area in self.areas])) for name in (self.areas or [{}])[0]}
        if self.sanity is not None:
            found["sanity"] = {
                "shares": self.sanity.fractions.tolist(),
                "correlations": self.sanity.correlations.mean(axis=1).tolist(),
                "images": self.sanity.correlations.shape[1],
            }
        return {"images": self.count, **found} if found else {}

    def sentences(self) -> Iterator[str]:
        """What the scores say."""
        summary = self.summary()
        if "deletion" in summary:
            over = f"mean of {counted(summary['images'], 'images')}"
            yield (
                f"deletion {summary['deletion']:.2f} (random order {summary['random_deletion']:.2f}, lower is better), "
                f"insertion {summary['insertion']:.2f} (random order {summary['random_insertion']:.2f}, higher is better), {over}"
            )
        if "sanity" in summary:
            shares, values = summary["sanity"]["shares"], summary["sanity"]["correlations"]
            pairs = ", ".join(f"{value:.2f} ({share:.0%})" for share, value in zip(shares, values, strict=True))
            verdict = "depend on" if values[-1] < 0.5 else "hardly depend on"
            yield (
                f"rank correlation with the heatmaps of randomised weights (share of the layers): {pairs}; the heatmaps "
                f"{verdict} what the model has learned"
            )


class _Sheets:
    """Contact sheets of the pictures of one command."""

    def __init__(self, folder: Path, ending: str, run: Run):
        self.folder, self.ending, self.run = folder, ending, run
        self.cells, self.paths, self.count = [], [], 0

    def add(self, image: np.ndarray, heatmap: np.ndarray, record: dict, is_smoothed: bool) -> None:
        """Adds a picture, and writes the sheet if it is full."""
        if len(self.cells) == MOST_ON_SHEET:
            self.flush()
        picture = (explain.pixel_overlay if is_smoothed else explain.overlay)(image, heatmap)
        if record["number"] is not None:
            answer = f"{record['predicted']} {record['number']:.4g}"
        else:
            answer = f"{record['predicted'] or record['most_probable']} {record['probability']:.0%}"
        true = record["true"]
        is_wrong = true is not None and record["number"] is None and true != record["predicted"]
        lines = (Path(record["input"]).name, f"{answer}, true {true}" if is_wrong else answer)
        self.cells.append(SheetCell(picture, lines, is_wrong))
        self.count += 1

    def flush(self) -> None:
        """Writes the pictures so far as a sheet."""
        path = explanation_files.free_sheet(self.folder, self.ending)
        title = f"{self.run.directory.resolve().name}: {self.ending.replace('_', ' ', 1)}"
        self.paths.append(write_sheet(self.cells, path, title=title))
        self.cells = []
