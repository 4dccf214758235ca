import pytest

import kerastrain as kt
from kerastrain.config import SearchConfig, reading
from kerastrain.config.jobs import ObjectiveConfig
from kerastrain.errors import ConfigError
from kerastrain.tuning.space import Choices, Condition, Interval

TEXT = """
algorithm: grid
objective: [val_accuracy, {measure: model.parameters, epoch: last}, {measure: validation.brier, direction: max}]
space:
  optimizer.momentum: {min: 0, max: 0.95, when: {optimizer.name: sgd}}
  optimizer.name: [adamw, sgd]
  optimizer.learning_rate: {min: 1e-4, max: 1e-1, sampling: log}
  model.hidden_units: [[], [64], [128, 64]]
  model.dropout: {choices: [0, .2], when: {model.hidden_units: [[64], [128, 64]], optimizer.name: [sgd]}}
  optimizer.weight_decay: {choices: [null, 1e-1], when: {model.hidden_units: [64]}}
  model.batch_norm: {choices: [yes, no], when: {model.hidden_units: []}}
  fit.global_batch_size: {min: 16, max: 128, sampling: log, step: 2}
  memory.micro_batches: [1, auto]
constraints: optimizer.learning_rate * fit.global_batch_size <= 1
pruning: halving
"""


def search(text):
    return kt.config.validate(reading.parse(text), SearchConfig, source="search.yaml")


def test_a_space_has_values_in_the_types_of_their_keys_and_conditions():
    sgd = Condition("optimizer.name", ("sgd",))
    assert search(TEXT).parameters == {
        "optimizer.momentum": Interval(0, 0.95, when=(sgd,)),
        "optimizer.name": Choices(("adamw", "sgd")),
        "optimizer.learning_rate": Interval(1e-4, 1e-1, "log"),
        "model.hidden_units": Choices(([], [64], [128, 64])),
        "model.dropout": Choices((0, 0.2), (Condition("model.hidden_units", ([64], [128, 64])), sgd)),
        "optimizer.weight_decay": Choices((None, 0.1), (Condition("model.hidden_units", ([64],)),)),
        "model.batch_norm": Choices((True, False), (Condition("model.hidden_units", ([],)),)),
        "fit.global_batch_size": Interval(16, 128, "log", integer=True, step=2),
        "memory.micro_batches": Choices((1, "auto")),
    }


def test_a_search_file_that_was_written_is_read_as_the_same():
    first = search(TEXT)
    assert search(kt.config.dump(first)) == first
    assert "choices" not in first.model_dump(mode="json")["space"]["optimizer.learning_rate"]
    assert first.model_dump(mode="json")["space"]["memory.micro_batches"] == [1, "auto"]


def test_objectives_have_the_names_of_measures_and_their_usual_direction():
    assert search(TEXT).objectives == (
        ObjectiveConfig(measure="validation.accuracy", direction="max", epoch="best"),
        ObjectiveConfig(measure="model.parameters", direction="min", epoch="last"),
        ObjectiveConfig(measure="validation.brier", direction="max", epoch="best"),
    )
    assert [each.measure for each in search("objective: val_loss").objectives] == ["validation.loss"]
    assert search("objective: {measure: validation.loss}").objectives[0].direction == "min"


@pytest.mark.parametrize(
    ("text", "trials"),
    [
        ("{}", 10),
        ("algorithm: grid", None),
        ("algorithm: tpe", 10),
        ("{algorithm: grid, trials: 4}", 4),
        ("trials: null", 10),
    ],
)
def test_the_number_of_trials_follows_from_the_algorithm_where_it_is_null(text, trials):
    assert search(text).trials == trials


def test_a_pruning_may_be_a_name():
    assert search(TEXT).pruning == search("pruning: {name: halving, min_epochs: 1, factor: 3}").pruning
    assert search("pruning: null").pruning is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("pruning: medain", "pruning.name: unknown value 'medain'. Known: halving, median. Did you mean 'median'?"),
        ("algorithm: gird", "algorithm: unknown value 'gird'. Known: bayesian, grid"),
        (
            "objective: [a, {epoch: last}]",
            "objective: must be the name of a measure, a section with the keys measure, epoch",
        ),
        ("objective: {measure: a, epoch: worst}", "objective.epoch: unknown value 'worst'. Known: best, last."),
        ("space: {fit.epochs: [1, 1]}", "space: the choices of fit.epochs must differ. Received: [1, 1]."),
        ("space: {fit.epochs: {choices: [1, 1]}}", "space: the choices of fit.epochs must differ. Received: [1, 1]."),
        ("space: {fit.epochs: {min: 3}}", "space.fit.epochs: needs min and max, or choices. Received: {min: 3}."),
        ("space: {fit.epochs: {min: 3, max: 2}}", "space.fit.epochs: min must be less than max. Received: 3 and 2."),
        (
            "space: {fit.epochs: {min: 1, max: 3, step: 9}}",
            "space.fit.epochs: an interval must have more than one value.",
        ),
        ("space: {fit.epochs: {choices: [1], min: 3}}", "space.fit.epochs: write either choices, or min and max."),
        ("space: {fit.epochs: {choises: [1]}}", "space.fit.epochs.choises: unknown key. Did you mean 'choices'?"),
        (
            "space: {fit.epochs: {min: 1, max: 3, when: sgd}}",
            "space.fit.epochs.when: must be a mapping from names to values.",
        ),
        ("constraints: ['fit.epochs +']", "constraints: a constraint must be an expression. Received: 'fit.epochs +'"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_sentence(text, sentence):
    with pytest.raises(ConfigError) as error:
        search(text)
    (line,) = str(error.value).splitlines()[1:]
    assert sentence in line
