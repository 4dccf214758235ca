import threading

import pytest

from kerastrain.system import stopwatch
from kerastrain.system.stopwatch import Stopwatch


class Clock:
    """A clock that a test sets."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_parts_sum_to_the_whole_and_an_inner_part_takes_its_time_from_the_outer(clock):
    watch = Stopwatch(clock)
    clock.now = 1
    with watch.part("fit"):
        clock.now = 3
        watch.begin("validation")
        clock.now = 7
        watch.end("validation")
        watch.end("validation")  # which does not run
        clock.now = 8
    clock.now = 10
    assert watch.seconds() == {"rest": 3, "fit": 3, "validation": 4}
    watch.add("fit", 5)
    watch.move("waiting", 2, source="validation")
    watch.move("waiting", 99, source="validation")  # no more than there is
    assert watch.seconds() == {"rest": 3, "fit": 8, "validation": 0, "waiting": 4}


def test_an_error_ends_the_parts_that_it_left_open(clock):
    watch = Stopwatch(clock)
    with pytest.raises(ValueError, match="stop"), watch.part("fit"):
        watch.begin("validation")
        clock.now = 2
        raise ValueError("stop")
    clock.now = 5
    assert watch.seconds() == {"rest": 3, "fit": 0, "validation": 2}


def test_parts_are_measured_only_in_the_thread_of_a_running_stopwatch():
    @stopwatch.timed("work")
    def work(number, *, plus=0):
        """Adds."""
        return number + plus

    assert (work(1, plus=2), work.__name__, work.__doc__, stopwatch.running()) == (3, "work", "Adds.", None)
    with stopwatch.started() as watch:
        thread = threading.Thread(target=work, args=(1,))
        thread.start()
        thread.join()
        assert "work" not in watch.seconds()
        work(1)
        assert "work" in watch.seconds()
        assert "start" not in watch.seconds()
    stopwatch.count_start()
    for counts in (True, False):  # only the next one counts it
        with stopwatch.started() as watch:
            assert (watch.seconds().get("start", 0) > 0) == counts
    assert stopwatch.running() is None
