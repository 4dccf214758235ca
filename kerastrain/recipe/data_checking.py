"""Finds what is wrong with the data of a finished run: labels, copies, pictures and texts.

Takes the folder of a run; returns findings, and `write_data_check` writes them. Must not change the model.
"""

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kerastrain import config as configs
from kerastrain import data, report
from kerastrain.config import Config
from kerastrain.data.image_files import original_sizes
from kerastrain.data.image_files.stores import Store
from kerastrain.data.sources.text_pairs import shown
from kerastrain.diagnosis import copies, image_quality, near_duplicates, near_texts, picture_statistics, text_quality
from kerastrain.diagnosis.data_findings import Finding
from kerastrain.diagnosis.label_findings import LabelFindings, label_findings
from kerastrain.diagnosis.out_of_fold import out_of_fold
from kerastrain.errors import InputError
from kerastrain.evaluation import predictions
from kerastrain.recipe import language_requirements, plan, starting_run
from kerastrain.recipe.building import load_data
from kerastrain.recipe.published_features import image_features, text_features
from kerastrain.system import files

logger = logging.getLogger("kerastrain")

_BATCH = 64
_LARGEST_GROUP = 0.2  # of the examples
_OF_IMAGES = (
    "leakage",
    "conflicting_labels",
    "near_duplicate",
    "empty",
    "dark",
    "overexposed",
    "blurred",
    "odd_aspect",
)
_OF_TEXTS = (
    "leakage",
    "conflicting_labels",
    "near_duplicate",
    "duplicate",
    "empty",
    "short",
    "other_language",
    "boilerplate",
)


@dataclass(frozen=True, eq=False)
class DataCheck:
    """What was found in the data of a run.

    Args:
        directory: Path of the run.
        config: Config of the run.
        split: data.Split that was checked.
        parts: list of n str, the part of each example, in the order of the parts.
        findings: list of Finding, most important kinds first.
        labels: LabelFindings.
        labels_by: str, which model doubted the labels.
        features_by: str, which network computed the features of images; None for texts.
        checked: tuple of str, the kinds that were looked for.
    """

    directory: Path
    config: Config
    split: data.Split
    parts: list[str]
    findings: list[Finding]
    labels: LabelFindings
    labels_by: str
    features_by: str | None
    checked: tuple[str, ...]

    def place(self, index: int) -> tuple[data.Examples, int]:
        """Finds an example.

        Args:
            index: int in [0, n).

        Returns:
            (data.Examples, int): its part, and its number there.

        Raises:
            IndexError: there are fewer examples.
        """
        for part in self.split.parts.values():
            if index < len(part):
                return part, index
            index -= len(part)
        raise IndexError(index)

    def key(self, index: int) -> str:
        """The key of an example; of data without keys its number in its part, from 1.

        Args:
            index: int in [0, n).
        """
        part, row = self.place(index)
        return str(row + 1) if part.keys is None else part.keys[row]

    def label(self, index: int) -> str:
        """The label of an example in words.

        Args:
            index: int in [0, n).
        """
        part, row = self.place(index)
        target = part.targets[row]
        if part.task == "single_label":
            return part.labels[target]
        if part.task == "multi_label":
            return ", ".join(label for label, present in zip(part.labels, target, strict=True) if present) or "no label"
        return ", ".join(f"{value:.6g}" for value in target)


def folder_of(directory: str | Path) -> tuple[Path, Path]:
    """Finds a run whose data can be checked.

    Args:
        directory: str or Path of a finished run, or of a cross-validation.

    Returns:
        (Path, Path): the run, and the run whose config and model belong to the data: itself, or its first fold.

    Raises:
        FileNotFoundError: there is no run.
        InputError: its training has not finished, or it is of a language model.
    """
    folder = report.run_folder(directory)
    config = configs.load(folder / "config.yaml")
    language_requirements.refuse(config, "data check")
    own = folder / "fold_0" if configs.folds.trains_all(config) else folder
    if not (own / "model.keras").is_file():
        raise InputError(
            f"data check needs a finished run. Received: {str(folder)!r}, whose training was stopped. Resume it with "
            f"`kerastrain train --resume {folder}`."
        )
    return folder, own


@data.surface_read_errors()
def check_data(directory: str | Path) -> DataCheck:
    """Reads the data of a run again and looks for what is wrong with them.

    Args:
        directory: str or Path of a finished run.

    Returns:
        DataCheck.

    Raises:
        FileNotFoundError: there is no run, or no data any more.
        InputError: the run is not finished or of a language model, or its data have changed since.

    Example:
        >>> found = kt.recipe.check_data("runs/flowers")  # doctest: +SKIP
        >>> [(found.key(finding.index), finding.reason) for finding in found.findings]  # doctest: +SKIP
        >>> kt.recipe.write_data_check(found)  # doctest: +SKIP
    """
    folder, own = folder_of(directory)
    config = configs.load(own / "config.yaml")
    split = load_data(config, starting_run.read_start(own).image_size)
    _require_unchanged(split, own, config)
    return examine(config, split, folder)


