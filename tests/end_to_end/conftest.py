"""What several of these tests use: a finished run, and the command line in this process."""

import sys

import kills
import pytest
import sharing

from kerastrain import cli


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A folder with the images and the backbone of `kills`, and a run that nothing disturbs; to be copied."""

    def make(folder):
        kills.prepare(folder)
        kills.undisturbed("run", folder)

    return sharing.once(tmp_path_factory, "kills", make)


@pytest.fixture
def kerastrain(monkeypatch, capsys):
    """A function that calls the command line in this process; it returns the exit code, the output and the errors."""

    def called(*arguments):
        monkeypatch.setattr(sys, "argv", ["kerastrain", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code or 0
        return code, *capsys.readouterr()

    return called
