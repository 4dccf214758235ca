"""The record of a trial, from the history of its run."""

import pytest

from kerastrain.recipe.trial_progress import Trial
from kerastrain.tuning import trial_records
from kerastrain.tuning.assignments import Assignment
from kerastrain.tuning.settings import Objective

ACCURACY, PARAMETERS = Objective("validation.accuracy", "max"), Objective("model.parameters", "min")
LAST = Objective("validation.loss", "min", "last")


@pytest.fixture
def recorded(tmp_path):
    """A function that records a trial with some objectives, and returns its record and its outcome."""

    def record(*objectives, measures=None):
        assignment = Assignment("1", 1, 0, {}, None)
        folder = tmp_path / assignment.folder
        folder.mkdir(parents=True)
        lines = ["phase,epoch,val_data_loss,val_accuracy", "head,1,0.5,0.7", "head,2,0.3,0.9", "fit,1,0.4,0.8"]
        (folder / "history.csv").write_text("\n".join(lines) + "\n")
        trial = Trial(assignment, tmp_path, objectives, "single_label", None)
        trial.record("paused" if measures is None else "completed", measures)
        return trial_records.read(tmp_path, assignment), trial.recorded()

    return record


def test_a_paused_trial_has_the_objectives_of_its_best_epoch_so_far(recorded):
    record, outcome = recorded(ACCURACY)
    assert record["curve"] == [[1, 0.7], [2, 0.9], [3, 0.8]]
    assert (record["epochs"], record["measures"]) == (3, {"validation.accuracy": 0.9})
    assert (outcome.status, outcome.epochs, outcome.measures) == ("paused", 3, {"validation.accuracy": 0.9})


def test_the_curve_is_that_of_the_first_objective_alone(recorded):
    record, outcome = recorded(PARAMETERS, ACCURACY, measures={"model.parameters": 10, "validation.accuracy": 0.9})
    assert record["curve"] == []
    assert [*outcome.measures] == ["model.parameters", "validation.accuracy"]


def test_an_objective_of_the_last_epoch_is_that_of_the_history(recorded):
    _, outcome = recorded(LAST, ACCURACY, measures={"validation.loss": 0.31, "validation.accuracy": 0.9})
    assert outcome.measures == {"validation.loss": 0.4, "validation.accuracy": 0.9}
