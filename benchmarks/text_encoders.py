"""Accuracy of fine-tuned text encoders beside TF-IDF and Hugging Face's usual rates, and their speed beside KerasHub.

    python benchmarks/text_encoders.py --encoder FOLDER [--data FOLDER] [--per-class 100 all] [--seeds 0 1 2]
        [--recipes kerastrain words ...] [--set KEY=VALUE ...] [--pass-texts N] [--runs FOLDER] [--results FILE]
        [--table] [--write]

A cell is a number of texts a class, a seed and a recipe. The texts are divided as kerastrain divides them: a fifth for the
validation, a tenth for the test. With 100 texts a class, 80 of the training and 20 of the validation are used; the test is
whole. Each cell is appended to --results and not measured again, and what a cell trains is kept in --runs, where an
interrupted training is resumed, so that the command can be stopped and repeated. A run of `kerastrain train` with the same
data, encoder, seed and settings is taken if it lies in --runs as all_SEED. Accuracies have Wilson's intervals of 95 %, the
differences those of the bootstrap, over the test texts of all seeds; a text that is drawn by several seeds counts as several,
which makes the intervals a little too narrow.

`kerastrain` is the recipe with its defaults: the head on the features of the frozen encoder, then the whole network; --set
changes its config. `words` and `words and characters` are the pipelines of scikit-learn of texts.py. `2e-5` and `5e-5` are
Hugging Face's usual rates: its classifier (the pooler of the first token, dropout of 0.1, a dense layer) and the whole network
from the first step on, AdamW with weight decay of 0.01, linear decay without warm-up, a norm of the gradient of at most 1,
batches of 16 in random order padded to their longest text, 3 epochs, of which the last is taken. They train by Keras's `fit`
on the same layers.

The speed is that of a pass over --pass-texts training texts, after a first pass that is not counted: of the frozen encoder's
features, and of training in batches of 32. KerasHub's is its text classifier, with `from_preset` and `fit`, at the same
sequence length, to which it pads every text (512 unless it is set).
"""

import argparse
import contextlib
import csv
import gc
import io
import itertools
import os
import shutil
import time
from pathlib import Path

import numpy as np
import results
import texts
from recipe import accuracy, gain, share

RECIPES = ("kerastrain", "words", "words and characters", "2e-5", "5e-5")
BATCH = 32
NOTE = (
    "With 100 texts a class the three epochs of Hugging Face's usual rates are 30 steps; kerastrain makes at least 100."
)
TITLE = "A pretrained text encoder beside TF-IDF and the usual rates of Hugging Face"


def settings_of(options, seed, changed=(), path=None):
    """The config of `kerastrain train` with the encoder."""
    from kerastrain import config

    lines = [
        "data.kind=text",
        f"data.path={path or options.data}",
        f"model.backbone={options.encoder}",
        "export.formats=[]",
    ]
    return config.load(overrides=[*lines, f"runtime.seed={seed}", *changed])


def split_of(options, per_class, seed):
    """The parts of a seed, as kerastrain divides them, with so many texts a class, or "all", in training and validation."""
    import kerastrain as kt
    from kerastrain.recipe import plan

    settings = settings_of(options, seed)
    parts = plan.parts(settings)
    if per_class != "all":
        held = round(int(per_class) * settings.data.validation_fraction)
        for name, count in (("train", int(per_class) - held), ("validation", held)):
            classes = [
                np.flatnonzero(parts[name].targets == number)[:count] for number in range(len(parts[name].labels))
            ]
            parts[name] = parts[name].subset(np.concatenate(classes))
    return kt.data.Split(**parts)


def answers(model, examples):
    """One character for each example: 1 where the model is right."""
    import kerastrain as kt

    lengths = kt.models.text_lengths(model, examples.inputs) if examples.inputs.ndim == 1 else None
    outputs = kt.data.features.precompute(model, examples, 64, lengths=lengths).inputs
    return "".join("01"[int(right)] for right in outputs.argmax(1) == examples.targets)


