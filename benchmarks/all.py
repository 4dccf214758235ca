"""Runs every benchmark, keeps their figures, and says what became worse since the last run.

    python benchmarks/all.py [--only NAME ...] [--list] [--write] [--minutes 5] [--encoder FOLDER]

All of them take less than an hour on two cores. Each runs as a command of its own, with sizes that are smaller than those of
its table in RESULTS.md, which the benchmark itself writes. One that fails, needs something that is not here, or is not
finished at its deadline (--list) is named, and costs only itself. The figures are appended to benchmarks/history.jsonl with
the date, the kind of machine and the versions, after each benchmark, and RESULTS.md shows the history, if --write is given.

A figure is worse if it moved the wrong way since the last run on the same kind of machine, by more than the range of its repeats
in either run, or by a tenth of it if it was measured once. Then the exit code is 1, as it is if a benchmark failed. On a machine
that does other work, ratios of seconds move by more than the repeats show.
"""

import argparse
import datetime
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import history
import results

HERE = Path(__file__).resolve().parent
HISTORY = HERE / "history.jsonl"
TITLE = "History"
KEPT = "{kept}"  # in a command: a file for what the benchmark measures, empty at the start


@dataclass(frozen=True)
class Benchmark:
    """A command of this folder.

    Args:
        command: str, a script with its options.
        minutes: float > 0, after which it is ended; it should take half of that on two cores.
        needs: str, what the folder that KERASTRAIN_SHARED names must contain, or "--encoder"; "" for nothing.
    """

    command: str
    minutes: float
    needs: str = ""

    @property
    def name(self):
        """The script without its suffix."""
        return self.command.split()[0].removesuffix(".py")


BENCHMARKS = (
    Benchmark("rivals.py --repeats 1 --only head fine_tuning model_maker predict files", 30),
    Benchmark("start.py --repeats 2", 6),
    Benchmark("fine_tuning.py --only mobilenet_v2 --repeats 2", 8),
    Benchmark("module_pass.py --networks MobileNetV2 --turns 5", 4),
    Benchmark("views.py --seeds 0", 8),
    Benchmark("measured_choices.py --networks digits MobileNetV2 --turns 3", 8),
    Benchmark(f"compression_search.py --sets digits --seeds 0 --results {KEPT}", 8),
    Benchmark("growth.py --sizes 1000 10000 100000 --sources records texts", 6),
    Benchmark("decoding_service.py --repeats 2", 4),
    Benchmark("export.py --repeats 2 --images 128", 6),
    Benchmark("input_pipeline.py --repeats 3 --augment flip rotation", 5),
    Benchmark("checkpoints.py", 4),
    Benchmark("report.py", 2),
    Benchmark("memory.py --models transformer --steps 2", 4),
    Benchmark("scaling.py --repeats 2", 6),
    Benchmark("compression.py --only methods --epochs 12", 8),
    Benchmark(f"few_shot.py --sets digits --per-class 30 --backbones fractal_small --seeds 0 1 2 --results {KEPT}", 4),
    Benchmark(
        f"recipe.py --sets digits --per-class 10 --backbones fractal_small --seeds 0 --recipes kerastrain --results {KEPT}",
        4,
    ),
    Benchmark(f"texts.py --sets sms_spam --seeds 0 --most 1000 --results {KEPT}", 4, "data/sms_spam"),
    Benchmark(f"text_encoders.py --encoder {{encoder}} --per-class 100 --seeds 0 --results {KEPT}", 15, "--encoder"),
    Benchmark(f"data_check.py --sets sign_digits --seeds 0 --results {KEPT}", 5, "data/sign_digits"),
    Benchmark(f"search.py --seeds 0 1 --trials 12 --epochs 5 --results {KEPT}", 6),
    Benchmark("importance.py --searches 20 --trials 30", 4),
    Benchmark("comparisons.py --repeats 60", 4),
    Benchmark("explanations.py --pictures 2000 --epochs 6 --explained 40", 6),
    Benchmark("verdicts.py --group tuning --only digits --seconds 150", 6),
    Benchmark("language_memory.py --batch-size 4 --tokens 64", 8),
)


