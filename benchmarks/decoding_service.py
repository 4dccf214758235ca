"""Images per second of one process that decodes and augments, and of the same with decoding in a second process.

    python benchmarks/decoding_service.py [--folder FOLDER] [--repeats 3] [--batch-size 32] [--write]

The input is bound by decoding: 600 JPEG files of 500 x 375 pixels, drawn from the digits of scikit-learn, or those of --folder,
become images of 224 x 224 pixels, which are not cached. The training process has the first of the processors that this program
may use, and `kerastrain data-worker` another one. "read" only reads the images, "read and augment" also changes them as
data.augment=[flip, resized_crop, colour] does, in the training process. Both variants take turns, and the table contains medians
over the repeats. The ratio of "read" is at most about 1, since the work only moves from one processor to another; what is gained
is the processor of the training process, which "read and augment" uses.

--write writes the table to benchmarks/RESULTS.md.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import input_pipeline
import results

IMAGE_SIZE = (224, 224)
AUGMENTATIONS = {"read": (), "read and augment": ("flip", "resized_crop", "colour")}


@contextlib.contextmanager
def decoding_worker(port, processor):
    """Runs `kerastrain data-worker` on a processor."""
    command = [sys.executable, "-m", "kerastrain", "data-worker", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # its errors are ours
    os.sched_setaffinity(process.pid, {processor})
    if not any("decoding images" in line for line in process.stdout):
        raise SystemExit("the decoding worker did not start")
    try:
        yield f"localhost:{port}"
    finally:
        process.kill()
        process.wait()


def images_per_second(train, batch_size, names, service):
    """Images per second of an epoch, after the first batch."""
    import kerastrain as kt

    options = {"shuffle": True, "epochs": 1, "augment": kt.data.augment(*names), "service": service}
    batches = iter(kt.data.batches(train, batch_size, **options))
    next(batches)  # traces the augmentation
    start, count = time.perf_counter(), 0
    for images, _ in batches:
        count += len(images)
    return count / (time.perf_counter() - start)


def measure(folder, batch_size, repeats, port):
    """Images per second without and with a worker, by the name of the work."""
    first, second = sorted(os.sched_getaffinity(0))[:2]
    with decoding_worker(port, second) as address:
        os.sched_setaffinity(0, {first})
        import kerastrain as kt
        from kerastrain.data import reading

        train = reading.read(kt.data.listing(folder, image_size=IMAGE_SIZE).examples, cache="none")
        rates = {(name, service): [] for name in AUGMENTATIONS for service in ((), (address,))}
        for repeat in range(repeats + 1):
            for (name, service), measured in rates.items():
                rate = images_per_second(train, batch_size, AUGMENTATIONS[name], service)
                if repeat:  # the first one warms up
                    measured.append(rate)
                print(f"{name}, {'a worker' if service else 'alone'}: {rate:.0f} images / s", file=sys.stderr)
    return {name: (rates[name, ()], rates[name, (address,)]) for name in AUGMENTATIONS}


def table(rates):
    """A Markdown table, with a row for each work."""
    lines = ["| work | alone, images / s | with a worker | ratio | from … to |", "|---|---|---|---|---|"]
    for name, (alone, served) in rates.items():
        median, low, high = results.spread([two / one for one, two in zip(alone, served, strict=True)])
        results.record(f"{name} with a decoding worker, times alone", median, low, high, better="higher")
        first, second = statistics.median(alone), statistics.median(served)
        lines.append(f"| {name} | {first:.0f} | {second:.0f} | {median:.2f} | {low:.2f} … {high:.2f} |")
    return "\n".join(lines)


def main():
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--port", type=int, default=5950)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("two processors are needed, one for each process")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary, "photos")
        if arguments.folder is None:
            input_pipeline.draw_photos(folder)
        text = table(measure(folder, arguments.batch_size, arguments.repeats, arguments.port))
    print(text)
    if arguments.write:
        results.write("Decoding in a second process", f"{results.machine()}\n\n{text}")


if __name__ == "__main__":
    main()