def kerastrain_cell(options, split, per_class, seed, folder):
    """The answers of the head on the frozen encoder, after fine-tuning, and of what ships."""
    import keras

    import kerastrain as kt
    from kerastrain import run_directory

    path = options.data
    if per_class != "all":
        path = folder.with_name(f"{folder.name}_texts")
        write_tables(split, path)
    settings = settings_of(options, seed, options.set, path)
    with contextlib.redirect_stdout(io.StringIO()):
        if not folder.exists():
            kt.recipe.run(settings, folder)
        elif not (folder / "finished.json").exists():
            kt.recipe.resume(folder, settings)
    run = run_directory.load(folder)
    for section in ("data", "model", "optimizer", "schedule", "fit", "fine_tune", "runtime"):
        ours, theirs = getattr(settings, section), getattr(run.config, section)
        if ours != theirs:
            raise SystemExit(f"the run in '{folder}' has another config: {section} is {theirs}, not {ours}")
    found = {"shipped": answers(run.model, split.test)}
    features, head = kt.models.split_at_backbone(run.model)
    if (best := folder / "checkpoints" / "best_fine_tune.keras").exists():
        whole = keras.Model(run.model.inputs, run.model.outputs)
        whole.load_weights(best)
        found["fine_tune"] = answers(whole, split.test)
    first = kt.recipe.build(settings, None, split)
    features, head = kt.models.split_at_backbone(first)
    head.load_weights(folder / "checkpoints" / "best_head.keras")
    test = kt.data.features.precompute(
        features, split.test, lengths=kt.models.text_lengths(features, split.test.inputs)
    )
    return {**found, "head": answers(head, test)}


def write_tables(split, folder):
    """Writes the parts as tables of texts and labels."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in split.parts.items():
        with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["text", "label"])
            rows.writerows([text, part.labels[target]] for text, target in zip(part.inputs, part.targets, strict=True))


def hugging_face_cell(options, split, rate, seed, folder):
    """The classifier of Hugging Face, trained as a whole from its first step, and its answers after the last epoch."""
    import keras

    import kerastrain as kt
    from kerastrain.backbones import text_encoders
    from kerastrain.presets.safetensors import Tensors

    keras.utils.set_random_seed(seed)
    network = text_encoders.load(options.encoder, texts=split.train.inputs)
    blocks = [layer for layer in network.layers if layer.name.startswith("block_")]
    first = blocks[-1].output[:, 0]
    pooler = keras.layers.Dense(first.shape[-1], activation="tanh")
    normal = keras.initializers.RandomNormal(stddev=0.02)
    outputs = keras.layers.Dense(len(split.labels), kernel_initializer=normal)(keras.layers.Dropout(0.1)(pooler(first)))
    tensors = Tensors(Path(options.encoder))
    if named := [name for name in tensors if name.endswith("pooler.dense.weight")]:
        pooler.set_weights([tensors[named[0]].T, tensors[named[0].replace("weight", "bias")]])
    model = keras.Model(network.input, outputs)
    kt.models.unfreeze(model)
    train, epochs, batch = split.train, 3, 16
    steps = kt.data.steps_per_epoch(train, batch)
    schedule = kt.schedules.make("linear", float(rate), steps=epochs * steps)
    optimizer = kt.optimizers.make("adamw", schedule, weight_decay=0.01, global_clip_norm=1.0, epsilon=1e-8)
    model.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True))
    model.optimizer.build(model.trainable_variables)
    saving = kt.callbacks.Checkpoints(folder, every="1 minutes", keep=1, phase="rival")
    model.fit(
        kt.data.batches(train, batch, shuffle=True, epochs=epochs, seed=seed, start_step=saving.start.step),
        **{
            "epochs": epochs,
            "initial_epoch": saving.start.epoch,
            "steps_per_epoch": steps,
            "shuffle": False,
            "verbose": 0,
        },
        callbacks=saving.before([]),
    )
    return {"shipped": answers(model, split.test)}


def tfidf_cell(split, recipe):
    """The answers of scikit-learn's pipeline."""
    cell = (texts.words_cell if recipe == "words" else texts.characters_cell)(split, 0, [])
    right = np.array(cell["test"]) == split.test.targets
    return {"shipped": "".join("01"[int(each)] for each in right), "choice": cell["choice"]}


