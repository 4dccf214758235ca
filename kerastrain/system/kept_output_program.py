"""Keeps the end of what arrives on standard input, and prints it unless the sender says that it is not needed.

`library_output` runs this file as a program of its own. Must not import anything outside the standard library.
"""

import re
import sys

HIDE, SHOW = b"\0hide\n", b"\0show\n"
"""The last words of the sender: what came before is not needed, or is to be printed."""

_KEPT_BYTES = 1 << 15
# Notes of every start, which explain no failure.
_NOTES = re.compile(
    rb"[IW]\d{4} |INFO: |WARNING: All log messages before absl|To enable the following instructions|.* failed call to cuInit"
)


def main() -> None:
    """Reads until the last words or the end of the input."""
    kept = b""
    while block := sys.stdin.buffer.raw.read(1 << 16):
        kept = (kept + block)[-_KEPT_BYTES:]
        if kept.endswith(HIDE):
            return
        if kept.endswith(SHOW):
            kept = kept.removesuffix(SHOW)
            break
    lines = [line for line in kept.splitlines() if line.strip() and not _NOTES.match(line)]
    if lines:
        sys.stderr.buffer.write(b"\n".join([b"kerastrain: the libraries printed before the end:", *lines, b""]))


if __name__ == "__main__":
    main()
