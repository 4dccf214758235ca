import pytest

import kerastrain as kt
from kerastrain.config import SearchConfig, reading
from kerastrain.errors import ConfigError, InputError
from kerastrain.recipe import search_space
from kerastrain.tuning.space import Choices, Condition, Interval, Space

LARGE = """
space:
  optimizer.momentum: {min: 0, max: 0.95, when: {optimizer.name: sgd}}
  optimizer.name: [adamw, sgd]
  optimizer.learning_rate: {min: 1e-4, max: 1e-1, sampling: log}
  model.hidden_units: [[], [64], [128, 64]]
  model.dropout: {choices: [0, .2], when: {model.hidden_units: [[64], [128, 64]]}}
  data.augment: [[flip], [flip, mixup], null]
  fit.global_batch_size: {min: 16, max: 128, sampling: log, step: 2}
constraints: [optimizer.learning_rate * fit.global_batch_size <= 1, fit.label_smoothing == 0 or model.dropout > 0]
"""


def check(text, *overrides, **options):
    search = kt.config.validate(reading.parse(text), SearchConfig, source="search.yaml")
    return search_space.check(kt.config.load(overrides=overrides), search, **options)


def refusal(text, *overrides, kind=InputError, **options):
    with pytest.raises(kind) as error:
        check(text, *overrides, **options)
    return str(error.value)


def test_a_space_has_the_keys_and_the_values_of_the_recipe_for_its_constraints():
    space = check(LARGE, "fit.label_smoothing=0.1", "model.dropout=0")
    assert space.order[:2] == ("optimizer.name", "optimizer.momentum")
    assert space.defaults == {
        "optimizer.learning_rate": 0.01,
        "fit.global_batch_size": 32,
        "fit.label_smoothing": 0.1,
        "model.dropout": 0.0,
    }
    point = {"optimizer.name": "adamw", "optimizer.learning_rate": 1e-3, "fit.global_batch_size": 16}
    assert space.allows({**point, "model.hidden_units": [64], "model.dropout": 0.2})
    assert not space.allows({**point, "model.hidden_units": []})


def test_every_unknown_key_and_every_value_that_its_key_never_takes_is_listed():
    text = "space: {optimizer.learning_rat: [0.1], model.dropout: [0, 2], optimizer.momentum: {min: 0, max: 1}}"
    message = refusal(text, kind=ConfigError)
    assert "optimizer.learning_rat: unknown key 'learning_rat'." in message
    assert "Did you mean 'learning_rate'?" in message
    assert "model.dropout: must be a number of at least 0 and below 1. Received: 2." in message
    assert "optimizer.momentum: must be a number of at least 0 and below 1, or null. Received: 1." in message
    assert "only for sgd" not in message, "which depends on the optimizer"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "{optimizer.name: [adamw, sgd, rmsprop], optimizer.momentum: {min: 0, max: 0.5}, model.dropout: [0, 0.5]}",
            "Write `when: {optimizer.name: ['sgd', 'rmsprop']}` below space.optimizer.momentum.",
        ),
        (
            "{schedule.drop_factor: [0.1, 0.5], schedule.name: [cosine, step]}",
            "such as schedule.name='cosine', schedule.drop_factor=0.1: schedule: 'cosine' has no drop_factor. Received: "
            "drop_factor=0.1. Known: end_fraction. Write `when: {schedule.name: 'step'}` below space.schedule.drop_factor.",
        ),
        (
            "{optimizer.momentum: [0.5], model.dropout: [0, 0.5]}",
            "such as optimizer.momentum=0.5: optimizer: momentum is only for sgd, rmsprop and muon. Received: name 'adamw'. "
            "Remove momentum. Change its values, or those of the recipe.",
        ),
        (
            "{fit.global_batch_size: {min: 16, max: 128, integer: false}}",
            "fit.global_batch_size: must be a whole number above 0, or null.",
        ),
        (
            "{fit.global_batch_size: [8, 64], memory.micro_batches: {choices: [2, 16], when: {fit.global_batch_size: [8, 64]}}}",
            "memory.micro_batches must be at most fit.global_batch_size. Received: 16 and 8.",
        ),
    ],
)
def test_a_combination_that_cannot_be_trained_is_named_with_the_condition_that_it_lacks(text, sentence):
    message = refusal(f"space: {text}")
    assert message.startswith("the space has points that cannot be trained, such as ")
    assert sentence in message


