"""What measuring a train step costs and brings: bfloat16, XLA, several steps per execution, and threads that read data.

    python benchmarks/measured_choices.py [--networks digits MobileNetV2 ResNet50] [--batch-size 8] [--turns 5] [--write]

The networks are fine-tuned as a whole, with random weights and frozen batch normalization: the bundled network for digits at 32
pixels in batches of 32, those of keras.applications at 224 pixels in batches of --batch-size. All settings of a network are
traced once and then take turns of a few steps; one that is ten times as slow as float32 takes one turn. The table contains the
median over the turns of the ratio to float32 in the same turn, with its range; what a trial costs, which is building the model
and its first step, in steps of float32; and the steps from which `runtime.precision=auto` would measure bfloat16.

Heads train on the features of digits through `recipe.fit_phase`, with the callbacks of a run. The steps per execution take
turns; the ratios are those of processor seconds of a phase, which includes tracing, and of wall seconds of its later epochs.
That the weights are those of single steps is checked. Threads: an epoch of 600 JPEG files of 500 x 375 pixels to 224, decoded by
as many calls at a time as there are processors, which kerastrain does, and by tf.data.AUTOTUNE, as ratios of wall seconds.
--write writes the tables to benchmarks/RESULTS.md.
"""

import argparse
import csv
import os
import statistics
import tempfile
import time
from pathlib import Path

import results

STEPS, SECONDS = 10, 3.0  # of a turn, whichever ends first
HOPELESS = 10  # times as slow as float32, after which a setting takes no further turn
STEPS_PER_EXECUTION = (1, 4, 8, 20, 40)
HEAD_EPOCHS = 30
SETTINGS = {"float32": ("float32", False), "bfloat16": ("mixed_bfloat16", False), "XLA": ("float32", True)}


def network(name, policy, batch_size):
    """A model that is compiled for fine-tuning as in a run, and a batch for it."""
    import keras
    import tensorflow as tf

    from kerastrain import backbones, models, runtime
    from kerastrain import config as configs
    from kerastrain.recipe import compiling, plan

    runtime.seed(0)
    digits = name == "digits"
    size, batch_size = (32, 32) if digits else (224, batch_size)
    handle, weights = ("kerastrain:fractal_small", {}) if digits else (f"keras:{name}", {"weights": "random"})
    with runtime.precision(policy):
        backbone = backbones.load(handle, image_size=(size, size), **weights)
        model = models.image_classifier(backbone, labels=[str(label) for label in range(10)])
    models.unfreeze(model)
    phase = plan.Phase("fine_tune", 1, 100, 0, 1e-4, "constant", {})
    compiling.compiled(model, configs.load(None, ["runtime.jit_compile=false"]), phase)
    images = tf.random.stateless_uniform((batch_size, size, size, 3), (0, 1), maxval=255)
    return model, (images, keras.ops.one_hot(tf.range(batch_size) % 10, 10))


def turn(model, batch):
    """Median seconds of the steps of a turn."""
    seconds = []
    while len(seconds) < STEPS and sum(seconds) < SECONDS:
        start = time.perf_counter()
        model.train_on_batch(*batch)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def traced(name, batch_size):
    """The models and batches of each setting, the seconds until their first step is done, and why others are left out."""
    from kerastrain import finders
    from kerastrain.hub.layer import HubLayer

    made, first, reasons = {}, {}, {}
    for setting, (policy, xla) in SETTINGS.items():
        start = time.perf_counter()
        model, batch = network(name, policy, batch_size)
        if policy != "float32" and isinstance(model.get_layer("backbone"), HubLayer):
            reasons[setting] = "a module computes in the precision that it was saved in"
        elif xla and (reason := finders.reason_against_xla(model, batch)):
            reasons[setting] = reason
        else:
            model.jit_compile = xla
            model.train_on_batch(*batch)
            first[setting], made[setting] = time.perf_counter() - start, (model, batch)
            print(f"{name}, {setting}: first step after {first[setting]:.1f} s", flush=True)
    return made, first, reasons


def compare(name, batch_size, turns):
    """Rows of the table of a network; records its figures."""
    from kerastrain import finders

    made, first, reasons = traced(name, batch_size)
    seconds = {setting: [] for setting in made}
    for number in range(turns):
        for setting, (model, batch) in made.items():
            if number and seconds[setting][0] > HOPELESS * seconds["float32"][0]:
                continue
            seconds[setting].append(turn(model, batch))
    plain = seconds["float32"]
    for setting, times in seconds.items():
        ratios = [own / other for own, other in zip(times, plain, strict=False)]
        if setting != "float32":
            results.record(f"{name}, {setting}, step times float32", *results.spread(ratios))
        step = statistics.median(plain)
        least = finders.least_steps(step_seconds=step, trials=2, trace_seconds=first["float32"])
        yield (
            f"| {name} | {setting} | {statistics.median(times) * 1000:,.1f} | {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f}) | {first[setting] / step:,.0f} | "
            f"{f'{least:,}' if 'bfloat16' in made else '–'} |"
        )
    for setting, reason in reasons.items():
        yield f"| {name} | {setting} | – | not tried: {reason} | – | – |"


