"""Linear probes: how well a linear model of frozen features predicts the targets, before anything is fine-tuned.

Takes `Examples` of features; returns outputs for held-out examples. Must not read images or run a network.
"""

import dataclasses
import warnings
from collections.abc import Callable, Iterator

import numpy as np

from kerastrain import evaluation
from kerastrain.data.examples import Examples
from kerastrain.errors import InputError

_STRENGTHS = tuple(10.0**power for power in range(-4, 1))  # C of the logistic regression
_PENALTIES = tuple(10.0**power for power in range(-2, 5))  # alpha of the ridge regression
_FOLDS = 3
_FEWEST_FOR_FOLDS = 2 * _FOLDS
# Features are standardized, and outputs need no more digits than a ranking does.
_TOLERANCE, _STEPS = 1e-3, 200


def linear_probe(train: Examples, validation: Examples, *, seed: int = 0) -> np.ndarray:
    """Fits a linear model to features and applies it to other features.

    Classes are fitted by multinomial logistic regression, several labels by one logistic regression each, numbers by ridge
    regression, all on standardized features. The penalty is chosen by cross-validation inside `train`, whose groups stay
    together.

    Args:
        train: Examples whose `inputs` are float features (n, d); their weights count.
        validation: Examples of the same kind, with the same labels.
        seed: int, of the folds.

    Returns:
        float64 array (m, labels), for each example of `validation` logits, or numbers for "regression". A class without
        examples in `train` has -inf.

    Raises:
        InputError: the features are not finite, or `train` has examples of one class only.

    Example:
        >>> features = np.array([[0.0], [0.1], [1.0], [1.1]] * 3)
        >>> examples = Examples(np.array([0, 0, 1, 1] * 3), ("low", "high"), features)
        >>> linear_probe(examples, examples).argmax(axis=1)[:4]
        array([0, 0, 1, 1])
    """
    features, held_out = (np.asarray(part.inputs, np.float32) for part in (train, validation))
    if not (np.isfinite(features).all() and np.isfinite(held_out).all()):
        raise InputError("its features are not finite: NaN or infinity.")
    mean, stddev = features.mean(axis=0), features.std(axis=0)
    scale = np.where(stddev > 0, stddev, 1)
    features, held_out = (features - mean) / scale, (held_out - mean) / scale
    if train.task == "regression":
        from sklearn.linear_model import RidgeCV  # slow to import, as the rest of scikit-learn

        model = RidgeCV(_PENALTIES, alpha_per_target=len(train.labels) > 1)
        model.fit(features, train.targets.astype(np.float64), sample_weight=train.weights)
        return model.predict(held_out).reshape(len(held_out), -1)
    fit = _multinomial if train.task == "single_label" else _one_against_rest
    train = dataclasses.replace(train, inputs=features)
    if train.task == "single_label" and len(np.unique(train.targets)) < 2:
        raise InputError("a probe needs training examples of at least two classes. Received: one class.")
    return fit(train, held_out, _chosen_strength(train, fit, seed))


def _chosen_strength(train: Examples, fit: Callable, seed: int) -> float:
    """Returns the C with the best score over the folds, the smallest of equal ones."""
    folds = list(_folds(train, seed))
    if not folds:
        return _STRENGTHS[len(_STRENGTHS) // 2]
    scores = []
    for strength in _STRENGTHS:
        outputs = np.concatenate(
            [fit(train.subset(inside), train.inputs[outside], strength) for inside, outside in folds]
        )
        targets = np.concatenate([train.targets[outside] for _, outside in folds])
        scores.append(evaluation.score(outputs, targets, train.task))
    return _STRENGTHS[int(np.argmax(scores))]


def _folds(train: Examples, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the indices (inside, outside) of each fold; none if there are too few examples."""
    if len(train) < _FEWEST_FOR_FOLDS:
        return
    from sklearn.model_selection import KFold, StratifiedGroupKFold, StratifiedKFold

    strata = train.targets if train.task == "single_label" else np.zeros(len(train), int)
    if train.groups is not None and len(np.unique(train.groups)) >= _FOLDS:
        divide = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
    elif np.bincount(strata)[np.unique(strata)].min() >= _FOLDS:
        divide = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    else:
        divide = KFold(_FOLDS, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # A class may have fewer groups than there are folds.
        for inside, outside in divide.split(train.inputs, strata, train.groups):
            if len(np.unique(train.targets[inside], axis=0)) > 1:
                yield inside, outside


def _multinomial(train: Examples, held_out: np.ndarray, strength: float) -> np.ndarray:
    outputs = np.full((len(held_out), len(train.labels)), -np.inf)
    model = _logistic_regression(train.inputs, train.targets, train.weights, strength)
    decision = model.decision_function(held_out)
    if decision.ndim == 1:  # Two classes share one column.
        decision = np.stack([-decision, decision], axis=1)
    outputs[:, model.classes_] = decision
    return outputs


def _one_against_rest(train: Examples, held_out: np.ndarray, strength: float) -> np.ndarray:
    outputs = np.empty((len(held_out), len(train.labels)))
    for number, column in enumerate(train.targets.T):
        if np.ptp(column) == 0:  # No or every example has the label.
            outputs[:, number] = np.inf if column[0] else -np.inf
            continue
        model = _logistic_regression(train.inputs, column.astype(int), train.weights, strength)
        outputs[:, number] = model.decision_function(held_out)
    return outputs


def _logistic_regression(features, targets, weights, strength: float):
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, tol=_TOLERANCE, max_iter=_STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(features, targets, sample_weight=weights)