def test_a_rare_wrong_combination_of_a_grid_is_found():
    values = "[0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]"
    grid = f"optimizer.name: [adam, adamw, lion], model.dropout: {values}, fit.label_smoothing: {values}"
    wrong = "optimizer.momentum: {choices: [null, 0.9], when: {optimizer.name: lion, model.dropout: 0.8}}"
    assert "optimizer.momentum=0.9" in refusal(f"space: {{{grid}, {wrong}}}")
    assert check(f"{{algorithm: grid, space: {{{grid}}}}}").size() == 243


@pytest.mark.parametrize(
    ("text", "overrides", "sentence"),
    [
        ("{}", (), "the space must contain at least one key. Received: none."),
        ("{space: {model: [1]}}", (), "space.model: keys must be written whole, such as space.model.dropout."),
        (
            "{space: {data.path: [a, b]}}",
            (),
            "space.data.path cannot be searched: trials that differ in it are measured on",
        ),
        ("{space: {data.fold: [0, 1]}}", (), "space.data.fold cannot be searched"),
        (
            "{space: {evaluation.sets: [[test]]}}",
            (),
            "space.evaluation.sets cannot be searched: trials that differ in it",
        ),
        (
            "{space: {tracking.to: [[wandb]]}}",
            (),
            "space.tracking.to cannot be searched: it does not change what is trained.",
        ),
        ("{space: {runtime.strategy: [none]}}", (), "`kerastrain tune --workers` divides the devices among the trials"),
        ("{seeds: 2, space: {runtime.seed: [1, 2]}}", (), "space.runtime.seed cannot be searched: seeds: 2 trains"),
        (
            "{space: {export.samples: [1]}}",
            (),
            "files are exported only for an objective such as export.tflite_int8.bytes",
        ),
        (
            "{objective: export.tflite_int8.bytes, space: {export.formats: [[keras]]}}",
            (),
            "space.export.formats cannot be",
        ),
        (
            "{algorithm: grid, space: {model.dropout: {min: 0, max: 0.5}}}",
            (),
            "Received: space.model.dropout, an interval",
        ),
        ("{space: {model.dropout: {choices: [0], when: {optimizer.name: sgd}}}}", (), "when must name a searched key."),
        (
            "{space: {optimizer.name: [sgd], model.dropout: {choices: [0], when: {optimizer.name: sgdd}}}}",
            (),
            "model.dropout: when has a value that optimizer.name never has: 'sgdd'. Known: 'sgd'.",
        ),
        (
            "{constraints: optimizer.lr < 1, space: {model.dropout: [0]}}",
            (),
            "the constraint 'optimizer.lr < 1' has an unknown key. Received: optimizer.lr. Did you mean optimizer.learning_rate?",
        ),
        ("{constraints: model < 1, space: {model.dropout: [0]}}", (), "has an unknown key. Received: model."),
        ("{constraints: model.dropout > 1, space: {model.dropout: [0, 0.5]}}", (), "no point of the space meets"),
        (
            "{constraints: model.dropout > 1, space: {model.dropout: {min: 0, max: 0.5}}}",
            (),
            "no point of the space meets",
        ),
        ("{constraints: fit.epochs > 1, space: {model.dropout: [0]}}", (), "cannot be computed: null is neither more"),
        ("{objective: validation.acuracy, space: {model.dropout: [0]}}", (), "Did you mean 'validation.accuracy'?"),
        ("{objective: test.accuracy, space: {model.dropout: [0]}}", (), "Use validation.accuracy."),
        (
            "{space: {model.dropout: [0]}}",
            ("data.task=regression",),
            "validation.accuracy is a measure of single_label",
        ),
        (
            "{objective: [val_loss, validation.loss], space: {model.dropout: [0]}}",
            (),
            "Received: validation.loss twice.",
        ),
        (
            "{algorithm: hyperband, space: {fit.epochs: [2, 3]}}",
            (),
            "hyperband chooses the epochs of each trial itself.",
        ),
        (
            "{pruning: halving, space: {fit.head_epochs: [2, 3]}}",
            (),
            "pruning: halving chooses the epochs of each trial itself.",
        ),
        (
            "{algorithm: hyperband, space: {model.dropout: [0]}}",
            ("fit.epochs=1", "fit.head_epochs=0"),
            "hyperband needs trials of at least 2 epochs. Received: 1, the sum of fit.head_epochs and fit.epochs.",
        ),
        (
            "{pruning: {name: median, min_epochs: 5}, space: {model.dropout: [0]}}",
            ("fit.epochs=3", "fit.head_epochs=2"),
            "pruning: median needs trials of at least 6 epochs. Received: 5",
        ),
        (
            "{algorithm: grid, pruning: median, space: {model.dropout: [0]}}",
            (),
            "a grid trains every point. Received: pruning",
        ),
        (
            "{algorithm: hyperband, pruning: median, space: {model.dropout: [0]}}",
            (),
            "hyperband ends bad trials itself.",
        ),
        (
            "{pruning: median, objective: [val_loss, model.parameters], space: {model.dropout: [0]}}",
            (),
            "by one objective.",
        ),
        (
            "{pruning: halving, objective: model.parameters, space: {model.dropout: [0]}}",
            (),
            "is measured only at the end.",
        ),
        (
            "{pruning: median, objective: validation.loss, space: {fit.label_smoothing: [0, 0.1]}}",
            (),
            "pruning: median compares trials by the loss that each of them trains, which fit.label_smoothing changes. Received: "
            "objective validation.loss, and a space with fit.label_smoothing. Remove it from the space, or choose "
            "validation.accuracy or validation.brier.",
        ),
        (
            "{algorithm: hyperband, objective: val_loss, space: {data.class_weights: [null, balanced]}}",
            ("data.task=multi_label",),
            "hyperband compares trials by the loss that each of them trains, which data.class_weights",
        ),
        (
            "{objective: {measure: val_loss, epoch: last}, space: {fit.label_smoothing: [0, 0.1]}}",
            (),
            "epoch: last compares trials by the loss that each of them trains",
        ),
        (
            "{pruning: median, objective: validation.macro.f1, space: {model.dropout: [0]}}",
            ("fit.monitor=validation.brier",),
            "validation.macro.f1 is needed after each epoch, where only fit.monitor and what Keras logs are measured. Received: "
            "fit.monitor=validation.brier. Set fit.monitor=validation.macro.f1",
        ),
        (
            "{algorithm: hyperband, objective: validation.brier, space: {fit.monitor: [null, validation.accuracy]}}",
            (),
            "validation.brier is needed after each epoch, where only fit.monitor and what Keras logs are measured. Received: "
            "a space with fit.monitor.",
        ),
        (
            "{objective: [val_accuracy, {measure: validation.brier, epoch: last}], space: {model.dropout: [0]}}",
            (),
            "validation.brier is needed after each epoch",
        ),
        (
            "{objective: {measure: validation.perplexity, epoch: last}, space: {optimizer.learning_rate: [0.1]}}",
            ("data.kind=language", "data.path=.", "model.backbone=hf:owner/name"),
            "validation.perplexity is measured once, with the weights of the best epoch. Received: epoch: last.",
        ),
        (
            "{objective: validation.preference.margin, space: {fit.dpo_beta: [0.1, 0.5]}}",
            ("data.kind=chat", "data.path=.", "model.backbone=.", "fine_tune.lora_rank=8", "fit.objective=dpo"),
            "trials of different fit.dpo_beta cannot be compared by validation.preference.margin",
        ),
    ],
)
def test_a_search_that_has_no_meaning_is_one_sentence(text, overrides, sentence):
    message = refusal(text, *overrides)
    assert sentence in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "text",
    [
        "objective: val_loss, space: {fit.label_smoothing: [0, 0.1]}",  # measured in the end, the same way for all
        "pruning: median, objective: validation.brier, space: {fit.label_smoothing: [0, 0.1]}",
        "pruning: median, objective: val_loss, space: {model.dropout: [0, 0.1]}",
        "pruning: median, objective: validation.macro.f1, space: {model.dropout: [0, 0.1]}",
        "objective: validation.macro.f1, space: {fit.monitor: [null, validation.brier]}",
        "pruning: median, objective: val_loss, space: {data.class_weights: [null, balanced]}",  # of training examples
    ],
)
def test_objectives_that_every_trial_has_are_taken(text):
    assert check(f"{{{text}}}").size() == 2


def test_hyperparameters_of_a_function_are_searched_beside_keys_of_the_config():
    own = Space(
        {"hp.depth": Interval(1, 3, integer=True), "hp.act": Choices(("relu",), (Condition("hp.depth", (2,)),))}
    )
    space = check(
        "{space: {fit.global_batch_size: [16, 32]}, constraints: hp.depth * fit.global_batch_size < 96}",
        build_space=own,
    )
    assert space.order == ("fit.global_batch_size", "hp.depth", "hp.act")
    assert space.size() == 2 + 1 + 2
    assert check("{}", build_space=own).order == ("hp.depth", "hp.act")
    for key, value in (("model.dropout", 0), ("optimizer.name", "sgd"), ("fit.label_smoothing", 0.1)):
        assert "the function of --build makes" in refusal(f"space: {{{key}: [{value}]}}", build_space=own)
