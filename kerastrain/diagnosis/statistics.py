"""The statistics behind the rules: intervals of differences, two-sample tests, and a model of noise in labels.

Takes arrays; returns numbers. Everything random has a fixed seed. Must not import TensorFlow.
"""

import dataclasses

import numpy as np
import scipy

Z = 1.959963984540054
"""Half the width of a 95 % interval, in standard errors."""

_PERMUTATIONS = 199
_MOST_COMPARED = 500


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its standard error.

    Args:
        value: float.
        error: float >= 0, its standard error.
    """

    value: float
    error: float

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval."""
        return self.value - Z * self.error, self.value + Z * self.error

    def above(self, limit: float) -> float:
        """The confidence that the true number is above a limit, in [0, 1].

        Args:
            limit: float.

        Returns:
            float.
        """
        if self.error == 0:
            return float(self.value > limit)
        return float(scipy.stats.norm.cdf((self.value - limit) / self.error))


def mean(scores: np.ndarray) -> Estimate:
    """The mean of scores of independent examples.

    Scores of 0 and 1 get two of each more, as Agresti and Coull do, so that the error of a mean of 0 or 1 is not 0.

    Args:
        scores: float (n,), n > 0.

    Returns:
        Estimate, whose value is the plain mean.
    """
    scores = np.asarray(scores, np.float64)
    value = float(scores.mean())
    if np.isin(scores, (0, 1)).all():
        count = len(scores) + 4
        share = (scores.sum() + 2) / count
        return Estimate(value, float(np.sqrt(share * (1 - share) / count)))
    return Estimate(value, float(scores.std(ddof=1) / np.sqrt(len(scores))) if len(scores) > 1 else np.inf)


def difference(first: np.ndarray, second: np.ndarray) -> Estimate:
    """The difference of two means of independent examples.

    Args:
        first: float (n,), n > 0.
        second: float (m,), m > 0.

    Returns:
        Estimate of mean(first) - mean(second).

    Reference: Agresti and Caffo 2000, https://doi.org/10.1080/00031305.2000.10474560, for scores of 0 and 1.
    """
    one, other = mean(first), mean(second)
    return Estimate(one.value - other.value, float(np.hypot(one.error, other.error)))


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How different two samples are.

    Args:
        auc: Estimate, the area under the ROC curve of a classifier that tells them apart, from held-out folds; 0.5 if they are
            alike.
        auc_p: float in [0, 1], the probability of such an area for two samples of the same distribution.
        mmd: float, the unbiased squared maximum mean discrepancy; about 0 for the same distribution.
        mmd_p: float in [0, 1], by permutation.
        counts: (int, int), the sizes of the samples.
    """

    auc: Estimate
    auc_p: float
    mmd: float
    mmd_p: float
    counts: tuple[int, int]


def compare(first: np.ndarray, second: np.ndarray) -> Comparison:
    """Compares two samples by a classifier that must tell them apart, and by their maximum mean discrepancy.

    The classifier is a logistic regression on standardized values, tested on five held-out folds. Its p-value is that of the
    Mann-Whitney test of the held-out scores, its error that of Hanley and McNeil. The kernel of the discrepancy is a Gaussian as
    wide as the median distance, and its p-value is by 199 permutations.

    Args:
        first: float (n, d), n >= 10; at most 500 rows are used.
        second: float (m, d), m >= 10.

    Returns:
        Comparison.

    Reference: Lopez-Paz and Oquab 2017, https://arxiv.org/abs/1610.06545; Gretton et al. 2012,
    https://jmlr.org/papers/v13/gretton12a.html; Hanley and McNeil 1982, https://doi.org/10.1148/radiology.143.1.7063747.
    """
    from sklearn.metrics import roc_auc_score  # slow to import, as the rest of scikit-learn
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(0)
    samples = []
    for sample in (np.asarray(first, np.float64), np.asarray(second, np.float64)):
        if len(sample) > _MOST_COMPARED:
            sample = sample[random.choice(len(sample), _MOST_COMPARED, replace=False)]
        samples.append(sample)
    values = np.concatenate(samples)
    values = StandardScaler().fit_transform(values)
    is_second = np.repeat([0, 1], [len(sample) for sample in samples])
    scores = _held_out_scores(values, is_second)
    auc = float(roc_auc_score(is_second, scores))
    auc_p = scipy.stats.mannwhitneyu(scores[is_second == 1], scores[is_second == 0], alternative="greater").pvalue
    mmd, mmd_p = _discrepancy(values, is_second, random)
    counts = (len(samples[0]), len(samples[1]))
    return Comparison(Estimate(auc, _auc_error(auc, *counts)), float(auc_p), mmd, mmd_p, counts)


def _held_out_scores(values: np.ndarray, is_second: np.ndarray) -> np.ndarray:
    """The scores of a classifier that tells two samples apart, of each row by one that was not fitted to it."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scores = np.zeros(len(values))
    for train, held_out in StratifiedKFold(5, shuffle=True, random_state=0).split(values, is_second):
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", max_iter=200))
        classifier.fit(values[train], is_second[train])
        scores[held_out] = classifier.decision_function(values[held_out])
    return scores


