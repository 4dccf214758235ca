"""Images per second of kerastrain's input pipeline, compared with image_dataset_from_directory and Keras's layers.

    python benchmarks/input_pipeline.py [--folder FOLDER] [--image-size 224 224] [--augment flip crop] [--write]

Both read the same folder in one run, with the same image size and batch size, on two cores, and produce float32 images in
[0, 255] with one-hot labels. The rival is `keras.utils.image_dataset_from_directory` with augmentation layers mapped with
num_parallel_calls=AUTOTUNE and then prefetched, as in Keras's guides. kerastrain's first epoch includes the scan of the
folder, which decodes every file, with empty caches; building graphs is excluded on both sides, and listing the folder on the
rival's. Each is read as `fit` reads it: kerastrain's epochs as one data set with a number of steps per epoch, the rival's
with a new iterator per epoch. The variants take turns, and the tables contain medians over the repeats: of images per second,
of processor time, and of the ratio to the rival's epoch in the same repeat, with its range. "cached" is the rival with
`.cache()` before its layers, which keeps float32 batches in memory, in the same order in every epoch.

Without --folder, the digits of scikit-learn are drawn as photos: 600 JPEG files of 500 x 375 pixels and about 60 kB.
--write writes the tables to benchmarks/RESULTS.md, replacing earlier ones of the same title.
"""

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import results

AUGMENTATIONS = (
    ("flip", "resized_crop", "colour"),
    ("flip", "rotation"),
    ("flip", "crop", "rotation", "colour", "erasing"),
)
CORES = 2


def layers_of(names):
    """Keras's layers with the strengths of kerastrain's defaults; a zoom is centred, so it does less than a crop."""
    from keras import layers

    made = {
        "flip": lambda: layers.RandomFlip("horizontal"),
        "crop": lambda: layers.RandomTranslation(0.125, 0.125, fill_mode="reflect"),
        "resized_crop": lambda: layers.RandomZoom((-0.16, 0.0), (-0.16, 0.0)),
        "rotation": lambda: layers.RandomRotation(15 / 360, fill_mode="reflect"),
        "colour": lambda: layers.RandomColorJitter(
            value_range=(0, 255),
            brightness_factor=0.2,
            contrast_factor=0.2,
            saturation_factor=(0.4, 0.6),
            hue_factor=(0.0, 0.02),
        ),
        "erasing": lambda: layers.RandomErasing(factor=0.5, scale=(0.02, 0.2)),
    }
    return [made[name]() for name in names]


