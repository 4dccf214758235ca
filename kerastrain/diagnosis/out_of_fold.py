"""Predictions for each example by a linear model that was not fitted to it.

Takes features and targets as arrays, returns probabilities or numbers. Must not know of images, texts or runs.
"""

import warnings
from collections.abc import Iterator

import numpy as np
import scipy.sparse
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler

_STRENGTHS = {False: (1e-3, 1e-2, 1e-1, 1.0), True: (0.3, 1.0, 3.0, 10.0)}  # C for dense and sparse features
_PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)  # alpha of the ridge regression
_MOST_FEATURES = 256
_TOLERANCE, _STEPS = 1e-3, 300
_SMALLEST = 1e-6  # probability in the log loss


def out_of_fold(
    features: np.ndarray | scipy.sparse.csr_matrix,
    targets: np.ndarray,
    outputs: int,
    task: str,
    *,
    groups: np.ndarray | None = None,
    folds: int = 5,
    seed: int = 0,
) -> np.ndarray:
    """Predicts every example by a linear model of the others.

    Classes by multinomial logistic regression, several labels by one logistic regression each, numbers by ridge regression,
    on standardized features, of which at most 256 principal components are used. The penalty has the least log loss (or
    squared error) on the first fold.

    Args:
        features: float array (n, d), or a sparse matrix of rows of unit length, such as TF-IDF.
        targets: int64 (n,) of classes for "single_label", else float32 (n, outputs).
        outputs: int > 0, the number of classes, labels or numbers.
        task: str, "single_label", "multi_label" or "regression".
        groups: array (n,); the examples of a group are in the same fold, such as copies of each other. A single group counts
            as None, no groups.
        folds: int >= 2.
        seed: int, of the folds.

    Returns:
        float64 array (n, outputs), probabilities, or numbers for "regression". A class that has no example outside a fold has
        probability 0 in it.

    Raises:
        ValueError: there are fewer than two examples.
    """
    divided = list(_folds(targets, task, groups, min(folds, len(targets)), seed))
    predicted = np.zeros((len(targets), outputs))
    choices = _PENALTIES if task == "regression" else _STRENGTHS[scipy.sparse.issparse(features)]
    strength = None
    for inside, outside in divided:
        train, held_out = _prepared(features[inside], features[outside], seed)
        if strength is None:
            losses = [
                _loss(_fitted(train, targets[inside], held_out, outputs, task, choice), targets[outside], task)
                for choice in choices
            ]
            strength = choices[int(np.argmin(losses))]
        predicted[outside] = _fitted(train, targets[inside], held_out, outputs, task, strength)
    return predicted


def _folds(targets, task, groups, count, seed) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    strata = targets if task == "single_label" else np.zeros(len(targets), int)
    grouped = groups is not None and 1 < len(np.unique(groups)) < len(groups)
    if grouped:
        count = min(count, len(np.unique(groups)))
        divide = (StratifiedGroupKFold if task == "single_label" else GroupKFold)(
            count, shuffle=True, random_state=seed
        )
    elif task == "single_label" and np.bincount(strata).max() >= count:
        divide = StratifiedKFold(count, shuffle=True, random_state=seed)
    else:
        divide = KFold(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # A class may have fewer examples than there are folds.
        yield from divide.split(np.zeros(len(targets)), strata, groups if grouped else None)


def _prepared(train, held_out, seed):
    if scipy.sparse.issparse(train):
        return train, held_out
    scaler = StandardScaler().fit(train)
    train, held_out = scaler.transform(train), scaler.transform(held_out)
    if min(train.shape) > _MOST_FEATURES:
        components = PCA(_MOST_FEATURES, svd_solver="randomized", random_state=seed).fit(train)
        train, held_out = components.transform(train), components.transform(held_out)
    return train, held_out


def _fitted(train, targets, held_out, outputs, task, strength) -> np.ndarray:
    if task == "regression":
        model = Ridge(strength).fit(train, targets.astype(np.float64))
        return model.predict(held_out).reshape(held_out.shape[0], -1)
    if task == "single_label":
        return _probabilities(train, targets, held_out, strength, outputs)
    columns = [_probabilities(train, column.astype(int), held_out, strength, 2)[:, 1] for column in targets.T]
    return np.stack(columns, axis=1)


def _probabilities(train, targets, held_out, strength, outputs) -> np.ndarray:
    result = np.zeros((held_out.shape[0], outputs))
    classes = np.unique(targets)
    if len(classes) == 1:
        result[:, classes[0]] = 1
        return result
    model = LogisticRegression(C=strength, tol=_TOLERANCE, max_iter=_STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(train, targets)
    result[:, model.classes_] = model.predict_proba(held_out)
    return result


def _loss(predicted: np.ndarray, targets: np.ndarray, task: str) -> float:
    if task == "regression":
        return float(np.mean(((predicted - targets) / (targets.std(axis=0) + 1e-12)) ** 2))
    if task == "single_label":
        chosen = predicted[np.arange(len(targets)), targets]
    else:
        chosen = np.where(targets > 0, predicted, 1 - predicted)
    return float(-np.log(np.clip(chosen, _SMALLEST, 1)).mean())
