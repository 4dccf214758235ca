"""Hides what libraries write to file descriptor 2 outside of Python, and shows it if the process fails.

TensorFlow, its converter and LiteRT write start messages and notes with C++, before and beside their logging settings. From
`hide` on, such text goes to a small program, which keeps the end of it. Python's own `sys.stderr` keeps its place, so
messages, warnings and tracebacks appear as before. The program prints what it has kept if the process asks for it, or dies
without a word, as in a failed check, a segmentation fault or a kill. Must not import TensorFlow.
"""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from kerastrain.system import kept_output_program
from kerastrain.system.kept_output_program import HIDE, SHOW

_WAIT_SECONDS = 5.0


class _Hidden:
    """The state to return to."""

    def __init__(self):
        sys.stderr.flush()
        reading, writing = os.pipe()
        self.descriptor = os.dup(2)
        try:
            self.keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(kept_output_program.__file__))],
                stdin=reading,
                stdout=subprocess.DEVNULL,
                stderr=self.descriptor,
                start_new_session=True,  # Ctrl-C must not end it.
            )
        except OSError:
            for descriptor in (reading, writing, self.descriptor):
                os.close(descriptor)
            raise
        os.close(reading)
        os.dup2(writing, 2)
        os.close(writing)
        self.stream = sys.stderr
        if _descriptor(self.stream) == 2:
            raw = io.FileIO(self.descriptor, "w", closefd=False)
            sys.stderr = io.TextIOWrapper(raw, self.stream.encoding, self.stream.errors, write_through=True)

    def end(self, *, show: bool) -> None:
        with contextlib.suppress(BrokenPipeError):  # Somebody has ended the program.
            os.write(2, SHOW if show else HIDE)
        os.dup2(self.descriptor, 2)
        if _descriptor(self.stream) == 2:
            sys.stderr = self.stream
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.keeper.wait(_WAIT_SECONDS)
        os.close(self.descriptor)


_hidden: _Hidden | None = None
_depth = 0


@contextlib.contextmanager
def may_hide() -> Iterator[None]:
    """Context manager in which `hide` works. At the end the text is shown if an exception other than SystemExit passes.

    Yields:
        None.
    """
    global _depth, _hidden
    _depth += 1
    show = False
    try:
        yield
    except Exception:
        show = True
        raise
    finally:
        _depth -= 1
        if _depth == 0 and _hidden is not None:
            hidden, _hidden = _hidden, None
            hidden.end(show=show)


def hide() -> None:
    """Hides the text until the end of `may_hide`; does nothing outside of it, or if it is hidden already."""
    global _hidden
    if _depth and _hidden is None and sys.executable:
        with contextlib.suppress(OSError):  # Where no process can be started, the text stays visible.
            _hidden = _Hidden()


def write(text: str) -> None:
    """Writes a message past the hidden text without locks, as a signal handler must.

    Args:
        text: str.
    """
    os.write(2 if _hidden is None else _hidden.descriptor, text.encode())


def _descriptor(stream) -> int | None:
    try:
        return stream.fileno()
    except (AttributeError, OSError, ValueError):
        return None  # a stream in memory, such as that of a test or a notebook
