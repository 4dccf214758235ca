import keras
import pytest
import tensorflow as tf

from kerastrain import config as configs
from kerastrain import finders, recipe, run_directory, testing
from kerastrain.errors import InputError
from kerastrain.recipe import precision_and_xla

STEP_SECONDS = {"float32": 0.5, "mixed_bfloat16": 0.2}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    inputs = keras.Input((8, 8, 3))
    keras.Model(inputs, keras.layers.Conv2D(4, 3, strides=2, name="maps")(inputs)).save(folder / "network.keras")
    testing.colour_folder(folder / "colours", count=8)
    return folder


@pytest.fixture
def clock(monkeypatch, tmp_path):
    """The names of the settings that were timed, on a machine with bfloat16 and with nothing remembered."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(finders, "precisions", lambda: {"mixed_bfloat16": "amx_bf16"})
    timed = []

    def step_seconds(model, batch, *, jit_compile, name):
        assert model.get_layer("backbone").dtype_policy.name == name
        timed.append(name)
        return finders.StepTiming(name, 1.0, STEP_SECONDS[name])

    monkeypatch.setattr(finders, "step_seconds", step_seconds)
    return timed


def config(place, *overrides):
    own = [f"data.path={place / 'colours'}", f"model.backbone={place / 'network.keras'}", "model.dropout=0"]
    return configs.load(None, [*own, "fit.global_batch_size=4", "export.formats=[]", *overrides])


def chosen(prepared):
    return prepared.config.runtime.precision, prepared.config.runtime.jit_compile


def test_a_short_run_is_not_delayed_and_says_why(place, clock, caplog):
    with caplog.at_level("INFO", logger="kerastrain"):
        prepared = recipe.prepare(config(place))
    assert (chosen(prepared), clock, prepared.timings) == (("float32", "keras"), [], ())
    [line] = [record.getMessage() for record in caplog.records if record.getMessage().startswith("precision")]
    assert line.startswith("precision: float32; the run's ")
    assert line.endswith(" ms are too few to measure others")


def test_a_long_run_measures_once_and_the_next_one_remembers(place, clock, caplog):
    long = config(place, "fit.epochs=100000")
    prepared = recipe.prepare(long)
    # The steps of this network are predicted to be short, so only their number makes the run long.
    assert clock == ["float32", "mixed_bfloat16"]
    assert chosen(prepared) == ("mixed_bfloat16", "keras")
    assert [timing["name"] for timing in prepared.timings] == clock
    assert prepared.build().get_layer("backbone").dtype_policy.name == "mixed_bfloat16"
    with caplog.at_level("INFO", logger="kerastrain"):
        again = recipe.prepare(config(place, "optimizer.learning_rate=0.1"))  # which is short
    assert (chosen(again), clock) == (("mixed_bfloat16", "keras"), ["float32", "mixed_bfloat16"])
    expected = "measured by an earlier run on this machine: float32 500 ms a step, mixed_bfloat16 200 ms a step"
    assert f"precision: mixed_bfloat16; {expected}" in caplog.messages
    assert again.build().get_layer("backbone").dtype_policy.name == "mixed_bfloat16"
    recipe.prepare(config(place, "fit.epochs=100000", "fit.global_batch_size=2"))
    assert len(clock) == 4


def test_what_a_run_was_told_to_measure_is_remembered_for_those_that_choose(place, clock):
    split = recipe.load_data(config(place), (8, 8))
    measured, _ = recipe.with_measured_precision(config(place, "runtime.precision=measure"), split)
    again, timings = recipe.with_measured_precision(config(place), split)
    assert (again.runtime, timings, len(clock)) == (measured.runtime, [], 2)
    assert again.runtime.precision == "mixed_bfloat16"


def test_the_measured_step_has_the_last_word(place, clock, monkeypatch):
    monkeypatch.setattr(precision_and_xla, "_predicted_step_seconds", lambda question: [1000.0])
    monkeypatch.setitem(STEP_SECONDS, "float32", 1e-4)
    prepared = recipe.prepare(config(place))
    assert (chosen(prepared), clock) == (("float32", "keras"), ["float32"])


def test_trials_leave_the_model_of_the_run_as_it_was(place, clock, monkeypatch):
    monkeypatch.setitem(STEP_SECONDS, "mixed_bfloat16", 0.48)  # saves less than a tenth
    plain = recipe.prepare(config(place, "runtime.precision=float32")).build()
    keras.backend.clear_session(free_memory=False)
    prepared = recipe.prepare(config(place, "fit.epochs=100000"))
    assert (chosen(prepared), len(clock)) == (("float32", "keras"), 2)
    for weight, same in zip(plain.weights, prepared.build().weights, strict=True):
        assert weight.path == same.path
        assert bool(tf.reduce_all(weight.value == same.value))


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["fit.epochs=0"], "only the head trains"),
        (["fit.epochs=100000", "runtime.deterministic=true"], "would not be deterministic"),
        (["fit.epochs=100000", "runtime.precision=float32"], None),
    ],
)
def test_runs_that_are_not_measured_however_long(place, clock, caplog, overrides, reason):
    own = config(place, *overrides)
    split = recipe.load_data(own, (8, 8))
    with caplog.at_level("INFO", logger="kerastrain"):
        settled, timings = recipe.with_measured_precision(own, split)
    assert (settled.runtime.precision, settled.runtime.jit_compile, timings) == ("float32", "keras", [])
    assert not clock
    assert reason is None or reason in caplog.text


def test_a_resumed_or_repeated_run_has_what_the_run_has_chosen(place, tmp_path):
    opened = config(place)
    own = configs.automatic.with_runtime(opened, precision="mixed_bfloat16", jit_compile=False)
    path = tmp_path / "config.yaml"
    path.write_text(configs.dump(own))
    assert run_directory.resumable(tmp_path) == configs.load(path) == own
    assert run_directory.resumable(tmp_path, opened) == own
    assert configs.automatic.open_keys(own) == []
    # Runs of version 0.3 have an "auto" that was Keras's rule.
    path.write_text(configs.dump(configs.automatic.with_runtime(opened, precision="float32")))
    assert configs.automatic.open_keys(run_directory.resumable(tmp_path)) == []
    with pytest.raises(InputError, match="runtime.precision='mixed_bfloat16' .in the run 'float32'"):
        run_directory.resumable(tmp_path, own)
