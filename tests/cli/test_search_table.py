"""How a search is shown while it runs: lines on a pipe, a table on a terminal."""

import io
import logging
import random
from types import SimpleNamespace

import pytest
from rich.console import Console

from kerastrain.cli.search_progress import SearchProgress
from kerastrain.cli.search_table import SearchTable, drawn
from kerastrain.cli.search_texts import number, settings
from kerastrain.tuning.events import Event


def event(kind, point, *, seed=0, values=None, **rest):
    """An event of the training `seed` of the trial `point`."""
    assignment = SimpleNamespace(point=point, seed=seed, values={"model.dropout": 0.2} if values is None else values)
    status = {"pause": "paused", "end": rest.pop("status", "completed")}.get(kind, "running")
    return Event(kind, assignment, status=status, **rest)


class Clock:
    """A clock that is set by hand."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


def progress(clock, direction="max", **rest):
    return SearchProgress("validation.accuracy", direction, clock=clock, **{"trials": 4, **rest})


def test_a_trial_has_a_line_when_it_starts_and_when_it_ends(clock):
    search = progress(clock)
    values = {"optimizer.learning_rate": 0.0123456, "model.hidden_units": [128, 64], "fine_tune.last": None}
    assert search.add(event("start", 1, values=values, epochs=10)) == (
        "trial 1 of 4 starts: optimizer.learning_rate=0.01235 model.hidden_units=[128,64] fine_tune.last=null"
    )
    assert search.add(event("epoch", 1, epoch=1, epochs=10, value=0.5)) is None
    clock.seconds = 60
    assert search.add(event("end", 1, epoch=10, epochs=10, value=0.98)) == (
        "trial 1 of 4: validation.accuracy 0.9800 (best so far); about 3.0 minutes left"
    )
    search.add(event("start", 2, epochs=10))
    clock.seconds = 120
    line = search.add(event("end", 2, epoch=10, epochs=10, value=0.97))
    assert line == "trial 2 of 4: validation.accuracy 0.9700 (best 0.9800, trial 1); about 2.0 minutes left"


def test_pruned_paused_resumed_and_failed_trials_say_so(clock):
    search = progress(clock)
    search.add(event("start", 1, epochs=9))
    assert search.add(event("pause", 1, epoch=3, epochs=9, value=0.4)).startswith(
        "trial 1 of 4 paused after epoch 3 of 9: validation.accuracy 0.4000"
    )
    assert search.add(event("resume", 1, epoch=3, epochs=9)) == "trial 1 of 4 resumes after epoch 3"
    search.add(event("end", 1, epoch=9, epochs=9, value=0.8))
    search.add(event("start", 2, epochs=9))
    line = search.add(event("end", 2, status="pruned", epoch=2, epochs=9, value=0.1))
    assert line.startswith("trial 2 of 4 pruned after epoch 2 of 9: validation.accuracy 0.1000 (best 0.8000, trial 1)")
    search.add(event("start", 3))
    line = search.add(event("end", 3, status="failed", reason="NonFiniteError: NaN at step 1"))
    assert line.startswith("trial 3 of 4 failed: NonFiniteError: NaN at step 1 (best 0.8000, trial 1)")


def test_the_lowest_loss_is_the_best(clock):
    search = progress(clock, direction="min")
    for point, value in ((1, 0.5), (2, 0.2), (3, 0.4)):
        search.add(event("end", point, value=value))
    assert (search.best.point, [one.point for one in search.ranked()]) == (2, [2, 3, 1])


def test_a_further_seed_neither_counts_as_a_trial_nor_as_the_best(clock):
    search = progress(clock, trials=2, trainings=4)
    search.add(event("end", 1, value=0.5))
    assert search.add(event("start", 1, seed=1)).startswith("trial 1 of 2, seed 2 starts")
    search.add(event("end", 1, seed=1, value=0.9))
    assert search.best.value == 0.5
    assert search.summary().startswith("trial 1 of 2 · 2 completed · best 0.5000 (trial 1)")


def test_the_time_left_counts_running_epochs_and_keeps_to_the_limit(clock):
    search = progress(clock)
    assert search.left_seconds is None
    search.add(event("start", 1, epochs=10))
    clock.seconds = 90
    search.add(event("end", 1, epoch=10, epochs=10, value=0.5))
    search.add(event("epoch", 2, epoch=5, epochs=10, value=0.1))
    assert search.left_seconds == pytest.approx(90 * 2.5 / 1.5)
    limited = progress(clock, minutes=2)
    clock.seconds += 30
    assert limited.left_seconds == 90


def test_a_resumed_search_shows_what_is_done_and_measures_its_own_pace(clock):
    done = {"status": "completed", "values": {}, "epochs": 9, "reason": None}
    earlier = [{"point": 1, "score": 0.9, "scores": [0.9], **done}, {"point": 2, "score": 0.7, "scores": [0.7], **done}]
    search = progress(clock, earlier=earlier)
    assert search.best.point == 1
    search.add(event("start", 3, epochs=9))
    clock.seconds = 30
    line = search.add(event("end", 3, epoch=9, epochs=9, value=0.8))
    assert line == "trial 3 of 4: validation.accuracy 0.8000 (best 0.9000, trial 1); about 30 seconds left"


def test_a_trial_that_ran_when_the_search_was_killed_does_not_run_until_it_resumes(clock):
    done = {"values": {}, "epochs": 3, "reason": None}
    earlier = [
        {"point": 1, "score": 0.9, "scores": [0.9, None], "status": "completed", **done},
        {"point": 2, "score": None, "scores": [None], "status": "running", **done},
    ]
    search = progress(clock, earlier=earlier)
    assert search.summary() == "trial 2 of 4 · 1 completed · 1 paused · best 0.9000 (trial 1)"
    search.add(event("resume", 2, epoch=3, epochs=9))
    assert search.summary() == "trial 2 of 4 · 1 completed · best 0.9000 (trial 1)"


def test_the_best_is_the_highest_of_all_completed_trials_in_any_order_of_events(clock):
    """Random events of two workers, against a plain loop over the ended trials."""
    dice = random.Random(0)
    for _ in range(50):
        search, ended = progress(clock, trials=None), {}
        for point in range(1, 10):
            search.add(event("start", point, epochs=3))
            for epoch in range(1, dice.randint(1, 3) + 1):
                search.add(event("epoch", point, epoch=epoch, epochs=3, value=dice.random()))
            status, value = dice.choice(["completed", "pruned", "failed"]), dice.random()
            search.add(event("end", point, status=status, value=value, epoch=3, epochs=3))
            if status == "completed":
                ended[point] = value
        assert getattr(search.best, "value", None) == max(ended.values(), default=None)


def terminal(height=20, width=100):
    stream = io.StringIO()
    stream.isatty = lambda: True
    console = Console(
        file=stream, force_terminal=True, width=width, height=height, color_system=None, legacy_windows=False
    )
    return console, stream


def test_a_terminal_shows_running_trials_above_the_best(clock):
    search = progress(clock, trials=30)
    for point in range(1, 25):
        search.add(event("end", point, value=point / 100, epoch=9, epochs=9))
    search.add(event("epoch", 25, epoch=3, epochs=9, value=0.5))
    clock.seconds = 73
    console, stream = terminal()
    console.print(drawn(search, rows=5))
    lines = [line.split() for line in stream.getvalue().splitlines() if line.strip()]
    assert " ".join(lines[0]) == "trial 25 of 30 · 24 completed · best 0.2400 (trial 24) · about 17 seconds left"
    assert [line[:2] for line in lines[3:8]] == [
        ["25", "running"],
        ["24", "best"],
        ["23", "completed"],
        ["22", "completed"],
        ["21", "completed"],
    ]
    assert lines[3][2:6] == ["3", "of", "9", "0.5000"]
    assert " ".join(lines[8]) == "… and 20 more"


def test_values_with_control_characters_are_escaped_in_the_table_and_in_lines(clock):
    search = progress(clock)
    nasty = {"data.path": "cats\x1b[2J[bold]x\u202e"}
    search.add(event("epoch", 1, values=nasty, value=0.5))
    console, stream = terminal()
    console.print(drawn(search, rows=5))
    assert "path=cats\\x1b[2J[bold]x\\u202e" in stream.getvalue()
    assert "\x1b[2J" not in stream.getvalue()


@pytest.fixture
def logged():
    """The lines of the logger, as the command line prints them."""
    stream, logger = io.StringIO(), logging.getLogger("kerastrain")
    handler, before, level = logging.StreamHandler(stream), logger.handlers, logger.level
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    yield stream
    logger.handlers = before
    logger.setLevel(level)


def test_a_pipe_gets_lines_and_no_epochs(clock, logged):
    with SearchTable(progress(clock), Console(file=io.StringIO())) as table:
        table.show(event("start", 1, epochs=9))
        for epoch in range(1, 10):
            table.show(event("epoch", 1, epoch=epoch, epochs=9, value=0.5))
        table.show(event("end", 1, epoch=9, epochs=9, value=0.5))
    assert [line.split(";")[0] for line in logged.getvalue().splitlines()] == [
        "trial 1 of 4 starts: model.dropout=0.2",
        "trial 1 of 4: validation.accuracy 0.5000 (best so far)",
    ]


def test_a_terminal_keeps_failures_and_messages_and_the_table_vanishes(clock, logged):
    console, stream = terminal()
    with SearchTable(progress(clock), console) as table:
        table.show(event("start", 1, epochs=9))
        logging.getLogger("kerastrain").info("loading [the] backbone")
        table.show(event("end", 1, epoch=9, epochs=9, value=0.5))
        table.show(event("end", 2, status="failed", reason="out of memory"))
    printed = stream.getvalue()
    assert "loading [the] backbone\n" in printed
    assert "trial 2 of 4 failed: out of memory" in printed
    assert "starts" not in printed
    assert printed.index("trial 2 of 4 failed") > printed.index("backbone")
    assert printed.endswith("\x1b[2K") or "\x1b[?25h" in printed  # the table is erased, the cursor is shown
    logging.getLogger("kerastrain").info("afterwards")
    assert logged.getvalue() == "afterwards\n"


def test_numbers_and_settings_are_short():
    assert [number(value) for value in (0.0, 1.0, 0.98765, 2e-5, -3.5, 123456.0)] == [
        "0.0000",
        "1.0000",
        "0.9877",
        "2e-05",
        "-3.5000",
        "123,456",
    ]
    assert settings({}) == "the recipe as it is"
    assert settings({"a.b": True, "c.d": "text", "e.f": 7}) == "a.b=true c.d=text e.f=7"
