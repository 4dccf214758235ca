"""Time and memory of a data set's road to the first epoch, as the set grows from 1,000 to 1,000,000 examples.

    python benchmarks/growth.py [--sizes 1000 10000 ...] [--sources folder records texts] [--folder FOLDER] [--plot FILE]
        [--write]

The sources are a folder of PNG files of 8 x 8 pixels (of at most 100,000 files), a set of sharded TFRecord files with the same
images, and a CSV table of texts. They are written once to --folder, by default `kerastrain-growth` in the user's cache, and
reused. Each cell is measured in a fresh process with empty caches. Seconds are those of the processor, of all threads, which
other work on the machine changes less than those of the clock. The columns:

| column | what |
|---|---|
| list | from a path to a `Listing`: names, targets and keys, and for texts the texts |
| read | every example read, hashed and checked, as before a run; images are not cached |
| split, fingerprint | `ReadListing.split` and `data.fingerprint` |
| first batch | from a `Split` to the first batch of 128 of a shuffled, augmented epoch (texts: without augmentation) |
| epoch | all its batches, without a model |
| memory | the largest resident set of the process, minus that before the listing, with TensorFlow imported |

"times linear" is the sum of all seconds divided by the number of examples, over the same of the smallest set with 10,000 examples
or more: 1 is linear, and smaller sets are dominated by what is paid once. --plot draws all columns over the number of examples.
--write writes the table to benchmarks/RESULTS.md.
"""

import argparse
import csv
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import results

SIZES = (1_000, 10_000, 100_000, 1_000_000)
SOURCES = ("folder", "records", "texts")
MOST_FILES = 100_000
STEPS = ("list", "read", "split", "fingerprint", "first batch", "epoch")
BATCH_SIZE, CLASSES, PIXELS = 128, 10, 8
SMALLEST_LINEAR = 10_000
WORDS = ("a", "the", "film", "was", "fine", "dull", "plot", "actor", "scene", "long", "short", "best", "never", "great")


def images(count):
    """Yields (class, PNG file) of distinct random images."""
    import numpy as np
    from PIL import Image

    generator = np.random.default_rng(0)
    for number in range(count):
        file = io.BytesIO()
        pixels = generator.integers(0, 256, (PIXELS, PIXELS, 3), np.uint8)
        Image.fromarray(pixels).save(file, "PNG", compress_level=0)
        yield number % CLASSES, file.getvalue()


def write_folder(path, count):
    """Writes a folder of image files, one folder per class."""
    for label in range(CLASSES):
        (path / str(label)).mkdir(parents=True)
    for number, (label, content) in enumerate(images(count)):
        (path / str(label) / f"{number:07}.png").write_bytes(content)


def write_records(path, count):
    """Writes sharded TFRecord files."""
    import numpy as np

    import kerastrain as kt
    from kerastrain.data.image_files.stores import ArrayImages

    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (count, PIXELS, PIXELS, 3), np.uint8)
    store = ArrayImages(pixels, (PIXELS, PIXELS))
    targets = np.arange(count) % CLASSES
    kt.data.write_tfrecords(kt.data.Examples(targets, tuple(map(str, range(CLASSES))), store), path, shards=16)


