"""Accuracy of the default recipe after each of its phases, beside the transfer guide of Keras and the choices of fastai.

    python benchmarks/recipe.py [--sets sign_digits ...] [--per-class 10 30 100 all] [--backbones lite0 ...]
        [--seeds 0 1 ...] [--recipes kerastrain keras_guide fastai] [--set KEY=VALUE ...] [--epochs NUMBER]
        [--results FILE] [--table] [--write]

A cell is a set, a number of images a class, a backbone, a seed and a recipe. The images a class are divided as kerastrain
divides a folder without parts: a fifth of them for validation. Up to 300 other images are the test. Each cell's answers
are appended to --results, and a cell that is there is not trained again, so the command can be stopped and repeated;
--table only prints. `--set` trains kerastrain's recipe with other values of the config, under its own name in the file;
`--epochs` gives all recipes that many epochs in each of their two phases, for a first look in less time.
Accuracies have Wilson's intervals of 95 %, the difference that of the bootstrap, over the test images of all seeds; an image
that is drawn by several seeds counts as several, which makes the intervals of several seeds a little too narrow.

Sets: sign_digits, cats_dogs and mango_leaves in `$KERASTRAIN_SHARED/data`; digits of scikit-learn; fashion_mnist, where
Debian's package dataset-fashion-mnist is installed. Backbones: lite0 and fractal_small, which ship with kerastrain, and
mobilenet, MobileNetV1 of width 0.25 with the weights in `$KERASTRAIN_SHARED/models`. Images are 128 x 128 pixels, 64 x 64
for fractal_small: 224 x 224, at which kerastrain uses photos, has three times as many pixels to compute.

The rivals train by Keras's `fit` on the same layer, images, parts and augmentation. All three train their heads on features
that are computed once. `keras_guide` is https://keras.io/guides/transfer_learning: dropout and a dense layer, 20 epochs of Adam
at 1e-3, then 10 epochs of the whole model at 1e-5, batch norm frozen. `fastai` is `fine_tune(10)` of vision_learner (Howard
and Gugger 2020): its head, one epoch of one cycle at 2e-3, then unfrozen with batch norm for 10 epochs of one cycle at 1e-3
for the head, a tenth of it for the upper half of the backbone's weights and a hundredth for the lower; Adam with decay 0.01
of the kernels, without the cycle of the momentum.
"""

import argparse
import contextlib
import gc
import gzip
import io
import itertools
import os
import re
import tempfile
import time
from pathlib import Path

import numpy as np
import results

TEST_IMAGES = 300
MOST_A_CLASS = 400  # of fashion_mnist, which has 6,000
EPOCHS = (
    "Each recipe has its own number of epochs, frozen and then unfrozen: kerastrain 30 and 10 or as many as make 100 steps, the "
    "guide 20 and 10, fastai 1 and 10. With few images a class the rivals train for few steps, and their lower accuracies may "
    "come from that as well."
)
RECIPES = ("kerastrain", "keras_guide", "fastai")
BACKBONES = {"lite0": 128, "mobilenet": 128, "fractal_small": 64}  # image size in pixels
FOLDERS = ("sign_digits", "cats_dogs", "mango_leaves")
SETS = (*FOLDERS, "digits", "fashion_mnist")
FASHION = Path("/usr/share/datasets/fashion-mnist")


def shared():
    """The folder of the shared data and models."""
    return Path(os.environ.get("KERASTRAIN_SHARED", Path(__file__).resolve().parents[2] / "shared"))


def missing(name):
    """The path that a set or backbone needs and that does not exist, or None."""
    places = {folder: shared() / "data" / folder for folder in FOLDERS} | {
        "fashion_mnist": FASHION,
        "mobilenet": weights(),
    }
    return places[name] if name in places and not places[name].exists() else None


def weights():
    """The file of MobileNet's weights."""
    return shared() / "models" / "mobilenet_v1_0.25_224.h5"


def overrides_of(backbone):
    """The lines of the config that choose a backbone."""
    size = BACKBONES[backbone]
    names = {"lite0": "kerastrain:efficientnet_lite0", "fractal_small": "kerastrain:fractal_small"}
    lines = [f"model.backbone={names.get(backbone, 'keras:MobileNet')}", f"data.image_size=[{size}, {size}]"]
    return lines + (["model.alpha=0.25", f"model.weights={weights()}"] if backbone == "mobilenet" else [])