def reason_against(benchmark, encoder):
    """Why a benchmark cannot run here; None if it can."""
    if benchmark.needs == "--encoder":
        return None if encoder else "needs --encoder FOLDER"
    place = Path(os.environ.get("KERASTRAIN_SHARED", "/nonexistent"), benchmark.needs)
    return None if not benchmark.needs or place.exists() else f"needs {benchmark.needs} in KERASTRAIN_SHARED"


def run(benchmark, folder, *, encoder, minutes):
    """Runs a benchmark.

    Args:
        benchmark: Benchmark.
        folder: Path of an empty folder for its log and its figures.
        encoder: str, for the benchmark that needs it; None for none.
        minutes: float, a lower deadline than its own, or None.

    Returns:
        (dict of figures, reason why it failed or None). Figures that were recorded before a failure count.
    """
    if reason := reason_against(benchmark, encoder):
        return {}, reason
    figures, log, deadline = folder / "figures.jsonl", folder / "log.txt", 60 * min(minutes or 1e9, benchmark.minutes)
    script, *words = (word.format(kept=folder / "kept.jsonl", encoder=encoder) for word in benchmark.command.split())
    environment = os.environ | {results.FIGURES: str(figures), "TF_CPP_MIN_LOG_LEVEL": "3"}
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, HERE / script, *words],
            cwd=folder,
            env=environment,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=deadline)
            failure = f"exit code {code}: {last_line(log)}" if code else None
        except subprocess.TimeoutExpired:
            failure = f"not finished in {deadline / 60:g} minutes"
        finally:
            end_group(process)
    lines = figures.read_text().splitlines() if figures.exists() else []
    return history.by_name(benchmark.name, lines), failure


def end_group(process):
    """Ends a process that leads a session, and what it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def last_line(path):
    """The last line of a log that is not empty."""
    lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else "it printed nothing"


def carried_out(chosen, options, keep):
    """The row of a run of some benchmarks; `keep` gets it after each of them."""
    kind, versions = results.machine_kind()
    row = {
        "date": datetime.datetime.now().strftime("%Y-%m-%d %H:%M"),
        "machine": kind,
        "versions": versions,
        "figures": {},
        "failed": {},
        "seconds": {},
    }
    for benchmark in chosen:
        start = time.monotonic()
        print(f"{benchmark.name}: {benchmark.command}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            figures, failure = run(benchmark, Path(folder), encoder=options.encoder, minutes=options.minutes)
        row["figures"] |= figures
        row["seconds"][benchmark.name] = round(time.monotonic() - start)
        if failure:
            row["failed"][benchmark.name] = failure
        print(
            f"{benchmark.name}: {len(figures)} figures, {row['seconds'][benchmark.name]} s{f', {failure}' if failure else ''}",
            flush=True,
        )
        keep(row)
    return row


def main():
    """Runs the benchmarks; the exit code is 1 if a figure became worse or a benchmark failed."""
    names = [benchmark.name for benchmark in BENCHMARKS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", nargs="+", choices=names, default=names, metavar="NAME", help=f"of {', '.join(names)}"
    )
    parser.add_argument("--list", action="store_true", help="print the commands and their deadlines, and run nothing")
    parser.add_argument("--minutes", type=float, help="a lower deadline for each benchmark")
    parser.add_argument("--encoder", metavar="FOLDER", help="a Hugging Face folder of a text encoder")
    parser.add_argument("--history", type=Path, default=HISTORY, help="the file of earlier runs")
    parser.add_argument("--write", action="store_true", help="append to --history and show it in RESULTS.md")
    options = parser.parse_args()
    chosen = [benchmark for benchmark in BENCHMARKS if benchmark.name in options.only]
    if options.list:
        for benchmark in chosen:
            print(f"{benchmark.minutes:3g} minutes at most: benchmarks/{benchmark.command}")
        return 0
    try:
        earlier = history.read(options.history)
    except ValueError as error:
        parser.error(str(error))
    row = carried_out(
        chosen, options, lambda row: history.write(options.history, [*earlier, row]) if options.write else None
    )
    print(history.table([*earlier, row]))
    worse = history.worse(history.last_figures(earlier, row["machine"]), row["figures"])
    print(f"worse than last time by more than the spread: {'; '.join(worse) or 'nothing'}")
    if options.write:
        results.write(TITLE, history.table([*earlier, row]))
    missing = [name for name, reason in row["failed"].items() if not reason.startswith("needs ")]
    return int(bool(worse or missing))


if __name__ == "__main__":
    sys.exit(main())