def write_texts(path, count):
    """Writes a table of texts in a folder."""
    import numpy as np

    generator = np.random.default_rng(0)
    path.mkdir(parents=True)
    with open(path / "texts.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for number in range(count):
            words = generator.choice(WORDS, 12)
            writer.writerow([f"{' '.join(words)} {number}", number % CLASSES])


def source(folder, name, count):
    """The path of a source, which is written unless it is there."""
    path = folder / f"{name}-{count}"
    if not path.exists():
        print(f"writing {path}", file=sys.stderr)
        partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
        {"folder": write_folder, "records": write_records, "texts": write_texts}[name](partial, count)
        partial.rename(path)
    return path


def peak_megabytes():
    """The largest resident set of this process so far; that of `resource` includes the process that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) / 1024


def measure(name, path):
    """Prints the seconds of each step and the added megabytes as JSON; run in a fresh process."""
    import kerastrain as kt
    from kerastrain.data import reading

    # What is imported and started once is no part of the growth.
    few = kt.data.digits(image_size=(PIXELS, PIXELS), cache="none").train
    list(kt.data.batches(few, BATCH_SIZE, augment=kt.data.augment("flip", "noise")))
    seconds, before = {}, peak_megabytes()

    def timed(step, function):
        start = time.process_time()
        result = function()
        seconds[step] = time.process_time() - start
        return result

    is_text = name == "texts"
    options = {"kind": "text"} if is_text else {"image_size": (PIXELS, PIXELS)}
    place = path / "texts.csv" if is_text else path
    listing = timed("list", lambda: kt.data.listing(place, **options))
    read = timed("read", lambda: reading.read_listing(listing, cache="none"))
    split = timed("split", read.split)
    timed("fingerprint", lambda: kt.data.fingerprint(split))
    augment = None if is_text else kt.data.augment("flip", "noise")
    start = time.process_time()
    batches = iter(kt.data.batches(split.train, BATCH_SIZE, shuffle=True, augment=augment))
    next(batches)
    seconds["first batch"] = time.process_time() - start
    for _ in batches:
        pass
    seconds["epoch"] = time.process_time() - start
    print(json.dumps({"seconds": seconds, "megabytes": peak_megabytes() - before}))


def measured(name, path):
    """The cell of a source, from a fresh process with empty caches."""
    with tempfile.TemporaryDirectory() as empty:
        command = [sys.executable, __file__, "--measure", name, str(path)]
        environment = {**os.environ, "XDG_CACHE_HOME": empty, "TF_CPP_MIN_LOG_LEVEL": "2"}
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"{name} {path} failed:\n{result.stderr[-3000:]}")
    return json.loads(result.stdout.splitlines()[-1])


def table(cells):
    """A Markdown table with a row for each source and size."""
    lines = [
        f"| source | examples | {' | '.join(f'{step}, s' for step in STEPS)} | times linear | memory, MB | bytes / example |"
    ]
    lines.append("|" + "---|" * (len(STEPS) + 5))
    for (name, count), cell in cells.items():
        linear = times_linear(cells, name, count)
        numbers = " | ".join(f"{cell['seconds'][step]:.2f}" for step in STEPS)
        lines.append(
            f"| {name} | {count:,} | {numbers} | {'–' if linear is None else format(linear, '.2f')} | {cell['megabytes']:.0f} "
            f"| {cell['megabytes'] * 2**20 / count:,.0f} |"
        )
    return "\n".join(lines)


def times_linear(cells, name, count):
    """How many times as long as in a linear growth a set takes; None for sets that are too small."""
    counts = [size for source_name, size in cells if source_name == name and size >= SMALLEST_LINEAR]
    if not counts or count < counts[0]:
        return None
    per_example = [total(cells[name, size]) / size for size in (counts[0], count)]
    return per_example[1] / per_example[0]


def total(cell):
    """The seconds of all steps; the epoch includes the first batch."""
    return sum(cell["seconds"].values()) - cell["seconds"]["first batch"]


def plot(cells, path):
    """Draws seconds and memory over the number of examples, with logarithmic axes, to an SVG or PNG file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(dict.fromkeys(name for name, _ in cells))
    figure, axes = pyplot.subplots(1, len(names) + 1, figsize=(4 * (len(names) + 1), 3.4), layout="constrained")
    for name, axis in zip(names, axes, strict=False):
        counts = [count for source_name, count in cells if source_name == name]
        for step in STEPS:
            axis.loglog(counts, [max(cells[name, count]["seconds"][step], 1e-3) for count in counts], "o-", label=step)
        axis.loglog(counts, [count / 1e4 for count in counts], ":", color="grey", label="0.1 ms / example")
        axis.set(title=name, xlabel="examples", ylabel="seconds")
        axes[-1].loglog(counts, [max(cells[name, count]["megabytes"], 1) for count in counts], "o-", label=name)
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize="x-small", loc="outside right center")
    axes[-1].set(title="memory", xlabel="examples", ylabel="MB")
    axes[-1].legend(fontsize="x-small")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main():
    """Measures every cell."""
    parser = argparse.ArgumentParser()
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=SOURCES)
    parser.add_argument("--folder", type=Path, default=cache / "kerastrain-growth")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure[0], Path(arguments.measure[1]))
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    cells = {}
    for name in arguments.sources:
        for count in sorted(arguments.sizes):
            if name == "folder" and count > MOST_FILES:
                continue
            cells[name, count] = measured(name, source(arguments.folder, name, count))
            print(f"{name}, {count:,}: {cells[name, count]}", file=sys.stderr)
        largest = max(count for source_name, count in cells if source_name == name)
        if (linear := times_linear(cells, name, largest)) is not None and largest > SMALLEST_LINEAR:
            results.record(f"{name} of {largest:,}: seconds, times linear", linear)
        results.record(f"{name} of {largest:,}: bytes per example", cells[name, largest]["megabytes"] * 2**20 / largest)
    text = table(cells)
    print(text)
    if arguments.plot:
        plot(cells, arguments.plot)
    if arguments.write:
        results.write("Growth: from 1,000 to 1,000,000 examples", f"{results.machine()}\n\n{text}")


if __name__ == "__main__":
    main()