def train_missing(options, known):
    """Trains the cells that are not known yet, and appends each to the file."""
    import keras

    for per_class, seed, recipe in itertools.product(options.per_class, options.seeds, options.recipes):
        key = (*named(options), per_class, seed, recipe_name(recipe, options))
        if key in known:
            continue
        split = split_of(options, per_class, seed)
        keras.backend.clear_session()
        gc.collect()
        name = "_".join(
            [per_class, str(seed), *([] if recipe == "kerastrain" else [recipe]), *changed(recipe, options)]
        )
        folder = options.runs / name.replace("=", "_").replace("/", "_")
        began = time.perf_counter()
        if recipe == "kerastrain":
            cell = kerastrain_cell(options, split, per_class, seed, folder)
        elif recipe in ("2e-5", "5e-5"):
            cell = hugging_face_cell(options, split, recipe, seed, folder)
            shutil.rmtree(folder, ignore_errors=True)
        else:
            cell = tfidf_cell(split, recipe)
        cell = {"key": key, "training": len(split.train), **cell}
        results.add_cell(options.results, cell)
        known[key] = cell
        shares = ", ".join(
            f"{part} {share(cell[part]):.3f}" for part in ("head", "fine_tune", "shipped") if part in cell
        )
        print(*key[2:], shares, f"{time.perf_counter() - began:.0f} s", flush=True)


def time_missing(options, known):
    """Times the passes that are not known yet, in texts a second."""
    for name, measure in PASSES.items():
        key = (*named(options), options.pass_texts, "pass", name)
        if key not in known:
            cell = {"key": key, **measure(options, split_of(options, "all", 0))}
            results.add_cell(options.results, cell)
            known[key] = cell
            print(*key[2:], cell, flush=True)


def some(examples, count):
    """Training texts from all over the set."""
    return examples.subset(np.unique(np.linspace(0, len(examples) - 1, count).astype(int)))


def kerastrain_passes(options, split, precision="float32"):
    """Texts a second of kerastrain: forward, with the texts of similar lengths together, and in training."""
    import keras

    import kerastrain as kt
    from kerastrain.recipe import compiling, plan, stages

    keras.backend.clear_session()
    settings = settings_of(options, 0, [f"runtime.precision={precision}", "fit.epochs=1"])
    train = some(split.train, options.pass_texts)
    model = kt.recipe.build(settings, None, split)
    features, _ = kt.models.split_at_backbone(model)

    def forward():
        lengths = kt.models.text_lengths(features, train.inputs)
        kt.data.features.precompute(features, train, 64, lengths=lengths)

    cell = {"forward": len(train) / seconds(forward)}
    phase = plan.phases(settings, len(train))[-1]
    small = kt.data.Split(train=train, validation=train, test=train)
    stage = stages.staged(model, settings, small, phase)
    compiling.compiled(stage.model, settings, phase)
    batches = stages.training_batches(stage, settings, phase, start_step=0)
    cell["training"] = len(train) / seconds(lambda: stage.model.fit(batches, shuffle=False, verbose=0))
    return cell


def kerashub_passes(options, split):
    """Texts a second of KerasHub's text classifier, forward and in training."""
    import keras
    import keras_hub
    import tensorflow as tf

    from kerastrain.backbones import text_encoders

    keras.backend.clear_session()
    length = text_encoders.load(options.encoder, texts=split.train.inputs).get_layer("tokens").sequence_length
    train = some(split.train, options.pass_texts)
    strings = tf.constant([str(text) for text in train.inputs])
    classifier = keras_hub.models.TextClassifier.from_preset(options.encoder, num_classes=len(split.labels))
    classifier.preprocessor.sequence_length = length
    forward = seconds(lambda: classifier.backbone.predict(classifier.preprocessor(strings), batch_size=64, verbose=0))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    classifier.compile(keras.optimizers.AdamW(3e-5), loss)
    training = seconds(lambda: classifier.fit(strings, train.targets, batch_size=BATCH, verbose=0))
    return {"forward": len(train) / forward, "training": len(train) / training, "sequence_length": length}


PASSES = {
    "kerastrain": kerastrain_passes,
    "kerastrain, mixed_bfloat16": lambda options, split: kerastrain_passes(options, split, "mixed_bfloat16"),
    "KerasHub": kerashub_passes,
}


