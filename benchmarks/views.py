"""The head on cached features of a few augmented views, beside plain Keras's `fit` of the frozen network with augmentation.

    python benchmarks/views.py [--set sign_digits|cats_dogs|mango_leaves|digits] [--per-class 30|100|all]
        [--backbone mobilenet|lite0|fractal_small] [--seeds 0 1 2] [--epochs 20] [--views 4] [--choice] [--write]

Both train the same new head on the same frozen network, with the same optimizer, schedule, parts, order of the images and
augmentation in the pipeline, and keep the epoch of the least loss on the validation part. Keras passes every image of every
epoch through the network; `fit.head_views` does so once for each view, and that time is part of its seconds. In alternating
turns; the ratio is of wall-clock seconds in each turn, without loading data and network. Accuracies are on 300 test images for
each seed.

`--choice` compares the accuracy of views instead: one view, four augmented ones, the image and three augmented ones, and a new
view in every epoch, all after the last epoch, on validation and test images together.

sign_digits is in `$KERASTRAIN_SHARED/data`, and MobileNetV1's weights in `$KERASTRAIN_SHARED/models`; without them, the digits of
scikit-learn and the bundled kerastrain:fractal_small are used. It takes 12 minutes on two cores, and `--choice` 3.
"""

import argparse
import contextlib
import dataclasses
import io
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import recipe as cells
import results

TITLE = "The head on cached features of augmented views"


def config_of(options, seed, *overrides):
    """The config of a head that trains without fine-tuning."""
    from kerastrain import config

    lines = [f"runtime.seed={seed}", f"fit.head_epochs={options.epochs}", "fit.epochs=0", "runtime.strategy=none"]
    return config.load(overrides=[*cells.overrides_of(options.backbone), *lines, *overrides])


def built(settings, split):
    """The model with a new head, and its config."""
    import kerastrain as kt
    from kerastrain.recipe.building import prepare_unmeasured

    prepared = prepare_unmeasured(settings, kt.distribute.make("none"), lambda *_: split)
    return prepared.build(), prepared.config


def ours(settings, split):
    """Trains the head by kerastrain; returns the seconds and the model."""
    import kerastrain as kt

    model, settings = built(settings, split)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        began = time.perf_counter()
        kt.recipe.fit(model, settings, split, Path(folder))
        return time.perf_counter() - began, model


def keras_fit(settings, split):
    """Trains the head by `fit` of the whole frozen network; returns the seconds and the model."""
    import keras

    import kerastrain as kt
    from kerastrain.recipe import compiled, plan

    model, settings = built(settings, split)
    [phase] = plan.phases(settings, len(split.train))
    compiled(model, settings, phase)
    augment = kt.data.augment(**settings.data.augment.named)
    train = kt.data.batches(
        split.train, 32, shuffle=True, seed=settings.runtime.seed, epochs=phase.epochs, augment=augment
    )
    best = keras.callbacks.EarlyStopping("val_data_loss", mode="min", patience=10**6, restore_best_weights=True)
    kt.runtime.seed(settings.runtime.seed)
    began = time.perf_counter()
    model.fit(
        train,
        epochs=phase.epochs,
        steps_per_epoch=phase.steps_per_epoch,
        validation_data=kt.data.batches(split.validation, 64),
        callbacks=[best],
        shuffle=False,
        verbose=0,
    )
    return time.perf_counter() - began, model


def timed(options):
    """Trains by turns; returns the rows, (seconds, answers) of each seed by the name of the training, and the size of the set."""
    whole = cells.whole_set(options.set, cells.BACKBONES[options.backbone])
    rows = {}
    for seed in options.seeds:
        settings = config_of(options, seed)
        split = cells.split_of(whole, options.per_class, seed, settings.data.validation_fraction)
        many = f"fit.head_views={options.views}"
        turns = {
            "plain Keras, augmented": (keras_fit, []),
            many: (ours, [many]),
            "fit.head_views=1": (ours, []),
        }
        for name in turns if seed % 2 == 0 else reversed(turns):
            train, overrides = turns[name]
            seconds, model = train(config_of(options, seed, *overrides), split)
            bits = cells.answers(model, split.test)
            rows.setdefault(name, []).append((seconds, bits))
            print(f"seed {seed}, {name}: {seconds:.1f} s, {cells.share(bits):.4f} of {len(bits)} right", flush=True)
    return {name: rows[name] for name in turns}, len(split.train)


