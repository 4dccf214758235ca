"""Search algorithms on digits: the best score that each finds, what it costs, and how much faster two workers are.

    python benchmarks/search.py [--seeds 0 1 ...] [--trials 30] [--epochs 9] [--algorithms random tpe ...]
        [--results FILE] [--table] [--write] [--workers] [--write]

A trial is a small CNN that is trained from scratch on 300 digits; its score is the accuracy on 900 others in its best epoch.
Eight keys are searched. The epochs of a point depend on its values and the seed alone, so each point is trained once, to the
end, and its curve is appended to --results. The algorithms then run on the curves: kerastrain's Oracle hands out trials, gets
the value of each epoch and stops trials as it does in `kerastrain tune`, and a search costs the epochs that it asked for, no
matter how often a curve was read. A promoted trial costs only the epochs that it had not yet trained, because it continues
from its checkpoint.

--workers measures something else, with the real command: trials per minute of `kerastrain tune --workers 2` on two cores
against --workers 1 on one core. Run it on an idle machine.
"""

import argparse
import functools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import results

TITLE = "Search: algorithms on digits"
WORKERS_TITLE = "Search: two workers of one core against one"
OBJECTIVE = "validation.accuracy"
TRAIN, VALIDATION = 300, 900
KINDS = {  # name in the table: (algorithm, pruning)
    "random": ("random", None),
    "bayesian": ("bayesian", None),
    "tpe": ("tpe", None),
    "hyperband": ("hyperband", None),
    "tpe, median": ("tpe", "median"),
    "tpe, halving": ("tpe", "halving"),
    "random, halving": ("random", "halving"),
}


def space():
    """The eight keys; momentum is searched under SGD alone."""
    from kerastrain.tuning import Choices, Condition, Interval, Space

    return Space(
        {
            "optimizer": Choices(("sgd", "adamw", "rmsprop")),
            "learning_rate": Interval(1e-4, 1.0, sampling="log"),
            "momentum": Interval(0.0, 0.95, when=(Condition("optimizer", ("sgd",)),)),
            "weight_decay": Interval(1e-6, 1e-1, sampling="log"),
            "batch_size": Choices((8, 16, 32, 64, 128)),
            "filters": Choices((4, 8, 16, 32)),
            "dropout": Interval(0.0, 0.7),
            "label_smoothing": Interval(0.0, 0.3),
        }
    )


@functools.cache
def digits():
    """Images and one-hot labels of the two parts."""
    import keras
    import numpy as np
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    pixels, targets = images.reshape(-1, 8, 8, 1).astype("float32") / 16, keras.utils.to_categorical(labels)
    parts = order[:TRAIN], order[TRAIN : TRAIN + VALIDATION]
    return [(pixels[part], targets[part]) for part in parts]


def trained(values, seed, epochs):
    """The validation accuracy after each epoch of a new CNN."""
    import keras
    import numpy as np

    (x, y), validation = digits()
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    filters, decay = values["filters"], values["weight_decay"]
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(filters, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(2 * filters, 3, padding="same", activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dropout(values["dropout"]),
            keras.layers.Dense(10),
        ]
    )
    optimizers = {"sgd": keras.optimizers.SGD, "adamw": keras.optimizers.AdamW, "rmsprop": keras.optimizers.RMSprop}
    options = {"momentum": values["momentum"]} if values["optimizer"] == "sgd" else {}
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=values["label_smoothing"])
    optimizer = optimizers[values["optimizer"]](values["learning_rate"], weight_decay=decay, **options)
    model.compile(optimizer, loss, metrics=["accuracy"])
    batches = {"batch_size": values["batch_size"], "validation_data": validation, "validation_batch_size": VALIDATION}
    history = model.fit(x, y, epochs=epochs, verbose=0, **batches).history["val_accuracy"]
    return [float(np.round(value, 6)) for value in history]


class Curves:
    """The curve of each point, trained when it is asked for the first time.

    Args:
        path: Path of the file with the curves that are known.
        epochs: int >= 1, the length of a curve.
    """

    def __init__(self, path, epochs):
        self.path, self.epochs = path, epochs
        self.known = results.cells(path)

    def of(self, values, seed):
        """The curve of a point."""
        key = ("curve", seed, self.epochs, json.dumps(values, sort_keys=True))
        if key not in self.known:
            began = time.monotonic()
            curve = trained(values, seed, self.epochs)
            cell = {"key": [*key], "curve": curve, "seconds": round(time.monotonic() - began, 3)}
            results.add_cell(self.path, cell)
            self.known[key] = cell
        return self.known[key]["curve"]


