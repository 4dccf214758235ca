"""Evaluates a finished run on its own data and on other data, and keeps the measures in its folder.

Takes a `Run` and paths of data; returns measures and writes `evaluations/`. Must not change the model.
"""

import dataclasses
import datetime
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from kerastrain import data, evaluation, models, recipe, report
from kerastrain.config import Config
from kerastrain.data.image_files import quarantine
from kerastrain.data.sources import table_columns, tables
from kerastrain.errors import InputError
from kerastrain.recipe import diagnosing, language_evaluating, named_predictions, operating_points, plan
from kerastrain.recipe.backbone_features import BackboneFeatures
from kerastrain.run_directory import EXAMPLES_FILE, Run
from kerastrain.system import files

logger = logging.getLogger("kerastrain")


@data.surface_read_errors()
def evaluate(
    run: Run,
    places: Mapping[str, str],
    *,
    config: Config | None = None,
    on_fault: Callable[[str], None] | None = None,
    on_predictions: Callable[[str, evaluation.Predictions], None] | None = None,
) -> dict[str, dict]:
    """Evaluates a run on other data, or on its own validation and test parts.

    Measures of other data contain the path of the data, the date, the number of examples that the run was trained or
    validated on, which is also logged as a warning, and findings about them; of a language model instead those before its
    training. `record` writes them.

    Args:
        run: Run.
        places: mapping from a name to a path as in `data.path`. If the data there are divided into parts and the name is
            one of them, such as "test", only that part is evaluated. If the mapping is empty, the run's own parts are.
        config: Config that says how data are read, as from `inputs.override`; None for the run's own.
        on_fault: callable that gets a sentence about each data set that cannot be used, and about each unreadable file of
            the others, all of which are then skipped; None raises the error of a data set.
        on_predictions: callable that gets each name and what the model predicted, for `record`; None drops it.

    Returns:
        dict from each name to its measures; see `evaluation.measures`.

    Raises:
        InputError: the data have no labels, or a label that the model does not know, or too many files are unreadable; and
            `on_fault` is None.
        FileNotFoundError: a path does not exist, and `on_fault` is None.
    """
    if run.config.is_language:
        return language_evaluating.evaluate(run, places, config=config or run.config, on_fault=on_fault)
    reads = dataclasses.replace(run, config=config or run.config)
    if not places:
        split = recipe.load_data(reads.config, run.image_size, labels=models.labels(run.model))
        features = BackboneFeatures(run.model, reads.config)
        measures = recipe.measure(run.model, reads.config, split, features=features, on_predictions=on_predictions)
        if diagnosing.read(run.directory) is None:  # a run of an earlier version
            try:
                diagnosing.diagnose(features, run.config, split, run.directory)
            except files.WriteError as error:
                logger.warning("the verdict is not kept: %s", error)
        return measures
    measures, point = {}, run.operating_point
    features = BackboneFeatures(run.model, reads.config)
    predict = named_predictions.predictor(features, are_images=reads.config.data.kind == "images")
    for name, place in places.items():
        label = _label(run, name)
        try:
            examples, skipped = _examples(reads, name, place, run.config)
            logger.info("evaluating %s: %s examples", name, f"{len(examples):,}")
            predictions = predict(label, examples)
            measured = evaluation.measures(predictions)
        except (InputError, OSError) as error:
            if on_fault is None:
                raise
            on_fault(f"{name}: {error}")
            continue
        for fault in skipped if on_fault else ():
            on_fault(f"{name}: skipped {fault.path}: {fault.reason}")
        measured["data"] = {
            "path": place if place.startswith(("hf:", "tfds:")) else str(Path(place).absolute()),
            "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "shared": _shared(run, name, examples),
        }
        trained_on = (measured["data"]["shared"] or {}).get("train", 0)
        measured["findings"] = diagnosing.diagnose_other(run, features, label, examples, predictions, trained_on)
        if point is not None:
            measured["operating_point"] = operating_points.compared(predictions, point)
        measures[name] = measured
        if on_predictions is not None:
            on_predictions(name, predictions)
    return measures


def record(
    run: Run, measures: Mapping[str, dict], predictions: Mapping[str, evaluation.Predictions] | None = None
) -> None:
    """Writes measures of other data to `evaluations/NAME.json`, all predictions to `predictions/`, and the report again.

    The report shows them beside the measures of the run's own parts, also if they have the same name.

    Args:
        run: Run.
        measures: mapping from a name to its measures, as from `evaluate`; those without "data", of the run's own parts,
            are not written.
        predictions: mapping from a name to what the model predicted; None writes none. Those for other data with the name of
            a part of the run are called "NAME (other data)", as in the report. Those for the run's own parts are written only
            if the run has none, as a run of an earlier version.

    Raises:
        WriteError: the folder of the run cannot be written to.
    """
    others = {name: measured for name, measured in measures.items() if "data" in measured}
    _keep(run, predictions or {}, others)
    for name, measured in others.items():
        path = _record_path(run, name)
        if path.exists():
            logger.info("%s: replaces the measures of %s", name, _earlier(path).get("date", "an earlier version"))
        files.write_json(path, measured)
        diagnosing.add(run.directory, _label(run, name), measured.get("findings", ()))
    if others:
        report.write(run.directory)


