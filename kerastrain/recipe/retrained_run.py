"""The run that trains the winner of a search again, as the search sees it: whether it is done, and what its test part says.

Takes the folder of a search; writes `test.json` and the views of the search, which say so. Must not train or measure anything.
"""

import datetime
from pathlib import Path

from kerastrain import report
from kerastrain.evaluation import cross_validation
from kerastrain.recipe import search_files
from kerastrain.system import files
from kerastrain.tuning import records

FOLDER = "best"
"""The folder of the run, in that of the search."""


def search_of(run: Path) -> Path | None:
    """Finds the search whose winner a run trains again.

    Args:
        run: Path of a run.

    Returns:
        Path of the search; None for any other run.
    """
    own = run.absolute()
    return own.parent if own.name == FOLDER and (own.parent / search_files.SEARCH_FILE).is_file() else None


def record(directory: Path) -> None:
    """Records in a search that the test part was measured, if the run is finished, has one, and that was not recorded before.

    Args:
        directory: Path of the search.

    Raises:
        WriteError: the disk is full or read-only.
    """
    run, path = directory / FOLDER, directory / records.TEST_FILE
    if path.is_file() or not (run / "finished.json").is_file():
        return
    measures = files.read_json(run / "metrics.json")
    if "test" not in measures:
        return
    ended = (run / "finished.json").stat().st_mtime
    measured = datetime.datetime.fromtimestamp(ended, datetime.timezone.utc).isoformat(timespec="seconds")
    own = cross_validation.headlines(measures["test"])
    files.write_json(path, {"folder": FOLDER, "measured": measured, "measures": own})
    records.write(directory)
    report.write(directory)


def refuse_second(directory: Path) -> None:
    """Refuses to train the winner of a search a second time on train and validation.

    Args:
        directory: Path of the search, which may not exist yet.

    Raises:
        FileExistsError: it was done before.
    """
    run, path = directory / FOLDER, directory / records.TEST_FILE
    if not (run / "finished.json").is_file():
        return
    record(directory)  # which the process that finished the run had no time for if it was killed
    when = ""
    if path.is_file():
        measured = files.read_json(path)["measured"]
        when = f", and the test part was measured on {measured[:10]}"
    raise FileExistsError(
        f"'{run}' exists already: the winner of the search was trained again{when}. Its measures are in "
        f"'{run / 'report.html'}'. Measuring the same test part again would be a choice by it."
    )
