"""Runs the command line in the process of the test."""

import io
import sys

from kerastrain import cli


def runner(monkeypatch, capsys, *words):
    """A function that runs `kerastrain`, `words` and its arguments, and returns what was printed on stdout and on stderr."""

    def call(*arguments, code=0, stdin=""):
        monkeypatch.setattr(sys, "argv", ["kerastrain", *words, *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        try:
            cli.main()
            ended = 0
        except SystemExit as end:
            ended = end.code or 0
        captured = capsys.readouterr()
        assert ended == code, captured
        return captured.out, captured.err

    return call
