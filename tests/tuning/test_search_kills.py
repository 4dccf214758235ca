import os
import signal
import time

import pytest
import search_kills


def leave_running(place, *names, trials=24, environment):
    """The processes of a search over machines by their names."""
    running = {}
    for name in names:
        whole = {**environment, "KERASTUNER_TUNER_ID": name}
        if name == "chief":
            running[name] = search_kills.start(search_kills.chief, place, "random", trials, 5.0, environment=whole)
        else:
            running[name] = search_kills.start(search_kills.worker, place, 10.0, environment=whole)
    return running


def wait_for_lines(directory, count):
    deadline = time.monotonic() + 120
    while search_kills.lines(directory) < count:
        assert time.monotonic() < deadline, "the search does not begin"
        time.sleep(0.01)


@pytest.fixture
def environment():
    return {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(search_kills.free_port())}


@pytest.mark.slow
def test_a_search_that_is_killed_ends_as_one_that_is_not(tmp_path):
    tally = search_kills.campaign("random", 2, seed=4, place=tmp_path)
    assert tally.total() - tally["ended equal"] == 2


@pytest.mark.chaos
def test_the_trial_of_a_worker_that_stays_away_goes_to_another(tmp_path, environment):
    directory = tmp_path / "search"
    running = leave_running(directory, "chief", "tuner0", "tuner1", environment=environment)
    wait_for_lines(directory, 12)
    os.kill(running["tuner0"].pid, signal.SIGKILL)
    for name in ("chief", "tuner1"):
        running[name].join(120)
        assert running[name].exitcode == 0
    search_kills.check(directory)
    assert [trial["status"] for trial in search_kills.end(directory)["trials"]] == ["completed"] * 24


@pytest.mark.chaos
def test_a_worker_whose_chief_stays_away_ends_with_the_code_to_start_it_again(tmp_path, environment):
    directory = tmp_path / "search"
    running = leave_running(directory, "chief", "tuner0", environment=environment)
    wait_for_lines(directory, 8)
    os.kill(running["chief"].pid, signal.SIGKILL)
    running["tuner0"].join(120)
    assert running["tuner0"].exitcode == 75
    running = leave_running(directory, "chief", "tuner0", environment=environment)
    for process in running.values():
        process.join(120)
        assert process.exitcode == 0
    search_kills.check(directory)
    assert len(search_kills.end(directory)["trials"]) == 24


TUNED = {  # settings of `kerastrain tune` with trials of a second
    "grid": ["algorithm=grid", "space.model.dropout=[0.0, 0.3, 0.6]"],
    "halving": ["trials=5", "pruning=halving", "space.model.dropout={min: 0.0, max: 0.6}"],
    "hyperband": ["algorithm=hyperband", "space.model.dropout={min: 0.0, max: 0.6}"],
}
SMALL = ["data.image_size=[8, 8]", "fit.head_epochs=2", "fit.epochs=1", "fit.global_batch_size=256"]


@pytest.mark.chaos
@pytest.mark.parametrize("name", sorted(TUNED))
def test_commands_of_every_kind_end_as_undisturbed_after_many_kills(tmp_path, name):
    tally = search_kills.command_campaign([*TUNED[name], *SMALL], 6, seed=1, place=tmp_path)
    assert tally.total() - tally["ended equal"] == 6


@pytest.mark.chaos
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", sorted(search_kills.SEARCHES))
def test_searches_of_every_kind_end_as_undisturbed_after_many_kills(tmp_path, name, workers):
    if name == "tpe":
        pytest.importorskip("hyperopt")
    tally = search_kills.campaign(name, 8, seed=1, place=tmp_path, workers=workers)
    assert tally.total() - tally["ended equal"] == 8


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(3))
def test_a_search_over_machines_outlives_kills_of_chief_workers_and_trials(tmp_path, seed):
    tally = search_kills.machines("random", 6, seed, tmp_path)
    assert sum(tally.values()) >= 4