def whole_set(name, size):
    """All images of a set as Examples, decoded at a size."""
    import kerastrain as kt

    if name in FOLDERS:
        whole = kt.data.image_folder(
            shared() / "data" / name, image_size=(size, size), validation_fraction=0.0, test_fraction=0.0
        ).train
        return whole.subset(range(len(whole)), inputs=np.stack([whole.image(index) for index in range(len(whole))]))
    if name == "digits":
        return kt.data.digits(image_size=(size, size), validation_fraction=0.0, test_fraction=0.0).train
    import tensorflow as tf

    def read(kind, header):
        with gzip.open(FASHION / f"train-{kind}-ubyte.gz") as file:
            return np.frombuffer(file.read(), np.uint8, offset=header)

    targets = read("labels-idx1", 8)
    chosen = np.sort(np.concatenate([np.flatnonzero(targets == number)[:MOST_A_CLASS] for number in range(10)]))
    images = read("images-idx3", 16).reshape(-1, 28, 28, 1)[chosen]
    images = tf.image.resize(images, (size, size)).numpy().round().astype(np.uint8).repeat(3, axis=-1)
    return kt.data.Examples(targets[chosen].astype(np.int64), tuple(map(str, range(10))), images)


def split_of(whole, per_class, seed, validation_fraction):
    """Training, validation and test images of a cell, or None if the set has too few."""
    import kerastrain as kt

    random = np.random.default_rng(seed)
    classes = len(whole.labels)
    parts = {"train": [], "validation": [], "test": []}
    for number in range(classes):
        indices = random.permutation(np.flatnonzero(whole.targets == number))
        test, rest = np.split(indices, [TEST_IMAGES // classes])
        count = len(rest) if per_class == "all" else int(per_class)
        if count > len(rest):
            return None
        held = max(round(count * validation_fraction), 1)
        parts["test"].append(test)
        parts["validation"].append(rest[:held])
        parts["train"].append(rest[held:count])
    return kt.data.Split(**{name: whole.subset(np.concatenate(chosen)) for name, chosen in parts.items()})


def answers(model, examples):
    """One character for each example: 1 where the model is right."""
    import kerastrain as kt

    outputs = model.predict(kt.data.batches(examples, 64), verbose=0)
    return "".join("01"[int(right)] for right in outputs.argmax(1) == examples.targets)


def kerastrain_cell(settings, split, epochs):
    """Trains the recipe of kerastrain; returns the answers of the head, after fine-tuning, and of what ships.

    The numbers of `epochs` are in its settings.
    """
    import keras

    import kerastrain as kt
    from kerastrain.recipe.building import prepare_unmeasured

    prepared = prepare_unmeasured(settings, kt.distribute.make("none"), lambda *_: split)
    model = prepared.build()
    features, head = kt.models.split_at_backbone(model)
    test = kt.data.features.precompute(features, split.test)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        best = kt.recipe.fit(model, prepared.config, split, Path(folder))
        found = {"shipped": answers(model, split.test), "best": f"{best.phase} {best.epoch}"}
        # Models without an optimizer, which the files of the phases would not fit.
        whole = keras.Model(model.inputs, model.outputs)
        for phase, part, examples in (("head", head, test), ("fine_tune", whole, split.test)):
            path = Path(folder) / "checkpoints" / f"best_{phase}.keras"
            if path.exists():
                part.load_weights(path)
                found[phase] = answers(part, examples)
    return found


def rival_parts(settings, split):
    """The pixels, the frozen backbone's features and the layer named "backbone", as plain Keras; and a step's batches."""
    import keras

    import kerastrain as kt

    backbone = kt.recipe.load_backbone(settings)
    pixels = x = keras.Input((*backbone.image_size, 3))
    for layer in (*backbone.preprocessing, backbone.layer):
        x = layer(x)
    if len(x.shape) == 4:
        x = keras.layers.GlobalAveragePooling2D()(x)
    network = keras.Model(pixels, x)

    def batches(examples, epochs, augment=None):
        return kt.data.batches(examples, 32, shuffle=True, epochs=epochs, seed=settings.runtime.seed, augment=augment)

    return network, batches, kt.data.augment(**settings.data.augment.named)


def keras_guide_cell(settings, split, epochs):
    """The guide of Keras: the head, then the whole model at 1e-5; `epochs` in each phase, or its own if that is None."""
    import keras

    import kerastrain as kt

    keras.utils.set_random_seed(settings.runtime.seed)
    network, batches, augment = rival_parts(settings, split)
    head = keras.Sequential([keras.layers.Dropout(0.2), keras.layers.Dense(len(split.labels))])
    model = keras.Model(network.input, head(network.output))
    train, test = (kt.data.features.precompute(network, part) for part in (split.train, split.test))
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    head.compile(keras.optimizers.Adam(1e-3), loss)
    head.fit(batches(train, epochs or 20), shuffle=False, verbose=0)
    found = {"head": answers(head, test)}
    kt.models.unfreeze(model)
    model.compile(keras.optimizers.Adam(1e-5), loss)
    model.fit(batches(split.train, epochs or 10, augment), shuffle=False, verbose=0)
    return {**found, "shipped": answers(model, split.test)}


def fastai_cell(settings, split, epochs):
    """`fine_tune(10)` of fastai: its head and one cycle frozen, then one cycle with discriminative rates.

    `epochs` in each phase, or its own if that is None.
    """
    import keras

    import kerastrain as kt

    keras.utils.set_random_seed(settings.runtime.seed)
    network, batches, augment = rival_parts(settings, split)
    layers = keras.layers
    head = keras.Sequential(
        [
            *(layers.BatchNormalization(momentum=0.9), layers.Dropout(0.25), layers.Dense(512, use_bias=False)),
            *(layers.ReLU(), layers.BatchNormalization(momentum=0.9), layers.Dropout(0.5)),
            layers.Dense(len(split.labels), use_bias=False),
        ]
    )
    model = keras.Model(network.input, head(network.output))
    train, test = (kt.data.features.precompute(network, part) for part in (split.train, split.test))
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)

    def optimizer(peak, steps, factors=None):
        steps = max(steps, 2)  # The cycle needs a rise and a fall.
        schedule = kt.schedules.make(
            "one_cycle", peak, steps=steps, warmup_steps=0, rise_steps=max(steps // 4, 1), start_fraction=0.04
        )
        return kt.optimizers.make("adamw", schedule, weight_decay=0.01, beta_2=0.99, epsilon=1e-5, layer_rates=factors)

    dataset = batches(train, epochs or 1)
    head.compile(optimizer(2e-3, int(dataset.cardinality())), loss)
    head.fit(dataset, shuffle=False, verbose=0)
    found = {"head": answers(head, test)}
    kt.models.unfreeze(model, batch_norm=True)
    body = model.get_layer("backbone").trainable_variables
    halves = {False: 0.1, True: 0.01}  # the upper half of the variables, the lower half
    factors = {f"^{re.escape(weight.path)}$": halves[index < len(body) // 2] for index, weight in enumerate(body)}
    dataset = batches(split.train, epochs or 10, augment)
    model.compile(optimizer(1e-3, int(dataset.cardinality()), factors), loss)
    model.fit(dataset, shuffle=False, verbose=0)
    return {**found, "shipped": answers(model, split.test)}


CELLS = {"kerastrain": kerastrain_cell, "keras_guide": keras_guide_cell, "fastai": fastai_cell}


def changes(options):
    """The lines of the config of kerastrain's recipe that the options change."""
    epochs = [] if options.epochs is None else [f"fit.head_epochs={options.epochs}", f"fit.epochs={options.epochs}"]
    return [*epochs, *options.set]


def named(recipe, options):
    """The name of a recipe in the file, with what the options change in it."""
    changed = changes(options) if recipe == "kerastrain" else [f"epochs={options.epochs}"] if options.epochs else []
    return " ".join([recipe, *changed])


def trained(options, known):
    """Trains the cells that are not known yet, and appends each to the file."""
    import keras

    from kerastrain import config

    for name, backbone in itertools.product(options.sets, options.backbones):
        if path := missing(name) or missing(backbone):
            print(name, backbone, f"skipped: there is no {path}", flush=True)
            continue
        whole = None
        for per_class, seed, recipe in itertools.product(options.per_class, options.seeds, options.recipes):
            key = [name, per_class, backbone, seed, named(recipe, options)]
            if tuple(key) in known:
                continue
            whole = whole_set(name, BACKBONES[backbone]) if whole is None else whole
            changed = changes(options) if recipe == "kerastrain" else []
            settings = config.load(overrides=[*overrides_of(backbone), f"runtime.seed={seed}", *changed])
            split = split_of(whole, per_class, seed, settings.data.validation_fraction)
            if split is None:
                print(*key, f"skipped: too few images a class beside {TEST_IMAGES} of the test", flush=True)
                continue
            keras.backend.clear_session()
            gc.collect()
            began = time.perf_counter()
            cell = {
                "key": key,
                **CELLS[recipe](settings, split, options.epochs),
                "seconds": round(time.perf_counter() - began, 1),
            }
            results.add_cell(options.results, cell)
            known[tuple(key)] = cell
            shares = ", ".join(
                f"{part} {share(cell[part]):.3f}" for part in ("head", "fine_tune", "shipped") if part in cell
            )
            print(*key, shares, cell.get("best", ""), f"{cell['seconds']} s", flush=True)


def share(bits):
    """Fraction of right answers."""
    return bits.count("1") / len(bits)


def accuracy(bits):
    """An accuracy with its interval, or a dash if the part was not trained."""
    from kerastrain.evaluation import intervals

    if bits is None:
        return "–"
    low, high = intervals.wilson(bits.count("1"), len(bits))
    return f"{share(bits):.3f} ({low:.3f} to {high:.3f})"


def gain(bits, before):
    """The difference of two accuracies in points with its interval, from the same images in both."""
    from kerastrain.evaluation import intervals

    if bits is None or before is None:
        return "–"
    points = 100 * (np.array(list(bits), float) - np.array(list(before), float))
    low, high = intervals.bootstrap(lambda rows: points[rows].mean(), len(points))
    return f"{points.mean():+.1f} ({low:+.1f} to {high:+.1f})"


def table(options, known):
    """A Markdown table with a row for each set, number of images and backbone, the seeds together."""
    recipes = [named(recipe, options) for recipe in RECIPES]
    columns = [(0, "head"), (0, "fine_tune"), (0, "shipped"), (1, "shipped"), (2, "shipped")]
    lines = [
        "| set | a class | backbone | seeds | head | fine-tuned | shipped | shipped − head, points | Keras's guide | fastai |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    rows = []
    for name, per_class, backbone in itertools.product(options.sets, options.per_class, options.backbones):
        cells = [
            [known.get((name, per_class, backbone, seed, recipe), {}) for recipe in recipes] for seed in options.seeds
        ]
        cells = [row for row in cells if row[0]]
        if not cells:
            continue
        bits = [
            "".join(row[recipe][part] for row in cells) if all(part in row[recipe] for row in cells) else None
            for recipe, part in columns
        ]
        rows.append(bits)
        words = [name, per_class, backbone, len(cells), *map(accuracy, bits)]
        words.insert(7, gain(bits[2], bits[0]))
        lines.append(f"| {' | '.join(map(str, words))} |")
    if not rows:
        return "no cells"
    for place, part in ((0, "after the head"), (2, "shipped")):
        answers = "".join(bits[place] for bits in rows if bits[place])
        if answers:
            results.record(f"accuracy {part}", *results.share(answers.count("1"), len(answers)), better="higher")
    return "\n".join([summary(rows), "", *lines])


def summary(rows):
    """Sentences about the rows of the table, each with the answers of its five columns or None."""
    gains = [100 * (share(bits[2]) - share(bits[0])) for bits in rows if bits[0] and bits[2]]
    sentences = []
    if gains:
        kept = sum(round(points, 6) >= -0.5 for points in gains)
        sentences.append(
            f"Shipped ≥ head − 0.5 points in {kept} of {len(gains)} rows, at worst {min(gains):+.1f} points."
        )
    if whole := [bits for bits in rows if all(bits)]:
        means = [np.mean([share(bits[column]) for bits in whole]) for column in range(5)]
        names = ("head", "fine-tuned", "shipped", "Keras's guide", "fastai")
        listed = ", ".join(f"{name} {mean:.3f}" for name, mean in zip(names, means, strict=True))
        sentences.append(f"Means of the rows with both rivals, {len(whole)}: {listed}.")
    return " ".join(sentences)


def main():
    """Trains the chosen cells and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument(
        "--per-class", nargs="+", choices=("10", "30", "100", "all"), default=["10", "30", "100", "all"]
    )
    parser.add_argument("--backbones", nargs="+", choices=list(BACKBONES), default=list(BACKBONES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="other values of the config")
    parser.add_argument("--epochs", type=int, help="epochs of each phase of all recipes; default: each recipe's own")
    parser.add_argument("--results", type=Path, default=Path("recipe.jsonl"), help="the file of the cells")
    parser.add_argument("--table", action="store_true", help="train nothing, only print the table")
    parser.add_argument("--write", action="store_true", help="write the table to RESULTS.md")
    options = parser.parse_args()
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    known = results.cells(options.results)
    if not options.table:
        trained(options, known)
    text = table(options, known)
    print(text)
    if options.write:
        results.write(
            "Fine-tuning: after the head, after fine-tuning, shipped", f"{results.machine()} {EPOCHS}\n\n{text}"
        )


if __name__ == "__main__":
    main()
