"""Measures where the time of a command goes: at every moment, one named part of it runs.

Takes names; returns seconds. A part within another takes its time from it, so that all parts sum to the time of the whole. Where
no stopwatch runs, and in other threads than its own, `part` does nothing, so that any function can name its part. Must not
know what the parts mean. Must not import TensorFlow.
"""

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterator

from kerastrain.system import resources

REST = "rest"
"""The part of what no other part contains."""

START = "start"
"""The part from the start of the process to that of the stopwatch, if `count_start` was called."""

_running: "Stopwatch | None" = None
_counts_start = False


class Stopwatch:
    """The seconds of each part, from its creation on.

    Args:
        clock: callable that returns seconds.

    Attributes:
        record: dict, what its user keeps beside the seconds.

    Example:
        >>> times = iter([0.0, 1.0, 3.0, 6.0, 10.0, 12.0])
        >>> watch = Stopwatch(lambda: next(times))
        >>> with watch.part("train"), watch.part("save"):
        ...     pass
        >>> watch.seconds()
        {'rest': 3.0, 'train': 6.0, 'save': 3.0}
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self._clock, self._thread = clock, threading.get_ident()
        self._seconds, self._open, self._since = {REST: 0.0}, [REST], clock()
        self.record: dict = {}

    def seconds(self) -> dict[str, float]:
        """Returns the seconds of each part until now, in the order in which the parts began; they sum to those of the whole."""
        self._charge()
        return dict(self._seconds)

    def add(self, name: str, seconds: float) -> None:
        """Counts seconds from before the stopwatch was started.

        Args:
            name: str, the part.
            seconds: float >= 0.
        """
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    def move(self, name: str, seconds: float, *, source: str) -> None:
        """Moves seconds from one part to another, which was measured within it in another way.

        Args:
            name: str, the part that they belong to.
            seconds: float >= 0; no more are moved than `source` has.
            source: str, the part that they were counted in.
        """
        self._charge()
        seconds = min(seconds, self._seconds.get(source, 0.0))
        self.add(name, seconds)
        self.add(source, -seconds)

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Context manager whose time belongs to a part.

        Args:
            name: str, the part.

        Yields:
            None.
        """
        depth = len(self._open)
        self.begin(name)
        try:
            yield
        finally:
            self._charge()
            del self._open[depth:]  # also the parts that an error has left open

    def begin(self, name: str) -> None:
        """Begins a part that `end` ends, or the end of the part around it.

        Args:
            name: str, the part.
        """
        self._charge()
        self._seconds.setdefault(name, 0.0)
        self._open.append(name)

    def end(self, name: str) -> None:
        """Ends a part that `begin` began; does nothing if it does not run.

        Args:
            name: str, the part.
        """
        if self._open[-1] == name:
            self._charge()
            self._open.pop()

    @property
    def is_own_thread(self) -> bool:
        """Whether the calling thread created the stopwatch."""
        return threading.get_ident() == self._thread

    def _charge(self) -> None:
        now = self._clock()
        self._seconds[self._open[-1]] += now - self._since
        self._since = now


def running() -> Stopwatch | None:
    """Returns the stopwatch that runs, or None."""
    return _running


def count_start() -> None:
    """Lets the next stopwatch of this process count the time since the process began, for a command of its own."""
    global _counts_start
    _counts_start = True


@contextlib.contextmanager
def started() -> Iterator[Stopwatch]:
    """Context manager in which a stopwatch runs.

    Yields:
        Stopwatch.
    """
    global _running, _counts_start
    before, _running = _running, Stopwatch()
    if _counts_start:
        _running.add(START, resources.process_age_seconds())
        _counts_start = False
    try:
        yield _running
    finally:
        _running = before


def part(name: str) -> contextlib.AbstractContextManager:
    """Context manager whose time belongs to a part of the stopwatch that runs.

    Args:
        name: str, the part.

    Returns:
        context manager.
    """
    if _running is None or not _running.is_own_thread:
        return contextlib.nullcontext()
    return _running.part(name)


def timed(name: str) -> Callable[[Callable], Callable]:
    """Decorator of a function whose time belongs to a part.

    Args:
        name: str, the part.

    Returns:
        decorator.
    """

    def decorate(function):
        @functools.wraps(function)
        def measured(*arguments, **options):
            with part(name):
                return function(*arguments, **options)

        return measured

    return decorate
