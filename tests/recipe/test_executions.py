import dataclasses

import keras
import numpy as np
import pytest
from interruptions import InterruptAfter, Interrupted

from kerastrain import config as configs
from kerastrain import data, models, runtime
from kerastrain.callbacks.nonfinite_search import NonFiniteError
from kerastrain.recipe import executions, fitting, plan, stages
from kerastrain.recipe.compiling import compiled

PHASE = plan.Phase("head", 30, 52, 0, 0.01, "constant", {})


@pytest.mark.parametrize(
    ("overrides", "changes", "expected"),
    [
        ([], {}, 52),
        ([], {"steps_per_epoch": 3125}, 25),
        ([], {"steps_per_epoch": 3001}, 1),  # a prime number
        ([], {"epochs": 7}, 1),  # 364 steps
        ([], {"name": "fine_tune"}, 1),
        (["fit.checkpoint_every=100 steps"], {}, 1),
        (["fit.steps_per_execution=4"], {"name": "fine_tune"}, 4),
    ],
)
def test_heads_take_as_many_steps_at_a_time_as_divide_an_epoch(overrides, changes, expected):
    config, phase = configs.load(None, overrides), dataclasses.replace(PHASE, **changes)
    assert executions.steps_per_execution(config, phase) == expected
    if overrides == []:
        assert executions.steps_per_execution(config, phase, replicas=2) == 1


def features(bad_row=None):
    random = np.random.default_rng(0)
    inputs = random.normal(size=(32, 6)).astype("float32")
    if bad_row is not None:
        inputs[bad_row] = 3e38
    whole = data.Examples(np.arange(32) % 2, ("a", "b"), inputs)
    return whole.subset(np.arange(24)), whole.subset(np.arange(24, 32))


def trained(folder, *overrides, bad_row=None):
    """Weights and history of a head that has trained for three epochs of six steps, in the least number of executions."""
    settings = ["fit.head_epochs=3", "fit.epochs=0", "fit.global_batch_size=4", *overrides]
    config = configs.load(None, settings)
    runtime.seed(0)
    keras.backend.clear_session(free_memory=False)
    backbone = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Conv2D(6, 1)])
    head = models.split_at_backbone(models.image_classifier(backbone, labels=["a", "b"], dropout=0.3))[1]
    train, validation = features(bad_row)
    [phase] = plan.phases(config, len(train))
    stage = stages.Stage(compiled(head, config, phase), train, validation)
    fitting.fit_phase(stage, config, phase, folder)
    rows = [row.split(",") for row in (folder / "history.csv").read_text().splitlines()]
    return head.get_weights(), [row[:2] + row[3:] for row in rows]  # without the seconds


@pytest.fixture
def several(monkeypatch):
    monkeypatch.setattr(executions, "_LEAST_STEPS", 1)
    taken = []
    monkeypatch.setattr(fitting.executions, "resume_at", lambda model, step: (resume(model, step), taken.append(model)))
    return lambda: [model.steps_per_execution for model in taken]


resume = executions.resume_at


@pytest.mark.slow
def test_several_steps_at_a_time_end_with_the_same_bits_also_after_a_kill_within_an_epoch(
    tmp_path, several, monkeypatch
):
    weights, history = trained(tmp_path / "one", "fit.steps_per_execution=1")
    at_once, same_history = trained(tmp_path / "six")
    assert several() == [1, 6]
    assert len(history) == 4
    assert same_history == history
    standard = fitting.callbacks.standard
    with monkeypatch.context() as patched:
        patched.setattr(fitting.callbacks, "standard", lambda *a, **k: [*standard(*a, **k), InterruptAfter(11)])
        with pytest.raises(Interrupted):
            trained(tmp_path / "killed", "fit.steps_per_execution=1", "fit.checkpoint_every=5 steps")
    resumed, same_history = trained(
        tmp_path / "killed"
    )  # at step 4 of the second epoch, so that two steps are left of it
    assert several()[-1] == 2
    assert same_history == history
    for first, *others in zip(weights, at_once, resumed, strict=True):
        for other in others:
            np.testing.assert_array_equal(first, other)


@pytest.mark.slow
def test_the_step_and_the_example_of_a_bad_number_are_found_among_several_steps(tmp_path, several):
    reports = []
    for name, overrides in (("one", ["fit.steps_per_execution=1"]), ("six", [])):
        with pytest.raises(NonFiniteError) as error:
            trained(tmp_path / name, *overrides, bad_row=13)
        reports.append(
            (error.value.step, str(error.value).replace(name, "run"), (tmp_path / name / "nonfinite.json").read_text())
        )
    assert reports[0] == reports[1]
    assert "example 13" in reports[0][1]
