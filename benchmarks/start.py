"""Seconds from the shell to the help, to the first epoch and to the end of the demo, beside the imports that they need.

    python benchmarks/start.py [--repeats 3] [--cores 2] [--write] [SECTION.KEY=VALUE ...]

The rival of the help is an interpreter that imports Typer, and that of the demo one that imports TensorFlow and Keras, without
which nothing of it can start: `python -c "import tensorflow, keras"`. The demo is `kerastrain train` on the bundled digits, with
the settings that are given. "first epoch" is the line of the first epoch, which is printed after its steps and its validation, so
that the first step is earlier; "tracing" is the line before the first step. Every command is a process of its own, the commands
take turns, and the first turn, which fills the caches of the disk, is not counted. Processor seconds are those of the process and
of what it has started, at the line or at the end. The table contains medians over the repeats with their range, and the ratio to
the rival's in the same turn.

--write writes the table to benchmarks/RESULTS.md, replacing an earlier one of the same title.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import results

TITLE = "From the shell to the first training step"
RIVALS = {"help": "import typer", "demo": "import tensorflow, keras"}
LINES = {
    "tracing": r"tracing the first step of phase head",
    "first epoch": r"head epoch 1/|head epoch 1 ",
}
ROWS = (("help", "help"), ("tracing", "demo"), ("first epoch", "demo"), ("end", "demo"))
GOALS = {"help": 0.3, "first epoch": 12.0}  # seconds


def processor_seconds(pid):
    """Processor seconds of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def timed(command, lines, folder):
    """{name: (seconds, processor seconds)} of a command at each of the `lines` that it prints, and at its "end"."""
    found, start = {}, time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace"
    )
    for line in process.stdout:
        for name, pattern in lines.items():
            if name not in found and re.match(pattern, line):
                found[name] = (time.perf_counter() - start, processor_seconds(process.pid))
    _, status, usage = os.wait4(process.pid, 0)
    found["end"] = (time.perf_counter() - start, usage.ru_utime + usage.ru_stime)
    if os.waitstatus_to_exitcode(status) or len(found) != len(lines) + 1:
        raise SystemExit(f"{command} ended with {os.waitstatus_to_exitcode(status)}, after {', '.join(found)}.")
    return found


def turn(settings):
    """{row: ((seconds, processor seconds), (those of the rival))}, of one process for each command."""
    kerastrain = [sys.executable, "-m", "kerastrain"]
    with tempfile.TemporaryDirectory() as folder:
        rivals = {name: timed([sys.executable, "-c", code], {}, folder)["end"] for name, code in RIVALS.items()}
        shown = timed([*kerastrain, "--help"], {}, folder)
        demo = timed([*kerastrain, "train", "--run", "run", *settings], LINES, folder)
    ours = {**demo, "help": shown["end"]}
    return {row: (ours[row], rivals[rival]) for row, rival in ROWS}


def table(turns):
    """A Markdown table of all rows; records their figures."""
    lines = [
        "| until | seconds | goal | processor seconds | rival | its seconds | ratio of seconds | of processor seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row, rival in ROWS:
        ours, theirs = ([each[row][place] for each in turns] for place in (0, 1))
        seconds, processor = ([pair[place] for pair in ours] for place in (0, 1))
        ratios, processor_ratios = (
            [own[place] / other[place] for own, other in zip(ours, theirs, strict=True)] for place in (0, 1)
        )
        goal = f"{GOALS[row]:g}" if row in GOALS else ""
        cells = [row, ranged(seconds), goal, ranged(processor), f"`{RIVALS[rival]}`"]
        cells += [f"{statistics.median(pair[0] for pair in theirs):.2f}", ranged(ratios), ranged(processor_ratios)]
        lines.append(f"| {' | '.join(cells)} |")
        results.record(f"{row}, processor seconds, times the rival", *results.spread(processor_ratios))
    return "\n".join(lines)


def ranged(values):
    """The median of repeats, with the least and the greatest."""
    median, least, greatest = results.spread(values)
    return f"{median:.2f} ({least:.2f} to {greatest:.2f})"


def main():
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", nargs="*", metavar="SECTION.KEY=VALUE", help="settings of the demo")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cores", type=int, default=2, help="cores that the processes may use")
    parser.add_argument("--write", action="store_true", help="write the table to RESULTS.md")
    options = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    turns = []
    for number in range(options.repeats + 1):
        turns.append(turn(options.settings))
        seconds = ", ".join(f"{row} {ours[0]:.2f}" for row, (ours, _) in turns[-1].items())
        print(f"{'warm-up' if not number else f'repeat {number}'}: {seconds}", flush=True)
    text = table(turns[1:])
    print(text)
    if options.write:
        results.write(TITLE, f"{results.machine()}\n\n{text}")


if __name__ == "__main__":
    main()
