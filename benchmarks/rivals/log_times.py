"""Where the time of a run went, by what it logged."""

import datetime
import logging
import time

_MOST = 5  # parts that are named
_LONGEST = 60  # characters of a message


class LogTimes(logging.Handler):
    """Records when kerastrain logged what, inside a `with` block."""

    def __init__(self):
        super().__init__(logging.INFO)
        self.lines = []

    def __enter__(self):
        self.start = time.perf_counter()
        logger = logging.getLogger("kerastrain")
        logger.addHandler(self)
        logger.setLevel(logging.INFO)
        return self

    def __exit__(self, *_):
        logging.getLogger("kerastrain").removeHandler(self)

    def emit(self, record):
        """Records a message with the seconds since the start."""
        self.lines.append((time.perf_counter() - self.start, record.getMessage()))

    def parts(self, seconds):
        """[[message, seconds until the next one], …], the longest first."""
        return parts(self.lines, seconds)


def parts(lines, seconds):
    """Which message was followed by the longest times.

    Args:
        lines: list of (seconds since the start, message), in order.
        seconds: float, of the whole.

    Returns:
        list of [message, seconds until the next message], the longest first.
    """
    times = [0.0, *(when for when, _ in lines), seconds]
    messages = ["start", *(message[:_LONGEST] for _, message in lines)]
    found = [
        [message, round(after - before, 2)] for message, before, after in zip(messages, times, times[1:], strict=False)
    ]
    return sorted(found, key=lambda part: -part[1])[:_MOST]


def parts_of_run(path, started, ended):
    """The parts of a command that wrote a run's log.txt.

    Args:
        path: Path of log.txt, whose lines begin with a date and a time to the second.
        started: float, `time.time()` when the command began.
        ended: float, `time.time()` when it ended.
    """
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            when = datetime.datetime.fromisoformat(line[:19]).timestamp()
        except ValueError:  # a line of a message of several
            continue
        lines.append((max(0.0, when - started), line[20:]))
    return parts(lines, ended - started)
