"""How often `kerastrain compare` and a cross-validation say something false, on models whose truth is known.

    python benchmarks/comparisons.py [--repeats 500] [--write]

First, two simulated models answer the same examples of five classes, which are hard or easy for both. They are equally good, or
one gains some points of accuracy. "Told apart" is the share of the repeats in which `kerastrain compare` calls the accuracy
better or worse; of equal models it should be at most 5 %, and so should be the share in which any class is. "Covered" is how
often the 95 % interval holds the true difference, which a million examples give.

Then, logistic regressions are cross-validated in five folds, on as many examples as the row says. Covered is how often an
interval holds the accuracy to expect of such a model on other examples, which is the mean of all models of the row on 20,000: the
interval over the folds, the usual t interval of a mean, and the bootstrap of the out-of-fold predictions.
"""

import argparse

import numpy as np
import results
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from kerastrain.evaluation import cross_validation, paired
from kerastrain.evaluation.measuring import measures
from kerastrain.evaluation.predictions import Predictions

TITLE = "Comparisons and cross-validation: how often they say something false"
SIZES, GAINS = (50, 200, 1000), (0.0, 0.2, 0.4)
LABELS, MEASURES = tuple("abcde"), ("accuracy", "macro.f1", "loss")
ROUNDS = 500
FOLDS = 5


def pair(count, gain, random):
    """The predictions of two models for the same examples."""
    truth = random.integers(0, len(LABELS), count)
    shared = random.normal(size=(count, len(LABELS)))
    runs = []
    for extra in (0.0, gain):
        logits = shared + random.normal(size=shared.shape)
        logits[np.arange(count), truth] += 2.0 + extra
        runs.append(Predictions(truth, logits, LABELS, "single_label"))
    return runs


def true_differences(gain):
    """The differences of two such models on a million examples."""
    if not gain:
        return dict.fromkeys(MEASURES, 0.0)
    rows = paired.differences(pair(1_000_000, gain, np.random.default_rng(99)), rounds=1)[0]
    return {row.name: row.difference for row in rows if row.label is None}


def compared(count, gain, seed):
    """What a comparison says: whether the accuracy and any class are told apart, and the intervals."""
    runs = pair(count, gain, np.random.default_rng(seed))
    rows = {(row.name, row.label): row for row in paired.differences(runs, rounds=ROUNDS, seed=seed)[0]}
    p = paired.mcnemar(*map(paired.right, runs)).p
    rights = [paired.decisions_right(run) for run in runs]
    p_values = paired.holm([paired.mcnemar(*(right[:, index] for right in rights)).p for index in range(len(LABELS))])
    told = rows["accuracy", None].verdict != "not told apart" and p < 0.05
    classes = any(
        rows["f1", label].verdict != "not told apart" and p < 0.05 for label, p in zip(LABELS, p_values, strict=True)
    )
    return told, classes, {name: (rows[name, None].low, rows[name, None].high) for name in MEASURES}


def comparison_rows(repeats):
    """The rows of the table about comparisons."""
    for gain in GAINS:
        truth = true_differences(gain)
        for count in SIZES:
            found = [compared(count, gain, seed) for seed in range(repeats)]
            covered = [
                np.mean([limits[name][0] <= truth[name] <= limits[name][1] for _, _, limits in found])
                for name in MEASURES
            ]
            shares = [np.mean([entry[place] for entry in found]) for place in (0, 1)]
            if not gain:
                false_alarms = sum(entry[0] for entry in found)
                results.record(f"{count} examples: equal models told apart", *results.share(false_alarms, repeats))
            yield [count, f"{100 * truth['accuracy']:+.1f}", *(f"{share:.1%}" for share in (*shares, *covered))]


def sample(count, random, centres):
    """Examples of two classes in ten dimensions that overlap."""
    truth = random.integers(0, 2, count)
    return random.normal(size=(count, centres.shape[1])) + centres[truth], truth


def cross_validated(count, seed):
    """The accuracy of the models of a cross-validation on other examples, and three intervals of it."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(2, 10)) * 0.45
    inputs, truth = sample(count, random, centres)
    others, other_truth = sample(20_000, random, centres)
    values, real, parts = [], [], []
    for train, held_out in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(inputs, truth):
        model = LogisticRegression(max_iter=200).fit(inputs[train], truth[train])
        logits = np.log(model.predict_proba(inputs[held_out]).clip(1e-9))
        parts.append(Predictions(truth[held_out], logits, ("a", "b"), "single_label"))
        values.append(model.score(inputs[held_out], truth[held_out]))
        real.append(model.score(others, other_truth))
    folds = cross_validation.over_folds(values)["interval"] or (values[0], values[0])
    usual = stats.t.interval(0.95, FOLDS - 1, loc=np.mean(values), scale=max(stats.sem(values), 1e-12))
    pooled = measures(cross_validation.pooled(parts))["intervals"]["accuracy"]
    return np.mean(real), (folds, usual, pooled)


def fold_rows(repeats):
    """The rows of the table about cross-validations."""
    for count in (100, 400):
        found = [cross_validated(count, seed) for seed in range(repeats)]
        target = np.mean([accuracy for accuracy, _ in found])
        row = [count]
        for place in range(3):
            low, high = np.array([intervals[place] for _, intervals in found]).T
            row += [f"{np.mean((low <= target) & (target <= high)):.1%}", f"{100 * np.mean(high - low):.1f}"]
        yield row


def table(names, rows):
    """A table in Markdown."""
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def main():
    """Simulates, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=500)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    covered = [f"covered: {name}" for name in ("accuracy", "macro F1", "loss")]
    first = ["examples", "true difference, points", "accuracy told apart", "any class told apart", *covered]
    second = ["examples", "covered: over the folds", "width, points", "covered: usual t", "width, points"]
    second += ["covered: out of fold", "width, points"]
    text = "\n\n".join(
        [
            f"{results.machine()} {arguments.repeats} repeats of each row.",
            table(first, comparison_rows(arguments.repeats)),
            table(second, fold_rows(arguments.repeats)),
        ]
    )
    print(text)
    if arguments.write:
        results.write(TITLE, text)


if __name__ == "__main__":
    main()
