"""Real signals to real processes: when they stop, with which exit code, and what is left behind."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from kerastrain.system import signals

PROGRAM = """
import sys, time
from kerastrain.system import files, signals
def idle(seconds):
    for _ in range(int(seconds * 100)):
        time.sleep(0.01)
with signals.graceful():
    BODY
print("through")
"""
STEPS = """signals.hold()
    print("ready", flush=True)
    for step in range(1000):
        time.sleep(0.01)
        if signals.pending():
            print("saved", flush=True)
            signals.raise_if_pending(f"step {step}")"""


def outcome(body, *numbers, ignored=None):
    """Exit code, output and errors of a process that receives the signals `numbers` once it has printed a line."""

    def ignore():
        if ignored is not None:
            signal.signal(ignored, signal.SIG_IGN)

    command = [sys.executable, "-c", PROGRAM.replace("BODY", body)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=ignore
    ) as process:
        assert process.stdout.readline() == "ready\n"
        for count, number in enumerate(numbers):
            if count:
                assert process.stderr.readline() == "\n"  # The start of the reply to the previous signal.
            process.send_signal(number)
        out, err = process.communicate("the signals were sent\n", timeout=60)
    return process.returncode, out, err


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_a_signal_waits_for_the_step_and_ends_with_the_code_that_says_resume_me(number):
    code, out, _ = outcome(STEPS, number)
    assert (code, out) == (75, "saved\n")


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_outside_of_steps_a_signal_stops_at_once(number):
    code, out, _ = outcome('print("ready", flush=True); idle(60)', number)
    assert (code, out) == (75, "")


def test_a_second_interrupt_leaves_at_once_and_leaves_nothing_torn(tmp_path):
    body = f"""signals.hold()
    with files.atomic({str(tmp_path / "model.keras")!r}) as temporary:
        temporary.write_text("half")
        print("ready", flush=True)
        idle(60)"""
    code, _, err = outcome(body, signal.SIGINT, signal.SIGINT)
    assert code == -signal.SIGINT
    assert "KeyboardInterrupt" in err
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_a_library_that_closes_twice_because_of_a_signal_does_not_hide_the_stop(number):
    """As in shutil.rmtree, when the signal falls between closing a folder and noting that it is closed."""
    body = """import os
    descriptor, is_closed = os.dup(0), False
    try:
        os.close(descriptor)
        print("ready", flush=True)
        idle(60)
        is_closed = True
    finally:
        if not is_closed:
            os.close(descriptor)"""
    assert outcome(body, number)[:2] == (75, "")


def test_an_error_without_a_signal_is_raised_as_it_is():
    with pytest.raises(OSError, match="Bad file descriptor"), signals.graceful():
        os.close(10**6)


def test_the_first_interrupt_says_what_happens():
    _, _, err = outcome(STEPS, signal.SIGINT)
    assert "finishing the step and saving; press Ctrl-C again to quit at once" in err


def test_a_signal_that_nobody_saved_for_stops_at_the_end_of_the_block():
    body = 'signals.hold(); print("ready", flush=True); input(); signals.release(); print("step")'
    code, out, _ = outcome(body, signal.SIGTERM)
    assert (code, out) == (75, "step\n")


def test_an_ignored_signal_stays_ignored():
    code, out, _ = outcome('print("ready", flush=True); input()', signal.SIGINT, ignored=signal.SIGINT)
    assert (code, out) == (0, "through\n")


def test_what_was_stopped_says_by_what_and_where():
    assert str(signals.Stopped(signal.SIGTERM, "step 7")) == "stopped by SIGTERM; the state is saved before step 7"
    assert str(signals.Stopped(signal.SIGUSR1)) == "stopped by SIGUSR1"


def test_the_handlers_before_come_back():
    before = [signal.getsignal(number) for number in signals.SIGNALS]
    with signals.graceful():
        assert signal.getsignal(signal.SIGTERM) not in before
    assert [signal.getsignal(number) for number in signals.SIGNALS] == before


def test_another_thread_leaves_signals_alone():
    def block():
        with signals.graceful():
            inside.append(signal.getsignal(signal.SIGTERM))

    inside = []
    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert inside == [signal.getsignal(signal.SIGTERM)]
