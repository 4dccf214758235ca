"""How a search is described before it starts."""

import pytest

from kerastrain.cli import search_arguments, search_plan

SPACE = [
    "space.optimizer.learning_rate={min: 1e-4, max: 1e-1, sampling: log}",
    "space.optimizer.name=[adamw, sgd]",
    "space.optimizer.momentum={min: 0, max: 0.95, when: {optimizer.name: sgd}}",
    "space.model.hidden_units=[[], [64], [128, 64]]",
    "space.model.dropout={choices: [0, 0.5], when: {model.hidden_units: [[64], [128, 64]]}}",
    "space.fit.global_batch_size={min: 16, max: 128, sampling: log, step: 2}",
    "space.fine_tune.last=[null, 4]",
]


def described(*arguments, epochs=None):
    return list(search_plan.lines(search_arguments.read([*SPACE, *arguments]).search, epochs))


def test_every_kind_of_key_is_described():
    assert described("algorithm=tpe", "trials=30") == [
        "search      tpe, 30 trials",
        "objective   validation.accuracy, highest is best, best epoch of each trial",
        "space       optimizer.learning_rate          0.0001 to 0.1, log",
        "            optimizer.name                   adamw, sgd",
        "            optimizer.momentum               0 to 0.95, when optimizer.name is sgd",
        "            model.hidden_units               [], [64], [128,64]",
        "            model.dropout                    0, 0.5, when model.hidden_units is [64], [128,64]",
        "            fit.global_batch_size            16 to 128, log, in factors of 2, whole numbers",
        "            fine_tune.last                   null, 4",
    ]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["seeds=3", "finalists=2", "minutes=30"],
            "search      random, 10 trials, 3 seeds for the best 2, at most 30 minutes",
        ),
        (["algorithm=hyperband"], "search      hyperband"),
        (["algorithm=grid"], "search      grid"),
        (
            ["objective={measure: val_loss, epoch: last}"],
            "objective   validation.loss, lowest is best, last epoch of each trial",
        ),
        (
            ["objective=[validation.accuracy, model.parameters]"],
            "objective   model.parameters, lowest is best, best epoch of each trial",
        ),
        (["constraints=[model.dropout < 0.5]"], "constraint  model.dropout < 0.5"),
        (["pruning=halving"], "pruning     trials pause after 1, 3, 9, … epochs, and the best one of 3 continues"),
        (
            ["pruning=median"],
            "pruning     a trial that is worse than the median of the others ends, from epoch 1 on, once 5 trials are "
            "complete",
        ),
    ],
)
def test_what_else_is_set_is_described(arguments, line):
    assert line in described(*arguments)


def test_the_epochs_of_a_trial_are_counted_over_its_phases():
    assert (
        described(epochs={"head": 30, "fine_tune": 10})[-1] == "each trial  40 epochs: 30 of head and 10 of fine_tune"
    )
    assert described(epochs={"fit": 9})[-1] == "each trial  9 epochs: 9 of fit"
    data = search_plan.data_plan(search_arguments.read(["fit.epochs=2"]).config)
    assert (data.epochs, data.config.model.backbone) == ({"head": 30, "fine_tune": 2}, "kerastrain:fractal_small")
    assert "examples: 1,259 train, 359 validation, 179 test" in data.lines


def test_further_seeds_are_trainings_beside_the_trials():
    search = search_arguments.read(["seeds=3", "finalists=4"]).search
    assert search_plan.progress(search, 10, [])._planned == 18
    assert search_plan.progress(search, 2, [])._planned == 6
    assert search_plan.progress(search, None, [])._planned is None