def searched(kind, seed, trials, curves):
    """Carries out a search on curves.

    Returns:
        list of [epochs trained so far, value, trials so far] for each epoch of each trial, in the order of the search.
    """
    from kerastrain import tuning

    algorithm, pruning = KINDS[kind]
    settings = tuning.Settings(
        algorithm=algorithm,
        trials=None if algorithm == "hyperband" else trials,
        objectives=(tuning.Objective(OBJECTIVE, "max", "best"),),
        seed=seed,
        pruning=pruning and tuning.Pruning(pruning),
        max_epochs=curves.epochs,
    )
    steps, trained_epochs = [], {}
    with tempfile.TemporaryDirectory() as folder:
        oracle = tuning.oracle(settings, space(), Path(folder))
        while (trial := oracle.create_trial("tuner0")).status != "STOPPED":
            task = tuning.assignment(trial)
            curve = curves.of(dict(task.values), seed)
            done = trained_epochs.get(task.point, 0)
            for epoch in range(done + 1, (task.epochs or curves.epochs) + 1):
                trained_epochs[task.point] = epoch
                steps.append([len(steps) + 1, curve[epoch - 1], len(trained_epochs)])
                reply = oracle.update_trial(trial.trial_id, {OBJECTIVE: curve[epoch - 1]}, step=epoch)
                if reply.status == "STOPPED":
                    break
            last = trained_epochs[task.point]
            oracle.update_trial(trial.trial_id, {OBJECTIVE: max(curve[:last])}, step=last)
            trial.status = "COMPLETED"
            oracle.end_trial(trial)
    return steps


def searches(options):
    """The steps of each kind and seed, from the file or new."""
    curves, found = Curves(options.results, options.epochs), {}
    for seed in options.seeds:
        for kind in options.algorithms:
            key = ("search", kind, seed, options.trials, options.epochs)
            if key not in curves.known and not options.table:
                steps = searched(kind, seed, options.trials, curves)
                curves.known[key] = {"key": [*key], "steps": steps}
                results.add_cell(options.results, curves.known[key])
                print(f"{kind}, seed {seed}: {best(steps):.4f} after {len(steps)} epochs", file=sys.stderr, flush=True)
            if key in curves.known:
                found[kind, seed] = curves.known[key]["steps"]
    return found


def best(steps, trials=None):
    """The best value of a search, or of its first trials."""
    return max(value for _, value, number in steps if trials is None or number <= trials)


def cost(steps, score):
    """The epochs until a search has a score; None if it ends before."""
    return next((epochs for epochs, value, _ in steps if value >= score), None)


