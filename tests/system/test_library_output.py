"""What C++ writes to stderr is hidden from a run that ends well, and shown by one that fails: real processes."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import os, subprocess, sys, warnings
from kerastrain.system import library_output

ending = sys.argv[1]
with library_output.may_hide():
    library_output.hide()
    os.write(2, b"I0000 00:00:17 port.cc:153] oneDNN custom operations are on\\n")
    subprocess.run(["sh", "-c", "echo F0000 Check failed: size == 3 >&2"], check=True)
    print("a message of Python", file=sys.stderr)
    warnings.warn("a warning")
    if ending == "exception":
        raise RuntimeError("boom")
    if ending == "abort":
        os.abort()
    if ending == "kill":
        os.kill(os.getpid(), 9)
    if ending == "refusal":
        sys.exit(2)
os.write(2, b"after the end\\n")
"""
HIDDEN = "F0000 Check failed: size == 3"


def ended(ending):
    """Exit code and stderr of a process; stderr ends when the last program that holds it has ended."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, ending], capture_output=True, text=True, timeout=30)
    return done.returncode, done.stderr


@pytest.mark.parametrize(("ending", "code"), [("well", 0), ("refusal", 2)])
def test_nothing_is_shown_of_a_process_that_ends_in_order(ending, code):
    returned, errors = ended(ending)
    assert returned == code
    assert HIDDEN not in errors
    assert errors.startswith("a message of Python\n")
    assert "UserWarning: a warning" in errors
    assert errors.endswith("after the end\n") is (ending == "well")


@pytest.mark.parametrize(("ending", "code"), [("exception", 1), ("abort", -signal.SIGABRT), ("kill", -signal.SIGKILL)])
def test_the_text_is_shown_of_a_process_that_fails_even_without_a_word(ending, code):
    returned, errors = ended(ending)
    assert returned == code
    assert f"kerastrain: the libraries printed before the end:\n{HIDDEN}\n" in errors
    assert "oneDNN" not in errors  # a note of every start explains no failure
    if ending == "exception":
        assert errors.endswith("RuntimeError: boom\n")


def test_outside_of_the_command_line_nothing_is_hidden():
    script = "import os; from kerastrain.system import library_output as l; l.hide(); os.write(2, b'there')"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True).stderr == b"there"