def seconds(action):
    """The time of the second of two calls."""
    action()
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def named(options):
    """The names of the data and the encoder, which every key begins with."""
    encoder = Path(options.encoder)
    return Path(options.data).name, encoder.parent.name if encoder.name == "model" else encoder.name


def changed(recipe, options):
    """The lines of the config that the options change."""
    return options.set if recipe == "kerastrain" else []


def recipe_name(recipe, options):
    """The name of a recipe in the file."""
    return " ".join([recipe, *changed(recipe, options)])


def table(options, known):
    """The measures as Markdown: a row for each number of texts and model, the seeds of all recipes together."""
    lines = []
    for per_class in options.per_class:
        recipes = [recipe_name(recipe, options) for recipe in RECIPES]
        cells = {
            recipe: {
                seed: known[key]
                for seed in options.seeds
                if (key := (*named(options), per_class, seed, recipe)) in known
            }
            for recipe in recipes
        }
        ours = cells.pop(recipes[0])
        rows = {"kerastrain": ("shipped", ours), "kerastrain, the head": ("head", ours)}
        rows |= {recipe: ("shipped", found) for recipe, found in cells.items()}
        for name, (part, found) in rows.items():
            shared = [seed for seed in ours if seed in found]
            if not shared:
                continue
            bits = "".join(found[seed][part] for seed in shared)
            if name.startswith("kerastrain"):
                figure = results.share(bits.count("1"), len(bits))
                results.record(f"{per_class} a class, {name}: accuracy", *figure, better="higher")
            ahead = "–" if name == "kerastrain" else gain("".join(ours[seed]["shipped"] for seed in shared), bits)
            count = f"{found[shared[0]]['training']:,}"
            lines.append(f"| {per_class} | {count} | {len(shared)} | {name} | {accuracy(bits)} | {ahead} |")
    header = [
        "| a class | training texts | seeds | model | test accuracy | kerastrain − model, points |",
        "|---" * 6 + "|",
    ]
    return "\n".join([*header, *lines, *speeds(options, known)]) if lines else "no cells"


def speeds(options, known):
    """The lines of the passes."""
    rows = {name: known.get((*named(options), options.pass_texts, "pass", name)) for name in PASSES}
    if not any(rows.values()):
        return []
    lines = [
        "",
        "| texts a second | features | training | minutes of a training pass over 10,000 |",
        "|---|---|---|---|",
    ]
    if rows["kerastrain"] and rows["KerasHub"]:
        ratio = rows["kerastrain"]["training"] / rows["KerasHub"]["training"]
        results.record("texts a second in training, times KerasHub's", ratio, better="higher")
    for name, cell in rows.items():
        if cell:
            minutes = 10_000 / cell["training"] / 60
            lines.append(f"| {name} | {cell['forward']:.0f} | {cell['training']:.1f} | {minutes:.1f} |")
    return lines


def main():
    """Measures what is not known yet, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    shared = Path(os.environ.get("KERASTRAIN_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    parser.add_argument("--encoder", required=True, help="a Hugging Face folder of a text encoder")
    parser.add_argument("--data", default=str(shared / "data/rt_polarity"))
    parser.add_argument("--per-class", nargs="+", default=["100", "all"], help="numbers of texts, or all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="other values of the config")
    parser.add_argument("--pass-texts", type=int, default=1024, help="texts of a timed pass, 0 for none")
    parser.add_argument("--runs", type=Path, default=Path("text_encoder_runs"), help="the folder of what is trained")
    parser.add_argument("--results", type=Path, default=Path("text_encoders.jsonl"), help="the file of the cells")
    parser.add_argument("--table", action="store_true", help="measure nothing, only print the table")
    parser.add_argument("--write", action="store_true", help="write the table to RESULTS.md")
    options = parser.parse_args()
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    known = results.cells(options.results)
    if not options.table:
        options.runs.mkdir(parents=True, exist_ok=True)
        train_missing(options, known)
        if options.pass_texts:
            time_missing(options, known)
    text = table(options, known)
    print(text)
    if options.write:
        results.write(TITLE, f"{results.machine()} {NOTE}\n\n{text}")


if __name__ == "__main__":
    main()
