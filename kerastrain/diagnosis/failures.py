"""Where a model fails: its most confident errors, the pairs of classes that it confuses, and its hardest examples.

Takes targets and predictions as arrays, returns records. Must not know of files or pictures.
"""

from dataclasses import dataclass

import numpy as np

_SMALLEST = 1e-12  # probability in a loss


@dataclass(frozen=True)
class Failure:
    """A prediction of an example.

    Args:
        index: int, the example.
        true: int, the true class; for "multi_label" the number of the label.
        predicted: int, the predicted class; for "multi_label" the number of the label, too.
        probability: float, of the predicted class; for "multi_label" of the wrong answer about the label.
        true_probability: float, of the true answer.
        loss: float, the example's loss in nats.
    """

    index: int
    true: int
    predicted: int
    probability: float
    true_probability: float
    loss: float


@dataclass(frozen=True)
class Confusion:
    """A pair of classes that is confused.

    Args:
        true: int, the true class; for "multi_label" the number of the label.
        predicted: int, the class that was predicted; for "multi_label" 1 for a label that is wrongly predicted, 0 for one that
            is missed.
        count: int > 0, the examples.
        share: float in (0, 1], their share of the examples of the true class; of a wrongly predicted label, of those without it.
        index: int, the example with the most confident error.
    """

    true: int
    predicted: int
    count: int
    share: float
    index: int


@dataclass(frozen=True)
class Failures:
    """Where a model fails.

    Args:
        errors: int, the number of wrong examples; of wrong answers about labels for "multi_label".
        confident: tuple of Failure, the errors with the highest probability.
        pairs: tuple of Confusion, the most frequent first.
        hardest: tuple of Failure, the other examples with the highest loss, right or wrong.
    """

    errors: int
    confident: tuple[Failure, ...]
    pairs: tuple[Confusion, ...]
    hardest: tuple[Failure, ...]


def class_failures(probabilities: np.ndarray, targets: np.ndarray, *, most: int = 12) -> Failures:
    """Finds where a classifier fails.

    Args:
        probabilities: float (n, classes).
        targets: int64 (n,).
        most: int > 0, the most examples and pairs of each kind.

    Returns:
        Failures.
    """
    rows = np.arange(len(targets))
    predicted = probabilities.argmax(axis=1)
    top, true = probabilities[rows, predicted], probabilities[rows, targets]
    losses = -np.log(np.clip(true, _SMALLEST, 1))

    def failure(row: int) -> Failure:
        return Failure(
            row, int(targets[row]), int(predicted[row]), float(top[row]), float(true[row]), float(losses[row])
        )

    wrong = np.flatnonzero(predicted != targets)
    confident = wrong[np.argsort(-top[wrong], kind="stable")]
    shown = set(confident[:most].tolist())
    hardest = [row for row in np.argsort(-losses, kind="stable").tolist() if row not in shown]
    counts = np.bincount(targets, minlength=probabilities.shape[1])
    rows_of = {}
    for row in confident.tolist():
        rows_of.setdefault((int(targets[row]), int(predicted[row])), []).append(row)
    pairs = [Confusion(*pair, len(own), len(own) / int(counts[pair[0]]), own[0]) for pair, own in rows_of.items()]
    pairs.sort(key=lambda pair: (-pair.count, -pair.share))
    return Failures(
        len(wrong),
        tuple(map(failure, confident[:most].tolist())),
        tuple(pairs[:most]),
        tuple(map(failure, hardest[:most])),
    )


def label_failures(probabilities: np.ndarray, targets: np.ndarray, *, most: int = 12) -> Failures:
    """Finds where a model of several labels fails.

    Args:
        probabilities: float (n, labels).
        targets: float (n, labels) of 0 and 1.
        most: int > 0, the most examples and labels of each kind.

    Returns:
        Failures; `confident` has the worst answers about a label, `hardest` the other examples of the highest mean loss with
        their worst label.
    """
    true = np.where(targets > 0, probabilities, 1 - probabilities)
    losses = -np.log(np.clip(true, _SMALLEST, 1))
    means = losses.mean(axis=1)

    def failure(row: int, label: int) -> Failure:
        answer = float(true[row, label])
        return Failure(row, label, label, 1 - answer, answer, float(means[row]))

    wrong = (probabilities >= 0.5) != (targets > 0)
    places = np.argwhere(wrong)
    places = places[np.argsort(true[tuple(places.T)], kind="stable")].tolist()
    confident = [failure(*place) for place in places[:most]]
    shown = {one.index for one in confident}
    hardest = [row for row in np.argsort(-means, kind="stable").tolist() if row not in shown][:most]
    pairs = []
    for label in range(targets.shape[1]):
        for predicted in (0, 1):
            own = [row for row, column in places if column == label and (targets[row, label] > 0) != predicted]
            if own:
                of = int((targets[:, label] > 0).sum()) if not predicted else int((targets[:, label] == 0).sum())
                pairs.append(Confusion(label, predicted, len(own), len(own) / of, own[0]))
    pairs.sort(key=lambda pair: (-pair.count, -pair.share))
    return Failures(
        int(wrong.sum()),
        tuple(confident),
        tuple(pairs[:most]),
        tuple(failure(row, int(losses[row].argmax())) for row in hardest),
    )


def largest_residuals(outputs: np.ndarray, targets: np.ndarray, *, most: int = 12) -> list[tuple[int, float]]:
    """Finds the examples that a regression misses most, in units of the standard deviation of each number's targets.

    Args:
        outputs: float (n, numbers).
        targets: float (n, numbers).
        most: int > 0, the most examples.

    Returns:
        list of (index, root of the mean square of the standardized residuals), the largest first.
    """
    spread = targets.std(axis=0, dtype=np.float64)
    residuals = (outputs.astype(np.float64) - targets) / np.where(spread > 0, spread, 1)
    sizes = np.sqrt((residuals**2).mean(axis=1))
    return [(row, float(sizes[row])) for row in np.argsort(-sizes, kind="stable")[:most].tolist()]