def examine(config: Config, split: data.Split, directory: Path) -> DataCheck:
    """Looks for what is wrong with data.

    Args:
        config: Config, of which `data`, `model`, `evaluation` and the seed are used.
        split: data.Split of these data.
        directory: Path of a run, whose out-of-fold predictions are used if it has some.

    Returns:
        DataCheck.
    """
    parts = [name for name, part in split.parts.items() for _ in range(len(part))]
    targets = np.concatenate([part.targets for part in split.parts.values()])
    if config.data.kind == "images":
        pairs, sizes, quality, features, features_by = _images(config, split)
        equal, checked = lambda first, second: False, _OF_IMAGES + ("off_topic",)
    else:
        texts = [shown(text) for part in split.parts.values() for text in part.inputs]
        logger.info("comparing %s texts", f"{len(texts):,}")
        pairs, sizes, quality = near_texts.near_texts(texts), None, text_quality.text_quality(texts)
        features, features_by = text_features(split)
        equal, checked = lambda first, second: texts[first] == texts[second], _OF_TEXTS
    logger.info("judging the labels")
    names = None if split.train.groups is None else np.concatenate([part.groups for part in split.parts.values()])
    groups = near_duplicates.clusters(len(parts), pairs, names)  # Copies must not be in two folds.
    if np.bincount(groups).max() > _LARGEST_GROUP * len(parts):
        groups = names  # Where a large part of the data is alike, it has to be divided.
    predicted, labels_by = _predicted(directory, config, split, features, features_by, targets, groups)
    labels = label_findings(predicted, targets, split.labels, split.task, parts)
    found = DataCheck(directory, config, split, parts, [], labels, labels_by, features_by, ())
    of_copies = copies.copy_findings(
        pairs,
        parts,
        targets,
        lambda index: repr(_shortened(found.key(index))),
        lambda index: repr(found.label(index)),
        sizes=sizes,
        equal=equal,
    )
    kind = "unlikely_number" if split.task == "regression" else "label_error"
    features_by = features_by if config.data.kind == "images" else None
    findings = labels.findings + of_copies + quality
    return dataclasses.replace(found, findings=findings, features_by=features_by, checked=(kind, *checked))


def digests(found: DataCheck, indices: Sequence[int]) -> dict[int, int]:
    """The digests by which examples are found again, whatever their names.

    Args:
        found: DataCheck.
        indices: sequence of int.

    Returns:
        dict from each index to its `data.overlap.digests`.
    """
    # Arrays of images are resized when they are read; their digests are those of the source.
    parts = plan.parts(found.config) if found.split.train.keys is None else found.split.parts
    result, start = {}, 0
    for part in parts.values():
        rows = np.array([index - start for index in indices if start <= index < start + len(part)], np.int64)
        values = data.overlap.digests(part.subset(rows)).tolist() if len(rows) else []
        result |= dict(zip((rows + start).tolist(), values, strict=True))
        start += len(part)
    return result


def _require_unchanged(split: data.Split, own: Path, config: Config) -> None:
    environment = own / "environment.json"
    before = files.read_json(environment).get("data_sha256") if environment.is_file() else None
    if before is None:
        logger.warning("the run does not record its data, so that it is unknown whether they have changed since")
    elif before != data.fingerprint(split):
        raise InputError(
            f"data check needs the data that the run was trained on. Received: at {config.data.path!r}, files were added, "
            f"removed or changed since {str(own)!r} was trained. Restore them, or train a new run."
        )


def _images(config: Config, split: data.Split):
    logger.info("measuring %s images", f"{sum(split.sizes.values()):,}")
    statistics = picture_statistics.picture_statistics(
        part.read(np.arange(start, min(start + _BATCH, len(part))))
        for part in split.parts.values()
        for start in range(0, len(part), _BATCH)
    )
    sizes = _sizes(split)
    pairs = near_duplicates.near_duplicates(statistics)
    features, features_by = image_features(config, split)
    return pairs, sizes, image_quality.image_quality(statistics, sizes, features), features, features_by


def _sizes(split: data.Split) -> np.ndarray | None:
    """Width and height of all images before they were resized; None for arrays, whose images have one size."""
    if any(isinstance(part.inputs, np.ndarray) for part in split.parts.values()):
        return None
    inputs: list[Store] = [part.inputs for part in split.parts.values()]
    sizes = np.concatenate([original_sizes.sizes(store) for store in inputs])
    return sizes if sizes.min() > 0 else None


def _predicted(
    folder: Path, config: Config, split: data.Split, features, features_by: str, targets: np.ndarray, groups: np.ndarray
) -> tuple[np.ndarray, str]:
    """Predictions for each example by a model that has not seen it, and which model that was."""
    path = folder / predictions.FOLDER / "out_of_fold.npz"
    if path.is_file():
        saved = predictions.read(path)
        if saved.digests is not None and saved.labels == split.labels:
            values = saved.outputs.astype(np.float64) if saved.task == "regression" else saved.probabilities
            rows = {digest: row for row, digest in enumerate(saved.digests.tolist())}
            predicted = np.full((len(targets), len(split.labels)), np.nan)
            digested = np.concatenate([data.overlap.digests(part) for part in split.parts.values()]).tolist()
            for index, digest in enumerate(digested):
                if digest in rows:
                    predicted[index] = values[rows[digest]]
            count = int(np.isfinite(predicted).all(axis=1).sum())
            if count:
                return (
                    predicted,
                    f"the models of the run's folds, each for the {count:,} examples that it was not trained on",
                )
    predicted = out_of_fold(features, targets, len(split.labels), split.task, groups=groups, seed=config.runtime.seed)
    kind = "ridge regression" if split.task == "regression" else "logistic regression"
    return (
        predicted,
        f"a cross-validated {kind} on {'features of ' if config.data.kind == 'images' else ''}{features_by}",
    )


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:59]}…"