def table(options, rows, count):
    """A Markdown table, with the ratios in each turn."""
    keras_row, views_row, _ = rows.values()
    keras_bits = "".join(bits for _, bits in keras_row)
    head = (
        f"{options.set}, {count:,} training images of {cells.BACKBONES[options.backbone]} pixels, {options.backbone}, "
        f"{options.epochs} epochs, seeds {', '.join(map(str, options.seeds))}."
    )
    lines = [
        "| training | seconds | times Keras's | accuracy on the test | minus Keras's, points |",
        "|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        seconds = results.spread([seconds for seconds, _ in row])
        ratio = results.spread([own / other for (own, _), (other, _) in zip(row, keras_row, strict=True)])
        bits = "".join(bits for _, bits in row)
        gain = "" if row is keras_row else cells.gain(bits, keras_bits)
        lines.append(f"| {name} | {shown(seconds, '.1f')} | {shown(ratio, '.2f')} | {cells.accuracy(bits)} | {gain} |")
        if row is views_row:
            results.record(f"{options.views} views, times plain Keras with augmentation", *ratio)
            points = 100 * (cells.share(bits) - cells.share(keras_bits))
            results.record(
                f"{options.views} views, points of accuracy beside plain Keras", points, points, points, better="higher"
            )
    return "\n".join([head, "", *lines])


def shown(spread, pattern):
    """A median with its least and greatest."""
    middle, low, high = (format(value, pattern) for value in spread)
    return middle if low == high else f"{middle} ({low} to {high})"


def choice(options):
    """A Markdown table of the accuracy of different views."""
    import kerastrain as kt
    from kerastrain.data.views import Views
    from kerastrain.recipe import compiled, plan
    from kerastrain.recipe.fitting import fit_phase
    from kerastrain.recipe.stages import Stage

    whole, answered = cells.whole_set(options.set, cells.BACKBONES[options.backbone]), {}
    for seed in options.seeds:
        settings = config_of(options, seed)
        split = cells.split_of(whole, options.per_class, seed, settings.data.validation_fraction)
        model, settings = built(settings, split)
        network, head = kt.models.split_at_backbone(model)
        augment = kt.data.augment(**settings.data.augment.named)
        drawn = kt.data.batches(split.train, 64, seed=seed, epochs=options.epochs, augment=augment)
        augmented = network.predict(drawn, verbose=0).reshape(options.epochs, len(split.train), -1)
        train, validation, test = (
            kt.data.features.precompute(network, part, 64) for part in (split.train, split.validation, split.test)
        )
        plain = train.inputs[None]
        views = {
            "the image": plain,
            f"{options.views} augmented": augmented[: options.views],
            f"the image and {options.views - 1} augmented": np.concatenate([plain, augmented[1 : options.views]]),
            "a new augmented one in every epoch": augmented,
        }
        [phase], weights = plan.phases(settings, len(split.train)), head.get_weights()
        for name, arrays in views.items():
            head.set_weights(weights)
            kt.runtime.seed(seed)
            stage = Stage(head, dataclasses.replace(split.train, inputs=Views(arrays)), validation)
            compiled(head, settings, phase)
            with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
                fit_phase(stage, settings, phase, Path(folder))
            bits = cells.answers(head, validation) + cells.answers(head, test)
            answered[name] = answered.get(name, "") + bits
            print(f"seed {seed}, {name}: {cells.share(bits):.4f} of {len(bits)} right", flush=True)
    first = next(iter(answered.values()))
    lines = ["| views | right | minus the image alone, points |", "|---|---|---|"]
    lines += [f"| {name} | {cells.accuracy(bits)} | {cells.gain(bits, first)} |" for name, bits in answered.items()]
    head = f"{options.set}, {len(split.train):,} training images, {options.backbone}, {options.epochs} epochs."
    return "\n".join([head, "", *lines])


def main():
    """Trains and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    has_shared = not (cells.missing("sign_digits") or cells.missing("mobilenet"))
    parser.add_argument("--set", choices=cells.SETS, default="sign_digits" if has_shared else "digits")
    parser.add_argument(
        "--backbone", choices=list(cells.BACKBONES), default="mobilenet" if has_shared else "fractal_small"
    )
    parser.add_argument("--per-class", choices=("10", "30", "100", "all"), help="default: all, and 30 for --choice")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--choice", action="store_true", help="compare the accuracy of different views")
    parser.add_argument("--write", action="store_true", help="write the table to RESULTS.md")
    options = parser.parse_args()
    options.per_class = options.per_class or ("30" if options.choice else "all")
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    text = choice(options) if options.choice else table(options, *timed(options))
    print(text)
    if options.write:
        results.write(
            f"{TITLE}: which views, {options.set}" if options.choice else TITLE, f"{results.machine()}\n\n{text}"
        )


if __name__ == "__main__":
    main()
