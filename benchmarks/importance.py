"""Measures the importances of a search against a function whose importances are known.

    python benchmarks/importance.py [--searches 100] [--trials 15 30 60 100]

The score is a formula of three keys that matter, in a known order, and noise; three further keys do nothing. The true importance
of a key, the share of the score's variance that depends on it, is computed from 200,000 points. Prints, for numbers of trials
and for three kinds of search, the mean importance, how often the order of the three is right, how often each is decided, how
often the interval of a key that does nothing includes 0, and the time, over some searches each.
"""

import argparse
import math
import statistics
import sys
import time

import numpy as np
import results

from kerastrain.tuning import importance

NOISE, EPOCHS = 0.03, 9
SPACE = {
    "optimizer.learning_rate": {"min": 1e-4, "max": 1e-1, "sampling": "log"},
    "model.hidden_units": [[], [64], [128, 64]],
    "fit.global_batch_size": {"min": 16, "max": 128, "sampling": "log"},
    "model.dropout": {"min": 0.0, "max": 0.5},
    "data.augment": [None, "flip", "rotate"],
    "optimizer.weight_decay": {"min": 1e-6, "max": 1e-2, "sampling": "log"},
}
MATTER, NOTHING = list(SPACE)[:3], list(SPACE)[3:]
KINDS = {
    "random": "drawn independently",
    "adaptive": "the second half near the best so far",
    "pruned": "the worse half of each ends after 1, 2 or 4 epochs",
}


def scores(units):
    """The score at points whose keys are numbers in [0, 1], float64 [points, 6]."""
    rate, hidden, batch = units[:, 0], np.floor(units[:, 1] * 3), units[:, 2]
    return 0.9 - 1.5 * (rate - 0.6) ** 2 - 0.15 * (hidden == 0) - 0.25 * np.abs(batch - 0.3)


def truths(random):
    """The total share of the variance for each key, with the noise in the variance."""
    first, second = random.random((2, 200_000, len(SPACE)))
    known = scores(first)
    variance = known.var() + NOISE**2
    exchanged = []
    for column in range(len(SPACE)):
        mixed = first.copy()
        mixed[:, column] = second[:, column]
        exchanged.append(((known - scores(mixed)) ** 2).mean() / (2 * variance))
    return exchanged


def search(kind, count, random):
    """A record as `trials.json` has it."""
    units, found = np.empty((0, len(SPACE))), np.empty(0)
    for number in range(count):
        point = random.random(len(SPACE))
        if kind == "adaptive" and number >= count / 2:
            point = np.clip(units[found.argmax()] + 0.15 * random.normal(size=len(SPACE)), 0, 1 - 1e-9)
        units = np.vstack([units, point])
        found = np.append(found, scores(point[None])[0] + NOISE * random.normal())
    ends = np.full(count, EPOCHS)
    if kind == "pruned":
        ends[found < np.median(found)] = random.choice([1, 2, 4], int((found < np.median(found)).sum()))
    objectives = [{"measure": "validation.accuracy", "direction": "max", "epoch": "best"}]
    algorithm = "tpe" if kind == "adaptive" else "random"
    trials = list(map(trial, units, found, ends))
    return {"algorithm": algorithm, "objectives": objectives, "space": SPACE, "trials": trials}


def trial(units, score, end):
    """A trial of such a record, whose curve approaches its score."""
    values = {key: decoded(entry, unit) for (key, entry), unit in zip(SPACE.items(), units, strict=True)}
    curve = [[epoch, score * (1 - math.exp(-epoch))] for epoch in range(1, end + 1)]
    status = "completed" if end == EPOCHS else "pruned"
    return {"values": values, "status": status, "score": curve[-1][1], "measures": {}, "curve": curve}


def decoded(entry, unit):
    """The value of a key at a number in [0, 1]."""
    if isinstance(entry, list):
        return entry[int(unit * len(entry))]
    low, high = entry["min"], entry["max"]
    return low * (high / low) ** unit if "sampling" in entry else low + unit * (high - low)


def row(kind, count, searches):
    """The figures of searches of one kind, as text."""
    found, times, silent = [], [], 0
    for seed in range(searches):
        record = search(kind, count, np.random.default_rng(seed))
        start = time.perf_counter()
        measured = importance.measure(record)
        times.append(time.perf_counter() - start)
        silent += not measured.keys
        if measured.keys:
            found.append({each.key: each for each in measured.keys})
    first, second, third = ([keys[key].value for keys in found] for key in MATTER)
    order = statistics.mean(a > b > c for a, b, c in zip(first, second, third, strict=True))
    decided = [statistics.mean(not keys[key].is_undecided for keys in found) for key in MATTER]
    covered = [statistics.mean(keys[key].is_undecided for keys in found) for key in NOTHING]
    included = [round(each * len(found)) for each in covered]
    name = f"{kind}, {count} trials"
    results.record(f"{name}: order right", *results.share(round(order * len(found)), len(found)), better="higher")
    whole = results.share(sum(included), len(included) * len(found))
    results.record(f"{name}: interval of the others includes 0", *whole, better="higher")
    means = " / ".join(f"{statistics.mean(values):.2f}" for values in (first, second, third))
    shares = " / ".join(f"{share:.0%}" for share in decided)
    return (
        f"| {kind} | {count} | {means} | {order:.0%} | {shares} | {' / '.join(f'{share:.0%}' for share in covered)} | {silent} | "
        f"{statistics.median(times):.2f} |"
    )


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--searches", type=int, default=100, help="of each row")
    parser.add_argument("--trials", type=int, nargs="+", default=[15, 30, 60, 100])
    options = parser.parse_args()
    print(f"true importances: {' / '.join(f'{value:.2f}' for value in truths(np.random.default_rng(0)))}")
    for kind, meaning in KINDS.items():
        print(f"{kind}: {meaning}")
    print(
        "| search | trials | importances of the three | order right | decided | interval includes 0: the others | no forest | s |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for kind in KINDS:
        for count in options.trials:
            print(row(kind, count, options.searches), flush=True)


if __name__ == "__main__":
    sys.exit(main())
