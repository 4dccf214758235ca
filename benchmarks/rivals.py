"""kerastrain beside its rivals on the same photos and networks: ratios of what both take, measured in turns of one run.

    python benchmarks/rivals.py [--only ROW ...] [--quick] [--write] [--repeats 3]
        [--environments FOLDER] [--replace torch==2.9.1 ...] [--work FOLDER]

PyTorch, fastai and MediaPipe Model Maker run in environments of their own, which the script makes with pinned versions
(`benchmarks/rivals/*.txt`) and uses again; --replace installs another version of a package. Keras and ONNX Runtime are those of
the environment that runs the script (extra `onnx`). The environment variable KERASTRAIN_SHARED names a folder with the photos
of sign_digits and the ImageNet weights of MobileNetV1-0.25; without it, photos are drawn and weights are random.
EfficientNet-Lite0 is the bundled one; MobileNetV2 and ResNet50 have random weights, the same for ours and Keras's.

Each line has the medians of the turns, the median of the ratios ours / rival's with its range, and the goal; accuracies are those
on the same photos that nobody trained on. A row that fails says so and costs only itself. --quick trains on few photos for few
epochs: its numbers mean nothing but that a row works. --write writes each row to a section of its own of RESULTS.md, with notes
on where the time went, as soon as it is measured.
"""

import argparse
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import results
from rivals import environments, lines, photos, shell_rows, training_rows

ROWS = {
    "head": training_rows.head,
    "views": training_rows.views,
    "fine_tuning": training_rows.fine_tuning,
    "model_maker": shell_rows.model_maker,
    "fastai": shell_rows.fastai,
    "predict": shell_rows.predict,
    "files": shell_rows.exported_files,
}
TITLE = "Beside rivals"


def measured(name, setting):
    """(lines of the table, notes) of a row; one that fails is a note."""
    print(f"row {name}", file=sys.stderr, flush=True)
    start = time.monotonic()
    try:
        row = ROWS[name](setting)
    except Exception as error:  # the other rows are worth having
        traceback.print_exc()
        return [], [f"{name}: not measured, {str(error).strip().splitlines()[-1] if str(error) else error!r}"]
    for line in row:
        rival = line.rival.partition(",")[0]  # without the precision, which may change
        results.record(f"{line.work}, of {rival}", *results.spread(line.ratios))
    print(f"row {name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return row, [note for line in row for note in line.notes]


def report(table, notes, setting):
    """The text of the table."""
    kind = " Quick: few photos and epochs, whose numbers mean nothing." if setting.quick else ""
    head = f"Photos: {photos.source(setting.work)[1]}. {results.machine()}{kind}"
    how = (
        "Ratios are those of two turns of one repeat; the table has their median and range. “Accuracy” is on photos that "
        "nobody trained on."
    )
    met = sum(line.verdict == "met" for line in table)
    text = "\n".join([head, "", how, f"Goals met: {met} of {len(table)}.", "", lines.HEAD, *map(str, table)])
    return "\n".join(
        [text, "", "Where our time went, and how numbers were found:", "", *(f"- {note}" for note in notes)]
    )


def main():
    """Measures the rows and prints the table; the exit code is 1 if a row failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=ROWS, default=[*ROWS], metavar="ROW", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", action="store_true", help="write each row to RESULTS.md")
    parser.add_argument("--environments", type=Path, default=environments.default_folder(), metavar="FOLDER")
    parser.add_argument("--replace", nargs="+", default=(), metavar="PACKAGE==VERSION")
    parser.add_argument("--work", type=Path, help="folder for photos, runs and logs; by default a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = (options.work or Path(temporary)).absolute()
        work.mkdir(parents=True, exist_ok=True)
        setting = training_rows.Setting(
            work=work,
            python=lambda name: environments.interpreter(name, options.environments, options.replace),
            repeats=1 if options.quick else options.repeats,
            quick=options.quick,
            threads=len(os.sched_getaffinity(0)),
        )
        is_whole = True
        for name in options.only:
            table, notes = measured(name, setting)
            text = report(table, notes, setting)
            print(text)
            is_whole = is_whole and bool(table)
            if options.write and table:
                results.write(f"{TITLE}: {name}", text)
    return int(not is_whole)


if __name__ == "__main__":
    sys.exit(main())
