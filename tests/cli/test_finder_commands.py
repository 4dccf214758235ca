import commands
import pictures
import pytest

from kerastrain import testing


def output(monkeypatch, capsys, *arguments, code=0):
    return commands.runner(monkeypatch, capsys, "find")(*arguments, code=code)[1 if code else 0]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    testing.colour_folder(tmp_path / "data", count=10, size=(8, 8))
    return tmp_path


@pytest.mark.slow
def test_learning_rate_suggests_an_override_for_a_phase_and_draws(place, monkeypatch, capsys):
    out = output(monkeypatch, capsys, "learning-rate", "data.path=data", "fit.global_batch_size=8")
    assert "head" in out
    assert "optimizer.learning_rate=0." in out
    assert "plot written to learning_rate.png" in out
    assert pictures.pixels("learning_rate.png").shape == (600, 1050, 3)
    assert pictures.shows("learning_rate.png", "C0")  # the losses
    assert sorted(path.name for path in place.iterdir()) == ["data", "learning_rate.png"]


@pytest.mark.chaos
def test_learning_rate_of_a_later_phase_trains_those_before_it(place, monkeypatch, capsys):
    out = output(
        monkeypatch,
        capsys,
        "learning-rate",
        "data.path=data",
        "fit.head_epochs=2",
        "--phase",
        "fine_tune",
        "--plot",
        "a.svg",
    )
    assert "fine_tune" in out
    assert sorted(path.name for path in place.iterdir()) == ["a.svg", "data"]
    assert len(pictures.curves("a.svg", points=10)) == 2  # the losses, and the smoothed ones


@pytest.mark.slow
def test_batch_size_prints_a_row_for_each_size_and_draws(place, monkeypatch, capsys):
    out = output(monkeypatch, capsys, "batch-size", "data.path=data", "--phase", "head")
    assert "phase head" in out
    assert "4096 is the largest requested size" in out
    assert "largest: fit.global_batch_size=4096" in out
    assert "fastest: fit.global_batch_size=" in out
    assert pictures.pixels("batch_size.png").shape == (525, 1350, 3)
    assert pictures.shows("batch_size.png", "C0")  # speed and memory
    assert pictures.shows("batch_size.png", "tab:red")  # the fastest


def test_a_phase_that_the_config_has_not_is_one_sentence(place, monkeypatch, capsys):
    error = output(monkeypatch, capsys, "batch-size", "data.path=data", "--phase", "fine", code=2)
    assert error == "kerastrain: unknown phase 'fine'. Known: fine_tune, head. Did you mean 'fine_tune'?\n"


@pytest.mark.slow
def test_memory_counts_by_layer_and_measures_a_step(place, monkeypatch, capsys):
    options = ["data.path=data", "fit.global_batch_size=8", "memory.micro_batches=2"]
    out = output(monkeypatch, capsys, "memory", *options, "--layers", "2")
    assert "phase fine_tune: batch of 8, micro-batches 2, blocks none" in out
    assert "added by a real step (measured)" in out
    assert "HubLayer" in out
    assert sorted(path.name for path in place.iterdir()) == ["data"]
