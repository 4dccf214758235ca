"""Accuracy with few photos a class: a head on the frozen features of three backbones that need no download.

    python benchmarks/few_shot.py [--sets cats_dogs ...] [--per-class 10 30 100] [--backbones lite0 ...] [--seeds 0 1 ...]
        [--results FILE] [--table] [--write]

A cell is a set, a number of images a class, a backbone and a seed. Its head is trained as `kerastrain train fit.epochs=0`
trains it: a fifth of the images a class chooses the best epoch. Up to 300 other images are the test. The features of a set
are computed once for each backbone, at its own image size, and all cells use them. Each cell's answers are appended to
--results, and a cell that is there is not trained again; --table only prints. The accuracies have Wilson's intervals of 95 %
over the test images of all seeds; an image that is drawn by several seeds counts as several, which makes the intervals a
little too narrow. A set with too few images a class has no cell.

Sets and backbones are those of `recipe.py`. ImageNet holds cats and dogs, so that lite0 and mobilenet know them; it holds no
hand signs, no diseases of mango leaves and no grey pictures of clothes at 28 x 28 pixels.
"""

import argparse
import contextlib
import io
import itertools
import logging
import os
import tempfile
import time
from pathlib import Path

import recipe
import results

SETS = ("cats_dogs", "sign_digits", "mango_leaves", "fashion_mnist", "digits")
SIZES = {"lite0": 224, "mobilenet": 224, "fractal_small": 32}  # pixels for which the backbones were made
TITLE = "Few photos a class: a head on frozen features"


def settings_of(backbone, seed):
    """The config of `kerastrain train fit.epochs=0` with a backbone."""
    from kerastrain import config

    size = SIZES[backbone]
    lines = [*recipe.overrides_of(backbone), f"data.image_size=[{size}, {size}]", "fit.epochs=0"]
    return config.load(overrides=[*lines, f"runtime.seed={seed}"])


def features_of(name, backbone):
    """All images of a set as Examples of features, and the head of a model for them."""
    import kerastrain as kt

    settings = settings_of(backbone, 0)
    whole = recipe.whole_set(name, SIZES[backbone])
    split = recipe.split_of(whole, 10, 0, settings.data.validation_fraction)
    model = kt.recipe.build(settings, kt.recipe.load_backbone(settings), split)
    network, head = kt.models.split_at_backbone(model)
    return kt.data.features.precompute(network, whole), head


def trained_answers(head, settings, split):
    """Trains a new head on features; returns its answers to the test in its best epoch."""
    import keras

    import kerastrain as kt
    from kerastrain.recipe import fitting, plan, stages

    kt.runtime.seed(settings.runtime.seed)
    head = keras.models.clone_model(head)
    [phase] = plan.phases(settings, len(split.train))
    kt.recipe.compiled(head, settings, phase)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        fitting.fit_phase(stages.Stage(head, split.train, split.validation), settings, phase, Path(folder))
        head.load_weights(Path(folder) / "checkpoints" / "best_head.keras")
    return recipe.answers(head, split.test)


def train_missing(options, known):
    """Trains the cells that are not known yet, and appends each to the file."""
    import keras

    for name, backbone in itertools.product(options.sets, options.backbones):
        if path := recipe.missing(name) or recipe.missing(backbone):
            print(name, backbone, f"skipped: there is no {path}", flush=True)
            continue
        features = head = None
        for per_class, seed in itertools.product(options.per_class, options.seeds):
            key = (name, per_class, backbone, seed)
            if key in known:
                continue
            if features is None:
                keras.backend.clear_session()
                features, head = features_of(name, backbone)
            settings = settings_of(backbone, seed)
            split = recipe.split_of(features, per_class, seed, settings.data.validation_fraction)
            if split is None:
                print(*key, f"skipped: too few images a class beside {recipe.TEST_IMAGES} of the test", flush=True)
                continue
            began = time.perf_counter()
            cell = {"key": key, "answers": trained_answers(head, settings, split)}
            cell["seconds"] = round(time.perf_counter() - began, 1)
            results.add_cell(options.results, cell)
            known[key] = cell
            print(*key, f"{recipe.share(cell['answers']):.3f}", f"{cell['seconds']} s", flush=True)


def table(options, known):
    """A Markdown table with a row for each set and number of images, and a column for each backbone, the seeds together."""
    lines = [
        f"| set | a class | seeds | {' | '.join(options.backbones)} |",
        "|---" * (3 + len(options.backbones)) + "|",
    ]
    for name, per_class in itertools.product(options.sets, options.per_class):
        cells = {
            backbone: [known[key] for seed in options.seeds if (key := (name, per_class, backbone, seed)) in known]
            for backbone in options.backbones
        }
        if not any(cells.values()):
            continue
        counts = sorted({len(found) for found in cells.values()})
        words = [recipe.accuracy("".join(cell["answers"] for cell in found) or None) for found in cells.values()]
        lines.append(f"| {name} | {per_class} | {' or '.join(map(str, counts))} | {' | '.join(words)} |")
    return "\n".join(lines) if len(lines) > 2 else "no cells"


def main():
    """Trains the chosen cells and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS[:4]))
    parser.add_argument("--per-class", nargs="+", choices=("10", "30", "100"), default=["10", "30", "100"])
    parser.add_argument("--backbones", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--results", type=Path, default=Path("few_shot.jsonl"), help="the file of the cells")
    parser.add_argument("--table", action="store_true", help="train nothing, only print the table")
    parser.add_argument("--write", action="store_true", help="write the table to RESULTS.md")
    options = parser.parse_args()
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # Each head is traced again, of which TensorFlow warns.
    known = results.cells(options.results)
    if not options.table:
        train_missing(options, known)
    text = table(options, known)
    print(text)
    for backbone in options.backbones:
        answers = "".join(known[key]["answers"] for key in known if key[2] == backbone and key[3] in options.seeds)
        if answers:
            figure = results.share(answers.count("1"), len(answers))
            results.record(f"{backbone}: accuracy", *figure, better="higher")
    if options.write:
        results.write(TITLE, f"{results.machine()}\n\n{text}")


if __name__ == "__main__":
    main()