def _label(run: Run, name: str) -> str:
    """The name of other data beside the parts of the run."""
    own = run.directory / "metrics.json"
    parts = files.read_json(own) if own.is_file() else {}
    return f"{name} (other data)" if name in (*parts, "train", "validation", "test") else name


def _keep(run: Run, predictions: Mapping[str, evaluation.Predictions], others: Mapping[str, dict]) -> None:
    for name, predicted in predictions.items():
        if name in others:
            named_predictions.write(run.directory, _label(run, name), predicted)
        elif not named_predictions.path(run.directory, name).is_file():
            try:
                named_predictions.write(run.directory, name, predicted)
            except files.WriteError as error:
                logger.warning("%s: the predictions are not kept: %s", name, error)


def check_names(run: Run, pairs: Iterable[tuple[str, str]], *, replace: bool = False) -> dict[str, str]:
    """Checks the names of data sets before they are measured: no measures of other data may be lost.

    Args:
        run: Run.
        pairs: iterable of (name, path).
        replace: bool, whether earlier measures of that name may be replaced. Those of the same path always may.

    Returns:
        dict from name to path.

    Raises:
        InputError: a name is not the name of a file, or is given twice.
        FileExistsError: the run has measures of other data under a name, and `replace` is False.
    """
    places = {}
    for name, place in pairs:
        if Path(name).name != name or name.startswith("."):
            raise InputError(f"the name of a data set must be the name of a file. Received: {name!r}. Leave out '/'.")
        if name in places:
            raise InputError(f"data sets must have different names. Received: {name!r} twice. Rename one.")
        places[name] = place
    for name, place in places.items():
        path = _record_path(run, name)
        if not path.exists():
            continue
        before = _earlier(path)
        if before.get("path") not in (place, str(Path(place).absolute())) and not replace:
            of = f"of {before['path']!r}" if "path" in before else "of unknown data"
            raise FileExistsError(
                f"'{path}' holds the measures {of}, and is not overwritten. Choose another name than {name!r}, or use "
                "--replace."
            )
    return places


def _record_path(run: Run, name: str) -> Path:
    return run.directory / "evaluations" / f"{name}.json"


def _earlier(path: Path) -> dict:
    """Path and date of earlier measures; empty if they have none."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    found = record.get("data") if isinstance(record, dict) else None
    return found if isinstance(found, dict) else {}


def _examples(run: Run, name: str, place: str, own: Config) -> tuple[data.Examples, tuple]:
    """Reads the examples at a path, with targets in the label order of the run's model, and names those skipped."""
    if not data.has_columns(place, run.config.data.kind) and run.config.data.columns != own.data.columns:
        raise InputError(f"`data.columns` is for tables and named sets. Received: {place!r}, which has no columns.")
    try:
        listing = plan.listing(_without_unknown_slices(run.config, place, own), path=place, image_size=run.image_size)
    except (InputError, NotADirectoryError) as error:
        if run.config.data.columns.targets != own.data.columns.targets or not _lacks_labels(run.config, place):
            raise
        command = f"kerastrain predict {run.directory} {place}"
        raise InputError(f"{error} To predict examples without labels: `{command}`.") from None
    data.check_skipped(listing, run.config.data.unreadable_fraction)
    examples = data.under_labels(listing, models.labels(run.model))
    if listing.predefined_split is not None and (part := data.part_named(name)) in listing.predefined_split:
        examples = examples.subset(np.flatnonzero(listing.predefined_split == part))
    options = {"cache": run.config.data.cache, "unreadable_fraction": run.config.data.unreadable_fraction}
    examples, quarantined = data.readable(examples, **options)
    unreadable = [item for item in quarantined if item.kind not in quarantine.REPEATS]
    return examples, (*listing.skipped, *unreadable)


def _without_unknown_slices(config: Config, place: str, own: Config) -> Config:
    """Other data need not have the columns by which the run's own measures are divided, unless they are named for them."""
    columns = config.data.columns
    if not columns.slices or columns != own.data.columns or not tables.is_table(place):
        return config
    known = tables.read(Path(place).expanduser(), data.Columns(**columns.model_dump())).values
    if missing := [name for name in columns.slices if name not in known]:
        logger.info(
            "'%s' has no column %s, so its measures are not divided by it", place, " and no column ".join(missing)
        )
    columns = columns.model_copy(update={"slices": tuple(name for name in columns.slices if name in known)})
    return config.model_copy(update={"data": config.data.model_copy(update={"columns": columns})})


def _lacks_labels(config: Config, place: str) -> bool:
    """Whether there is something to predict, but nothing to compare it with."""
    path = Path(place).expanduser()
    if path.is_dir():
        return not any(child.is_dir() and not child.name.startswith(".") for child in path.iterdir())
    if not data.has_columns(path, config.data.kind):
        return path.is_file()
    names = config.data.columns.targets or (table_columns.USUAL_TARGETS[config.data.task],)
    try:
        return not any(name in tables.read(path).values for name in names)
    except (InputError, OSError):
        return config.data.kind == "text" and path.is_file()  # a text in each line


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
