"""Starts contestants and has them take turns.

A `Process` prepares itself once and works when it is told to (see `turns.py`); a `Command` is a process of its own in each
turn, as from the shell. Both have `turn`, which returns facts with "seconds". Must not know what is measured.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
LINES_SHOWN = 15  # of the errors of a contestant that fails


class ContestantError(Exception):
    """A contestant failed; the message has its last words."""


class Process:
    """A contestant that stays and takes turns; it starts in its first one, so that contestants do not disturb each other.

    Args:
        python: Path of the interpreter of its environment.
        script: str, a script of this folder.
        arguments: its arguments.
        log: Path of the file for what it prints.
    """

    def __init__(self, python, script, *arguments, log):
        self.command = [python, HERE / script, *map(str, arguments)]
        self.log, self.process = log, None

    def turn(self, **request):
        """Has it work once.

        Returns:
            dict with "seconds".

        Raises:
            ContestantError: it ended.
        """
        if self.process is None:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            with self.log.open("w") as file:
                self.process = subprocess.Popen(self.command, **pipes, stderr=file, text=True)
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise ContestantError(last_lines(self.log))
        return json.loads(line)

    def close(self):
        """Ends it."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()


class Command:
    """A contestant that is a command; `facts` is called after each turn with when it began and ended, for what else is known."""

    def __init__(self, make_command, *, log, facts=None):
        self.make_command, self.log, self.facts = make_command, log, facts
        self.turns = 0

    def turn(self, **_):
        """Runs the command.

        Returns:
            dict with "seconds" and what `facts` returns.

        Raises:
            ContestantError: it failed.
        """
        command = [str(word) for word in self.make_command(self.turns)]
        with self.log.open("a") as file, tempfile.TemporaryDirectory() as cache:
            started = time.time()
            code = subprocess.run(command, stdout=file, stderr=file, env=environment(cache)).returncode
            ended = time.time()
        if code:
            raise ContestantError(last_lines(self.log))
        facts = self.facts(self.turns, started, ended) if self.facts else {}
        self.turns += 1
        return {"seconds": ended - started, **facts}

    def close(self):
        """Nothing is left to end."""


def environment(cache):
    """The environment variables of a command, with an empty cache, as on a new machine."""
    return os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "XDG_CACHE_HOME": cache}


def last_lines(path):
    """The end of a log."""
    return "\n".join(path.read_text(errors="replace").strip().splitlines()[-LINES_SHOWN:])


def alternate(contestants, repeats, *, warm_up=0, request=lambda repeat: {}):
    """Has contestants take turns; the one that begins changes with the repeat.

    Args:
        contestants: dict from name to Process or Command; all are closed at the end.
        repeats: int > 0, turns of each.
        warm_up: int >= 0, turns before that are not counted.
        request: callable from the number of the repeat to what is asked of all.

    Returns:
        dict from name to a list of the facts of its turns.
    """
    facts = {name: [] for name in contestants}
    try:
        for contestant in contestants.values():
            for _ in range(warm_up):
                contestant.turn(**request(0))
        for repeat in range(repeats):
            names = [*contestants]
            for name in names[repeat % len(names) :] + names[: repeat % len(names)]:
                facts[name].append(contestants[name].turn(**request(repeat)))
                print(f"repeat {repeat + 1}, {name}: {facts[name][-1]['seconds']:.2f} s", file=sys.stderr, flush=True)
    finally:
        for contestant in contestants.values():
            contestant.close()
    return facts
