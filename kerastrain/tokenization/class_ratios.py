"""How much more often the texts of one class have a token than the others, by naive Bayes.

Takes the tokenizer of a network, texts and their classes; returns a number for each token. Must not import TensorFlow.
"""

from collections.abc import Sequence

import numpy as np

from kerastrain.tokenization.vocabulary import Tokens, counted_every


def log_count_ratios(tokens: Tokens, texts: Sequence[str], targets: np.ndarray) -> np.ndarray:
    """The largest absolute log-count ratio of each token of a vocabulary over the classes.

        ratio_i = max_c |ln(p_ic / Σ_j p_jc) − ln(q_ic / Σ_j q_jc)|

    where p_ic is 1 plus the number of texts of class c with the token i, and q_ic that of the other texts.

    Args:
        tokens: Tokens, which know their vocabulary.
        texts: sequence of n str, the training texts, of which as many count as in `learn`.
        targets: int (n,), the class of each text; or array (n, labels), 1 where it has the label and 0 elsewhere.

    Returns:
        float64 (vocabulary,), 0 for a token that all classes use alike.

    Example:
        >>> from kerastrain.tokenization import rules
        >>> tokens = Tokens(rules("words"), (1,), ("film", "good", "bad"))
        >>> texts = ["good film", "good, good film", "bad film", "bad film"]
        >>> log_count_ratios(tokens, texts, np.array([0, 0, 1, 1])).round(2).tolist()  # ln 3 is 1.10
        [0.0, 1.1, 1.1]

    Reference: Wang and Manning 2012, https://aclanthology.org/P12-2018, section 2.1.
    """
    places = {token: place for place, token in enumerate(tokens.vocabulary)}
    every = counted_every(texts)
    texts, targets = texts[::every], np.asarray(targets)[::every]
    known = [[places[token] for token in set(tokens.tokens(str(text))) if token in places] for text in texts]
    rows = np.repeat(np.arange(len(known)), list(map(len, known)))
    ids = np.concatenate([np.array(part, np.int64) for part in known]) if known else np.zeros(0, np.int64)
    total = np.bincount(ids, minlength=len(places))
    largest = np.zeros(len(places))
    labels = np.unique(targets) if targets.ndim == 1 else range(targets.shape[1])
    for label in labels:
        has_label = targets == label if targets.ndim == 1 else targets[:, label] > 0
        if has_label.all() or not has_label.any():
            continue  # There is nothing to compare with.
        inside = np.bincount(ids[has_label[rows]], minlength=len(places))
        logs = [np.log((1.0 + counts) / np.sum(1.0 + counts)) for counts in (inside, total - inside)]
        largest = np.maximum(largest, np.abs(logs[0] - logs[1]))
    return largest