def _auc_error(auc: float, first: int, second: int) -> float:
    """The standard error of an area under the ROC curve by Hanley and McNeil."""
    one, other = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (second - 1) * (one - auc**2) + (first - 1) * (other - auc**2)
    return float(np.sqrt(max(variance, 0.25 / max(first, second)) / (first * second)))


def _discrepancy(values: np.ndarray, is_second: np.ndarray, random: np.random.Generator) -> tuple[float, float]:
    squares = np.square(values).sum(axis=1)
    distances = np.maximum(squares[:, np.newaxis] + squares - 2 * values @ values.T, 0)
    width = np.median(distances[np.triu_indices(len(values), 1)])
    kernel = np.exp(-distances / (width if width > 0 else 1.0))
    np.fill_diagonal(kernel, 0)
    # Each column of `groups` is a labelling: the true one, then permutations of it.
    groups = np.stack([is_second, *(random.permutation(is_second) for _ in range(_PERMUTATIONS))], axis=1).astype(float)
    second, first = groups.sum(axis=0), (1 - groups).sum(axis=0)
    products = kernel @ groups
    within_second = (groups * products).sum(axis=0)
    between = ((1 - groups) * products).sum(axis=0)
    within_first = kernel.sum() - within_second - 2 * between
    statistics = (
        within_first / (first * (first - 1)) + within_second / (second * (second - 1)) - 2 * between / (first * second)
    )
    p = (1 + np.sum(statistics[1:] >= statistics[0])) / (1 + _PERMUTATIONS)
    return float(statistics[0]), float(p)


@dataclasses.dataclass(frozen=True)
class Noise:
    """How many labels are wrong at random, estimated from predictions of examples that were not trained on.

    Args:
        fraction: float in [0, 1], the most likely fraction of wrong labels.
        interval: (float, float), its 95 % interval by likelihood.
        temperature: float > 0, by which the logits are divided to be calibrated apart from the noise.
    """

    fraction: float
    interval: tuple[float, float]
    temperature: float


def label_noise(logits: np.ndarray, targets: np.ndarray) -> Noise:
    """Estimates the fraction of labels that are wrong at random, as a floor under the errors of confident predictions.

        p(target) = (1 - e) * softmax(logits / T)[target] + e / classes

    Both the temperature T and e are fitted by likelihood. A model that is merely unsure or overconfident is explained by T.
    Labels that are wrong independently of the input are not: they contradict the surest predictions as often as any other.
    The fraction of wrong labels is e * (classes - 1) / classes.

    Args:
        logits: float (n, classes).
        targets: int (n,).

    Returns:
        Noise.
    """
    logits = np.asarray(logits, np.float64)
    classes = logits.shape[1]
    temperatures = np.geomspace(0.25, 64, 49)
    shares = np.concatenate([[0], np.geomspace(1e-3, 1, 120)])
    rows = np.arange(len(logits))
    likelihoods = np.empty((len(temperatures), len(shares)))
    for place, temperature in enumerate(temperatures):
        true = scipy.special.softmax(logits / temperature, axis=1)[rows, targets]
        mixed = np.outer(1 - shares, true) + shares[:, np.newaxis] / classes
        likelihoods[place] = np.log(np.maximum(mixed, 1e-12)).sum(axis=1)
    best = np.unravel_index(likelihoods.argmax(), likelihoods.shape)
    profile = likelihoods.max(axis=0)
    inside = shares[2 * (profile.max() - profile) <= Z**2]
    wrong = (classes - 1) / classes
    return Noise(
        float(shares[best[1]] * wrong),
        (float(inside.min() * wrong), float(inside.max() * wrong)),
        float(temperatures[best[0]]),
    )