def interval(values):
    """The mean and its 95 % interval by the bootstrap over seeds."""
    import numpy as np

    draws = np.random.default_rng(0).choice(values, (10_000, len(values))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return np.mean(values), low, high


def score_rows(found, options):
    """One row for each algorithm: its best scores, and the difference to random search with the same seeds."""
    rows = [
        "| search | epochs | after 10 trials | after 20 | at the end | against random |",
        "|---|---|---|---|---|---|",
    ]
    for kind in options.algorithms:
        runs = {seed: found[kind, seed] for seed in options.seeds if (kind, seed) in found}
        if not runs:
            continue
        scores = [best(steps) for steps in runs.values()]
        results.record(f"{kind}: best score", *results.spread(scores), better="higher")
        cells = [f"{sum(map(len, runs.values())) / len(runs):.0f}"]
        for trials in (10, 20, None):
            mean, low, high = interval([best(steps, trials) for steps in runs.values()])
            cells.append(f"{mean:.4f} ({low:.4f} to {high:.4f})")
        pairs = [best(steps) - best(found["random", seed]) for seed, steps in runs.items() if ("random", seed) in found]
        if kind == "random" or not pairs:
            cells.append("–")
        else:
            mean, low, high = interval([100 * pair for pair in pairs])
            cells.append(f"{mean:+.2f} points ({low:+.2f} to {high:+.2f})")
        rows.append(f"| {kind} | " + " | ".join(cells) + " |")
    return rows


def cost_rows(found, options):
    """One row for each cheaper search: its epochs until it has the final score of a full search with the same seed."""
    rows = [
        "| search | to the final score of | reached by | epochs of the full search | its own epochs until then | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for kind in options.algorithms:
        for full in ("random", "tpe"):
            pairs = [(found[kind, s], found[full, s]) for s in options.seeds if {(kind, s), (full, s)} <= set(found)]
            if kind == full or not pairs:
                continue
            spent = [cost(steps, best(whole)) for steps, whole in pairs]
            reached = [(cheap, len(whole)) for cheap, (_, whole) in zip(spent, pairs, strict=True) if cheap is not None]
            ratio = "–"
            if reached:
                mean, low, high = interval([cheap / whole for cheap, whole in reached])
                ratio = f"{mean:.2f} ({low:.2f} to {high:.2f})"
            whole = sum(len(whole) for _, whole in pairs) / len(pairs)
            own = f"{sum(cheap for cheap, _ in reached) / len(reached):.0f}" if reached else "–"
            rows.append(f"| {kind} | {full} | {len(reached)} of {len(pairs)} seeds | {whole:.0f} | {own} | {ratio} |")
    return rows


def table(found, options):
    """The section of RESULTS.md."""
    from kerastrain.errors import counted

    heads = (
        f"{results.machine()} A small CNN from scratch on {TRAIN} digits, eight keys, {options.trials} trials of "
        f"{options.epochs} epochs, {counted(len(options.seeds), 'seeds')}; the score is the best epoch's accuracy on "
        f"{VALIDATION} other digits. Intervals are 95 % of the bootstrap over seeds. Each point was trained once, to the "
        "end, and all searches read its curve; a search costs the epochs that it asked for.",
        "Cost: the epochs until a search has, in any epoch of any trial, the score that the full search with the same seed "
        "has at its end, as a ratio to all epochs of the full search. Seeds that never reach it are not in the ratio.",
    )
    return "\n".join([heads[0], "", *score_rows(found, options), "", heads[1], "", *cost_rows(found, options)])


def tuned(workers, cores, trials, folder):
    """Trials per minute of `kerastrain tune`, from the start of the first trial to the end of the last."""
    search = {
        "algorithm": "random",
        "trials": trials,
        "space": {"optimizer.learning_rate": {"min": 1e-4, "max": 1e-1, "sampling": "log"}},
    }
    (folder / "search.yaml").write_text(json.dumps(search))
    out = folder / f"workers_{workers}"
    overrides = ["fit.head_epochs=0", "fit.epochs=4", "data.image_size=[32, 32]", "export.formats=[]"]
    command = [sys.executable, "-m", "kerastrain", "tune", "search.yaml", *overrides, "--out", str(out)]
    subprocess.run(
        ["taskset", "--cpu-list", ",".join(map(str, cores)), *command, "--workers", str(workers)],
        cwd=folder,
        check=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.DEVNULL,
    )
    record = json.loads((out / "trials.json").read_text())
    assert [trial["status"] for trial in record["trials"]] == ["completed"] * trials, record
    return 60 * trials / record["seconds"]


def compare_workers(options):
    """Prints trials per minute of one worker and of two."""
    first, second = sorted(os.sched_getaffinity(0))[:2]
    rows = ["| repeat | one worker, one core | two workers, two cores | ratio |", "|---|---|---|---|"]
    ratios = []
    for repeat in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            one = tuned(1, [first], options.trials, Path(folder))
            two = tuned(2, [first, second], options.trials, Path(folder))
        ratios.append(two / one)
        rows.append(f"| {repeat + 1} | {one:.1f} | {two:.1f} | {two / one:.2f} |")
        print(rows[-1], file=sys.stderr, flush=True)
    results.record("trials a minute, two workers over one", *results.spread(ratios), better="higher")
    middle = sorted(ratios)[len(ratios) // 2]
    verdict = "met" if middle >= 1.7 else "missed"
    head = (
        f"{results.machine()} `kerastrain tune` with {options.trials} trials of four epochs of fine-tuning on digits; trials "
        f"per minute of the whole search. Goal: 1.7 times as many: {verdict} (middle of the repeats {middle:.2f})."
    )
    return "\n".join([head, "", *rows])


def main():
    """Measures what the options ask for and prints the table."""
    parser = argparse.ArgumentParser(description=re.split(r"\n\n", __doc__)[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--algorithms", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--results", type=Path, default=Path("search.jsonl"), help="file of the curves and searches")
    parser.add_argument("--table", action="store_true", help="print the table of what --results holds; train nothing")
    parser.add_argument(
        "--workers", action="store_true", help="compare two workers with one, instead of the algorithms"
    )
    parser.add_argument("--repeats", type=int, default=3, help="of --workers")
    parser.add_argument("--write", action="store_true", help="write the table to RESULTS.md")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if options.workers:
        title, text = WORKERS_TITLE, compare_workers(options)
    else:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.experimental.enable_op_determinism()
        title, text = TITLE, table(searches(options), options)
    print(text)
    if options.write:
        results.write(title, text)


if __name__ == "__main__":
    main()
