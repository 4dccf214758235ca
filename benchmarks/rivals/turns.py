"""Answers `benchmarks/rivals.py`, one turn at a time; runs in every environment and imports nothing of any.

A contestant prepares itself, waits for its turn, and answers with a line of JSON on standard output. What libraries print goes
to standard error.
"""

import json
import os
import sys
import time


class Turns:
    """The conversation of a contestant with the script that started it."""

    def __init__(self):
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._start = None

    def wait(self):
        """Waits for the next turn, starts its clock and returns its request, a dict; ends the process if there is none."""
        line = sys.stdin.readline()
        if not line:
            sys.exit(0)
        self._start = time.perf_counter()
        return json.loads(line)

    @property
    def seconds(self):
        """Seconds since the turn began."""
        return time.perf_counter() - self._start

    def answer(self, **facts):
        """Answers a turn; "seconds" is how long it took, unless it is given."""
        print(json.dumps({"seconds": self.seconds, **facts}), file=self._answers, flush=True)
