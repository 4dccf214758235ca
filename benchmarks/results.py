"""Reads the cells that a benchmark has measured, records its figures, and writes its results with the machine."""

import json
import os
import platform
import shlex
import statistics
import sys
from pathlib import Path

FIGURES = "KERASTRAIN_FIGURES"  # environment variable: the file of JSON lines to which figures are appended


def machine():
    """One sentence about the machine and the versions."""
    kind, versions = machine_kind()
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{kind}, load {os.getloadavg()[2]:.1f}, {listed}."


def machine_kind():
    """("2 cores of MODEL", {"Python": version, "TensorFlow": version, "Keras": version})."""
    from importlib import metadata

    from kerastrain.errors import counted

    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine())
    versions = {name: metadata.version(name.lower()) for name in ("TensorFlow", "Keras")}
    return (
        f"{counted(len(os.sched_getaffinity(0)), 'cores')} of {model}",
        {"Python": platform.python_version(), **versions},
    )


def record(name, value, low=None, high=None, *, better="lower"):
    """Records a headline figure of a benchmark, if `benchmarks/all.py` runs it.

    Args:
        name: str, what it measures and in which unit, unique in the benchmark: "second epoch, times the rival".
        value: float, the figure, such as the median of the repeats.
        low: float, the least of the repeats; None if it was measured once.
        high: float, the greatest of the repeats; None if it was measured once.
        better: "lower" or "higher".

    Raises:
        ValueError: `better` is another word.
    """
    if better not in ("lower", "higher"):
        raise ValueError(f"`better` must be 'lower' or 'higher'. Received: {better!r}.")
    if path := os.environ.get(FIGURES):
        figure = {"name": name, "value": float(value), "low": low, "high": high, "better": better}
        figure |= {bound: float(figure[bound]) for bound in ("low", "high") if figure[bound] is not None}
        with open(path, "a") as file:
            file.write(json.dumps(figure) + "\n")


def spread(values):
    """(median, least, greatest) of repeats, as `record` takes them."""
    return statistics.median(values), min(values), max(values)


def share(count, of):
    """(share, least, greatest) of `count` right answers among `of`, by Wilson's interval of 95 %, as `record` takes them."""
    from kerastrain.evaluation import intervals

    return count / of, *intervals.wilson(int(count), int(of))


def cells(path):
    """The cells in a file of JSON lines by their keys; none if there is no file."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {tuple(cell["key"]): cell for cell in map(json.loads, lines)}


def add_cell(path, cell):
    """Appends a cell to its file, so that a benchmark that is interrupted goes on after it."""
    with open(path, "a") as file:
        file.write(json.dumps(cell) + "\n")


def write(title, text):
    """Writes a section with its command to RESULTS.md, in the place of the section of the same title or else at the end."""
    words = [Path(sys.argv[0]).name, *(word for word in sys.argv[1:] if word not in ("--write", "--table"))]
    # Paths outside the repository are shortened to their names.
    command = shlex.join(Path(word).name if word.startswith("/") else word for word in words)
    path = Path(__file__).with_name("RESULTS.md")
    head, *sections = (path.read_text() if path.exists() else "# Measured\n").split("\n## ")
    sections = {section.splitlines()[0]: section.strip() for section in sections}
    sections[title] = f"{title}\n\n`benchmarks/{command}`\n\n{text}"
    path.write_text("\n\n## ".join([head.strip(), *sections.values()]) + "\n")