def rival(folder, image_size, batch_size, names, *, cached):
    """(wall-clock seconds, processor seconds) of the rival's first and second epoch."""
    import keras
    import tensorflow as tf

    layers = layers_of(names)

    def augmented(images, labels):
        for layer in layers:
            images = layer(images, training=True)
        return images, labels

    dataset = keras.utils.image_dataset_from_directory(
        folder, label_mode="categorical", image_size=image_size, batch_size=batch_size, seed=0, verbose=False
    )
    dataset = dataset.cache() if cached else dataset
    dataset = dataset.map(augmented, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    return [timed(lambda: consume(dataset)) for _ in range(2)]


def ours(folder, image_size, batch_size, names, *, cache):
    """(wall-clock seconds, processor seconds) of kerastrain's first epoch, including the scan, and of its second."""
    import kerastrain as kt

    with tempfile.TemporaryDirectory() as empty:
        os.environ["XDG_CACHE_HOME"] = empty
        splits = []
        scan = timed(
            lambda: splits.append(
                kt.data.image_folder(folder, image_size=image_size, validation_fraction=0, cache=cache)
            )
        )
        train = splits[0].train
        steps = kt.data.steps_per_epoch(train, batch_size)
        dataset = kt.data.batches(train, batch_size, shuffle=True, epochs=2, augment=kt.data.augment(*names))
        batches = []
        seconds = timed(lambda: batches.append(iter(dataset)) or consume(itertools.islice(batches[0], steps)))
        return [(scan[0] + seconds[0], scan[1] + seconds[1]), timed(lambda: consume(batches[0]))]


def consume(dataset):
    """Reads every batch, as a model on another device would."""
    for images, labels in dataset:
        if images.dtype != "float32" or labels.dtype != "float32":
            raise TypeError(f"expected float32 images and labels, received {images.dtype} and {labels.dtype}")


def timed(function):
    """(wall-clock seconds, processor seconds) of a call."""
    wall, processors = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - processors


def measure(folder, image_size, batch_size, names, repeats):
    """The timings of each variant; the variants take turns."""
    variants = {
        "rival": lambda: rival(folder, image_size, batch_size, names, cached=False),
        "rival, cached": lambda: rival(folder, image_size, batch_size, names, cached=True),
        "kerastrain, memory": lambda: ours(folder, image_size, batch_size, names, cache="memory"),
        "kerastrain, disk": lambda: ours(folder, image_size, batch_size, names, cache="disk"),
        "kerastrain, none": lambda: ours(folder, image_size, batch_size, names, cache="none"),
    }
    timings = {name: [] for name in variants}
    for repeat in range(repeats):
        # Each variant is first and last equally often.
        for name in [*variants][repeat % len(variants) :] + [*variants][: repeat % len(variants)]:
            timings[name].append(variants[name]())
            print(f"{', '.join(names)}: repeat {repeat + 1}, {name}", file=sys.stderr)
    return timings


def table(timings, count):
    """A Markdown table: images per second and ratio to the rival, for each variant and epoch."""
    lines = [
        "| epoch | input | images / s | processor ms / image | times the rival | from … to |",
        "|---|---|---|---|---|---|",
    ]
    for number, epoch in enumerate(("first", "second")):
        for name, runs in timings.items():
            if (epoch, name) == ("first", "rival, cached"):
                continue
            walls, processors = zip(*(run[number] for run in runs), strict=True)
            ratios = [run[number][0] / wall for run, wall in zip(timings["rival"], walls, strict=True)]
            lines.append(
                f"| {epoch} | {name} | {count / statistics.median(walls):.0f} "
                f"| {1000 * statistics.median(processors) / count:.2f} | {statistics.median(ratios):.2f} "
                f"| {min(ratios):.2f} … {max(ratios):.2f} |"
            )
    lines += ["", *targets(timings)]
    return "\n".join(lines)


def record(timings, names):
    """Records the ratio to the rival of each epoch, with the default's cache in memory."""
    for number, epoch in enumerate(("first", "second")):
        pairs = zip(timings["rival"], timings["kerastrain, memory"], strict=True)
        ratios = [rival[number][0] / own[number][0] for rival, own in pairs]
        title = f"{', '.join(names)}: {epoch} epoch, times Keras's images a second"
        results.record(title, *results.spread(ratios), better="higher")


def targets(timings):
    """A line per epoch: the goal for the default, which caches decoded images in memory, and whether it was met.

    If the machine is not idle, the ratio of processor time is more reliable than that of wall-clock time.
    """
    for number, epoch, goal in ((0, "first", 1.3), (1, "second", 5.0)):
        pairs = list(zip(timings["rival"], timings["kerastrain, memory"], strict=True))
        wall, processors = (
            statistics.median(rival[number][of] / own[number][of] for rival, own in pairs) for of in (0, 1)
        )
        yield (
            f"{epoch} epoch: {wall:.2f} times the rival ({processors:.2f} times per processor second), goal {goal:g}: "
            f"{'met' if wall >= goal else 'missed'}.  "
        )


def draw_photos(folder, count=600):
    """Writes the handwritten digits as JPEG files with the dimensions and file size of typical web photos."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    random = np.random.default_rng(0)
    for index, (grey, digit) in enumerate(zip(*load_digits(return_X_y=True), strict=True)):
        if index == count:
            break
        paper = Image.fromarray(random.integers(0, 256, (125, 167, 3), dtype=np.uint8)).resize((500, 375))
        ink = Image.fromarray((grey.reshape(8, 8) * 255 / 16).astype(np.uint8)).convert("RGB").resize((500, 375))
        (folder / str(digit)).mkdir(parents=True, exist_ok=True)
        Image.blend(ink, paper, 0.35).save(folder / str(digit) / f"{index:04d}.jpg", quality=90)
    return folder


def main():
    """Prints one table for each set of augmentations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="a folder with one folder of images per class")
    parser.add_argument("--image-size", type=int, nargs=2, default=(224, 224), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--augment", nargs="+", metavar="NAME", help="use these augmentations instead of the three sets"
    )
    parser.add_argument("--write", action="store_true", help="write the tables to RESULTS.md")
    options = parser.parse_args()
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])  # before TensorFlow counts them
    with tempfile.TemporaryDirectory() as drawn:
        folder = options.folder or draw_photos(Path(drawn))
        count, size = sum(path.is_file() for path in folder.rglob("*")), tuple(options.image_size)
        name = options.folder.name if options.folder else "drawn photos of 500 x 375"
        parts = [f"Medians of {options.repeats} repeats, batches of {options.batch_size}. {results.machine()}"]
        for names in [options.augment] if options.augment else AUGMENTATIONS:
            timings = measure(folder, size, options.batch_size, names, options.repeats)
            record(timings, names)
            rows = table(timings, count)
            parts.append(f"{', '.join(names)}:\n\n{rows}")
            print(parts[-1], flush=True)
    if options.write:
        results.write(f"Input: {name}, {count} files to {size[0]} x {size[1]}", "\n\n".join(parts))


if __name__ == "__main__":
    main()
