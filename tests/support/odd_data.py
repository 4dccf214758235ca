"""Builds the data that a file in `tests/odd_data` describes, and returns what `kerastrain check` says about them.

Run as a program, it prints what is said about each of the named files, or writes it into them with `--write`:

    python tests/support/odd_data.py [--write] tests/odd_data/*.yaml
"""

import contextlib
import io
import itertools
import os
import re
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import yaml
from PIL import Image

from kerastrain import cli

_BRACES = re.compile(r"\{([^{}]*)\}")


def build(case: dict, folder: Path) -> None:
    """Writes the files of a case.

    Args:
        case: dict, from a file in `tests/odd_data`. `images` and the keys of `files` are patterns such as
            "{cat,dog}/{01..10}.png"; `{}` in the content of a file is its number. `arrays` are those of an .npz file.
        folder: Path of an existing folder.
    """
    for name in case.get("folders", []):
        (folder / name).mkdir(parents=True)
    for name in itertools.chain.from_iterable(map(expanded, case.get("images", []))):
        path = _parent(folder / name)
        red, green, blue, _ = zlib.crc32(name.encode()).to_bytes(4, "big")
        Image.new("RGB", (12, 12), (red, green, blue)).save(path)
    for pattern, content in case.get("files", {}).items():
        text, encoding = (content, "utf-8") if isinstance(content, str) else (content["text"], content["encoding"])
        for number, name in enumerate(expanded(pattern)):
            numbered = text.replace("{}", str(number)) if "{" in pattern else text
            _parent(folder / name).write_bytes(numbered.encode(encoding))
    if "arrays" in case:
        np.savez(folder / case["path"], **{name: _array(text) for name, text in case["arrays"].items()})


def said(case: dict) -> str:
    """Returns what `kerastrain check` prints about a case: how the data are understood, or why they are refused.

    Args:
        case: dict, as for `build`.

    Returns:
        str, lines without the plan of the training, with paths relative to the folder of the case.
    """
    output, errors = io.StringIO(), io.StringIO()
    arguments = ["kerastrain", "check", f"data.path={case.get('path', '.')}", *case.get("settings", [])]
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent, "data").resolve()
        folder.mkdir()
        build(case, folder)
        with (
            _inside(folder),
            mock.patch.object(sys, "argv", arguments),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(errors),
            contextlib.suppress(SystemExit),
        ):
            cli.main()
        text = errors.getvalue() or output.getvalue().split("\n\n", 1)[1].split("┏")[0]
        lines = [line for line in text.splitlines() if not line.startswith("few examples: ")]
        return "\n".join(lines).replace(f"{folder}{os.sep}", "").replace(str(folder), "data") + "\n"


def expanded(pattern: str) -> list[str]:
    """Expands the first braces of a pattern, and then the others.

    Args:
        pattern: str, such as "{cat,dog}/{1..3}.png".

    Returns:
        list of str.
    """
    braces = _BRACES.search(pattern)
    if braces is None:
        return [pattern]
    first, dots, last = braces[1].partition("..")
    values = braces[1].split(",")
    if dots:
        values = [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]
    head, tail = pattern[: braces.start()], pattern[braces.end() :]
    return [name for value in values for name in expanded(f"{head}{value}{tail}")]


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)  # contextlib.chdir came with Python 3.11.
    try:
        yield
    finally:
        os.chdir(before)


def _parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _array(text: str) -> np.ndarray:
    """Draws an array from a description such as "uint16 40 8 8" or "classes 40 4"."""
    kind, *numbers = text.split()
    shape = tuple(map(int, numbers))
    if kind == "classes":
        return np.arange(shape[0]) % shape[1]
    values = np.random.default_rng(0).random(shape)
    return (
        values.astype(np.float32) if kind == "unit" else (values * {"uint8": 255, "uint16": 50_000}[kind]).astype(kind)
    )


if __name__ == "__main__":
    for name in sys.argv[1:]:
        if name == "--write":
            continue
        content = Path(name).read_text(encoding="utf-8")
        message = said(yaml.safe_load(content))
        print(f"--- {Path(name).stem}\n{message}")
        if "--write" in sys.argv:
            lines = "".join(f"  {line}\n" for line in message.splitlines())
            head = content[: content.index("says:")]
            Path(name).write_text(f"{head}says: |\n{lines}", encoding="utf-8")
