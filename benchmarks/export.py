"""Time of a run's exports in one session, beside exporting each file alone.

    python benchmarks/export.py [--repeats NUMBER] [--images NUMBER] [--write]

Three files are written and checked: a SavedModel, TFLite float32 and TFLite int8, of two networks: fractal_small at 32 x 32
pixels with the digits of scikit-learn, as in `make demo`, and MobileNetV1 of width 0.25 at 224 x 224 with --images photos of
mango_leaves in `$KERASTRAIN_SHARED/data`, or noise where that is missing. In turns, in one process:

- alone: `kt.export.saved_model`, `kt.export.tflite` and `kt.export.tflite` again;
- session: `kt.export.Session`, as `kerastrain export` uses it;
- ready: the session with a process for SavedModels that is running already, as at the end of a training, where it starts while
  the model is evaluated. Its start counts among the processor seconds, not in the time.

The int8 files of both networks, which are not trained, are kept whatever their outputs; the time is the same.
"""

import argparse
import contextlib
import logging
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import results
import tensorflow as tf

import kerastrain as kt

ANY = kt.export.Tolerance(relative_difference=100.0, agreement=0.0)
FLOAT = kt.export.Tolerance(relative_difference=1e-3, agreement=0.9)
CALIBRATION = 200


def digits_network(_):
    """(model, test images, training images) as in `make demo`."""
    backbone = kt.backbones.load("kerastrain:fractal_small")
    split = kt.data.digits(image_size=backbone.image_size, validation_fraction=0.2, test_fraction=0.1)
    model = kt.models.image_classifier(backbone, labels=split.labels)
    return model, split.test, split.train


def photo_network(count):
    """(model, test images, training images) at 224 x 224 pixels."""
    shared = Path(os.environ.get("KERASTRAIN_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    paths = sorted((shared / "data" / "mango_leaves").glob("*/*"))[: count + CALIBRATION]
    generator = np.random.default_rng(0)
    images = (
        np.stack([kt.data.load_image(path, (224, 224)) for path in paths])
        if paths
        else generator.integers(0, 256, (count + CALIBRATION, 224, 224, 3), "uint8")
    )
    inputs = keras.Input((224, 224, 3))
    network = keras.applications.MobileNet((224, 224, 3), alpha=0.25, include_top=False, pooling="avg", weights=None)
    outputs = keras.layers.Dense(8)(network(keras.layers.Rescaling(1 / 127.5, -1)(inputs)))
    model = keras.Model(inputs, kt.models.Labels([f"class {number}" for number in range(8)])(outputs))
    return model, images[:count].astype("float32"), images[count:].astype("float32")


def processor_seconds():
    """Of this process and of those that it started and that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def export_alone(model, test, train, folder, _):
    """Writes the three files with the functions for one file."""
    kt.export.saved_model(model, folder / "saved_model", samples=test, tolerance=FLOAT)
    kt.export.tflite(model, folder / "float32.tflite", samples=test, tolerance=FLOAT)
    int8 = {"quantize": "int8", "representative": train, "tolerance": ANY}
    kt.export.tflite(model, folder / "int8.tflite", samples=test, **int8)


def export_together(model, test, train, folder, process):
    """Writes the three files in a session."""
    with kt.export.Session(model, samples=test, process=process) as session:
        session.saved_model(folder / "saved_model", tolerance=FLOAT)
        session.tflite(folder / "float32.tflite", tolerance=FLOAT).result()
        session.tflite(folder / "int8.tflite", quantize="int8", representative=train, tolerance=ANY).result()


def measured(export, parts, *, ready=False):
    """(seconds, processor seconds) of an export."""
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        start_processor, process = processor_seconds(), None
        if ready:
            process = stack.enter_context(kt.export.ServingProcess())
            process.outputs(
                small_saved_model(Path(place) / "small"), {"serving_default/x": np.zeros((2, 1), "float32")}
            )
        start = time.perf_counter()
        export(*parts, Path(place), process)
        seconds = time.perf_counter() - start
        stack.close()
        return seconds, processor_seconds() - start_processor


def small_saved_model(folder):
    """A SavedModel whose answer shows that a process is ready."""
    module = tf.Module()
    double = tf.function(lambda x: {"y": 2 * x}).get_concrete_function(tf.TensorSpec((None, 1), tf.float32, name="x"))
    tf.saved_model.save(module, str(folder), signatures={"serving_default": double})
    return folder


WAYS = {
    "alone": lambda parts: measured(export_alone, parts),
    "session": lambda parts: measured(export_together, parts),
    "ready": lambda parts: measured(export_together, parts, ready=True),
}


def table(name, parts, repeats):
    """The rows of a network; records its ratios."""
    WAYS["session"](parts)  # Traces the functions that `predict` keeps.
    turns = {way: [] for way in WAYS}
    for number in range(repeats):
        for way, measure in WAYS.items():
            turns[way].append(measure(parts))
            print(f"{name}, {way}, {number + 1} of {repeats}: {turns[way][-1][0]:.1f} s", flush=True)
    rows = []
    for way, values in turns.items():
        seconds, processor = zip(*values, strict=True)
        ratios = [one[0] / other[0] for one, other in zip(values, turns["alone"], strict=True)]
        processor_ratios = [one[1] / other[1] for one, other in zip(values, turns["alone"], strict=True)]
        if way != "alone":
            results.record(f"{name}, {way}, time of files exported alone", *results.spread(ratios))
            results.record(f"{name}, {way}, processor time of files exported alone", *results.spread(processor_ratios))
        cells = [f"{statistics.median(seconds):.1f}", f"{statistics.median(processor):.1f}"]
        cells += ["{:.2f} ({:.2f} to {:.2f})".format(*results.spread(values)) for values in (ratios, processor_ratios)]
        rows.append(f"| {name} | {way} | {' | '.join(cells)} |")
    return rows


def main():
    """Prints the table; `--write` adds it to RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--images", type=int, default=430)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    heads = "| network | files | seconds | processor seconds | of alone | processor, of alone |"
    lines = [heads, "|---|---|---|---|---|---|"]
    for name, make in (("digits", digits_network), ("photos", photo_network)):
        lines += table(name, make(options.images), options.repeats)
    text = "\n".join([*lines, "", f"Median of {options.repeats} turns (least to greatest). {results.machine()}"])
    print(text)
    if options.write:
        results.write("Exports", text)


if __name__ == "__main__":
    main()
