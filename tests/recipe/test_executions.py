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
        (["fit.checkpoint_every=100 steps"], {}, 4),
        (["fit.checkpoint_every=1 epochs"], {}, 52),
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
def test_several_steps_at_a_time_have_the_bits_of_single_steps_also_after_a_kill_within_an_epoch(
    tmp_path, several, monkeypatch
):
    weights, history = trained(tmp_path / "six")
    assert several() == [6]
    assert len(history) == 4
    standard = fitting.callbacks.standard
    with monkeypatch.context() as patched:
        patched.setattr(fitting.callbacks, "standard", lambda *a, **k: [*standard(*a, **k), InterruptAfter(11)])
        with pytest.raises(Interrupted):
            trained(tmp_path / "killed", "fit.steps_per_execution=1", "fit.checkpoint_every=5 steps")
    # At step 4 of the second epoch, so that two steps are left of it.
    resumed, same_history = trained(tmp_path / "killed")
    assert several() == [6, 1, 2]
    assert same_history == history
    for weight, other in zip(weights, resumed, strict=True):
        np.testing.assert_array_equal(weight, other)


@pytest.mark.slow
def test_the_step_and_the_example_of_a_bad_number_are_found_among_several_steps(tmp_path, several):
    with pytest.raises(NonFiniteError) as error:
        trained(tmp_path, bad_row=13)
    assert set(several()) == {1}  # as the steps were repeated
    train, _ = features()
    assert [error.value.step] == [step for step in range(6) if 13 in data.indices(train, 4, step, shuffle=True)]
    assert "example 13" in str(error.value)
    assert (tmp_path / "nonfinite.json").is_file()