def head_phase():
    """The config, the phase and the stage of a head on the features of digits."""
    import tensorflow as tf

    from kerastrain import config as configs
    from kerastrain.recipe import building, head_features, plan, stages

    config = configs.load(None, [f"fit.head_epochs={HEAD_EPOCHS}", "fit.epochs=0", "export.formats=[]"])
    prepared = building.prepare_unmeasured(config, tf.distribute.get_strategy())
    phase = plan.phases(prepared.config, len(prepared.split.train))[0]
    places = head_features.Places()
    return (
        prepared.config,
        phase,
        stages.staged(prepared.build(), prepared.config, prepared.split, phase, places=places),
    )


def trained(stage, config, phase, number, before):
    """(processor seconds of a phase, wall seconds of its later epochs, weights after it)."""
    from kerastrain import runtime
    from kerastrain.recipe import compiling, fitting

    for weight, value in zip(stage.model.variables, before, strict=True):
        weight.assign(value)
    runtime.seed(0)
    config = config.model_copy(update={"fit": config.fit.model_copy(update={"steps_per_execution": number})})
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        compiling.compiled(stage.model, config, phase)
        fitting.fit_phase(stage, config, phase, Path(folder) / "run")
        seconds = time.process_time() - start
        with open(Path(folder) / "run" / "history.csv") as file:
            epochs = [float(row["seconds"]) for row in csv.DictReader(file)][1:]
    return seconds, sum(epochs), [weight.numpy() for weight in stage.model.variables]


def heads(turns):
    """Rows of the table of steps per execution; records its figures."""
    import numpy as np

    config, phase, stage = head_phase()
    before = [weight.numpy() for weight in stage.model.variables]
    seconds, walls = ({number: [] for number in STEPS_PER_EXECUTION} for _ in range(2))
    after = None
    for _ in range(turns):
        for number in STEPS_PER_EXECUTION:
            processor, wall, weights = trained(stage, config, phase, number, before)
            seconds[number].append(processor)
            walls[number].append(wall)
            after = weights if after is None else after
            if not all(map(np.array_equal, weights, after)):
                raise AssertionError(f"{number} steps per execution changed a weight")
        print(f"head: {', '.join(f'{number} {times[-1]:.2f} s' for number, times in seconds.items())}", flush=True)
    for number in STEPS_PER_EXECUTION:
        of_one = [[own / one for own, one in zip(times[number], times[1], strict=True)] for times in (seconds, walls)]
        if number == STEPS_PER_EXECUTION[-1]:
            results.record(f"head, {number} steps per execution, processor time times one", *results.spread(of_one[0]))
        cells = " | ".join(f"{statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f})" for each in of_one)
        yield f"| {number} | {statistics.median(seconds[number]):.2f} | {cells} |"


def threads(turns):
    """A sentence about the calls that decode at a time."""
    import input_pipeline
    import tensorflow as tf

    import kerastrain as kt
    from kerastrain.data import pipeline

    counts, seconds = {"processors": pipeline.processor_count, "AUTOTUNE": lambda: tf.data.AUTOTUNE}, {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        photos = input_pipeline.draw_photos(Path(folder) / "photos")
        split = kt.data.image_folder(photos, image_size=(224, 224), validation_fraction=0, cache="none")
        for _ in range(turns):
            for name, count in counts.items():
                pipeline.processor_count = count
                dataset = kt.data.batches(split.train, 32, shuffle=True, augment=kt.data.augment("flip", "rotation"))
                start = time.perf_counter()
                input_pipeline.consume(dataset)
                seconds.setdefault(name, []).append(time.perf_counter() - start)
    ratios = [own / other for own, other in zip(seconds["AUTOTUNE"], seconds["processors"], strict=True)]
    results.record("AUTOTUNE, epoch of photos, times one call for each processor", *results.spread(ratios))
    return (
        f"Threads: with tf.data.AUTOTUNE an epoch takes {statistics.median(ratios):.2f} ({min(ratios):.2f} to "
        f"{max(ratios):.2f}) times as long as with one call for each processor."
    )


def main():
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="*", default=["digits", "MobileNetV2", "ResNet50"], metavar="NAME")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--skip", nargs="*", default=[], choices=("heads", "threads"))
    parser.add_argument("--write", action="store_true", help="write the tables to RESULTS.md")
    options = parser.parse_args()
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3"}
    rows = []
    for name in options.networks:
        for row in compare(name, options.batch_size, options.turns):
            rows.append(row)
            print(row, flush=True)
    parts = [f"Medians of {options.turns} turns, batches of {options.batch_size} at 224 pixels. {results.machine()}"]
    title = "| network | setting | ms a step | times float32 | cost of a trial, steps | bfloat16 measured from, steps |"
    parts.append("\n".join([title, "|---|---|---|---|---|---|", *rows]))
    if "heads" not in options.skip:
        title = "| steps per execution | processor s | processor time, times one | later epochs, times one |"
        parts.append("\n".join([title, "|---|---|---|---|", *heads(options.turns)]))
    if "threads" not in options.skip:
        parts.append(threads(options.turns))
    print("\n\n".join(parts))
    if options.write:
        results.write("Precision, XLA and steps per execution, measured", "\n\n".join(parts))


if __name__ == "__main__":
    main()
