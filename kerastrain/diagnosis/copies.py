"""What near-duplicates mean by their parts and labels, and which of two is proposed to be left out.

Takes pairs, parts and labels; returns findings. Must not open files.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from kerastrain.diagnosis.data_findings import Finding
from kerastrain.diagnosis.near_duplicates import Pairs, kept_of_copies

HELD_OUT_FIRST = ("test", "validation", "train")
RULE = (
    "Of two near-duplicates, the one in train is left out before the one in validation, and none of the test part; in the same "
    "part the smaller picture, else the later one; with different labels in the same part none."
)


def copy_findings(
    pairs: Pairs,
    parts: Sequence[str],
    targets: np.ndarray,
    name: Callable[[int], str],
    label: Callable[[int], str],
    *,
    sizes: np.ndarray | None = None,
    equal: Callable[[int, int], bool] = lambda first, second: False,
) -> list[Finding]:
    """Judges near-duplicates by `RULE`.

    | the two are | kind | proposed |
    |---|---|---|
    | in different parts | leakage | exclude the one in train, else in validation |
    | in one part, with different labels | conflicting_labels | look at both |
    | in one part, equal in every character | duplicate | look: each counts, as in a table |
    | in one part | near_duplicate | exclude one; in test look |

    Args:
        pairs: Pairs of n examples.
        parts: n of "train", "validation" and "test".
        targets: array (n, …), equal for equal labels.
        name: callable from an index to the name of the example in messages.
        label: callable from an index to its label in messages.
        sizes: int (n, 2), width and height of pictures in pixels; None if they do not matter.
        equal: callable from two indices to whether the two are equal in every character.

    Returns:
        list of Finding, of each kind the most similar first.
    """
    pixels = np.zeros(len(parts)) if sizes is None else sizes.prod(axis=1)
    ranks = np.lexsort((np.arange(len(parts)), -pixels, [HELD_OUT_FIRST.index(part) for part in parts]))
    order = np.empty(len(parts), np.int64)
    order[ranks] = np.arange(len(parts))
    copies = kept_of_copies(pairs, order)
    differences, turned = {}, set()
    for first, second, difference, is_turned in zip(
        pairs.first.tolist(), pairs.second.tolist(), pairs.difference.tolist(), pairs.turned.tolist(), strict=True
    ):
        differences[first, second] = differences[second, first] = difference
        if is_turned:
            turned |= {(first, second), (second, first)}
    findings, repeated = [], Counter()
    for copy, kept in copies.items():
        if parts[copy] == parts[kept] and equal(copy, kept):
            repeated[kept] += 1
            continue
        differ = not np.array_equal(targets[copy], targets[kept])
        same = "shows the same mirrored or rotated" if (copy, kept) in turned else "shows the same"
        where = "" if parts[copy] == parts[kept] else f" in the {parts[kept]} part"
        reason = f"{same} as {name(kept)}{where} (difference {differences[copy, kept]:.4f})"
        reason += f", which is labelled {label(kept)}" if differ else ""
        score = 1 - differences[copy, kept]
        if parts[copy] != parts[kept]:
            findings.append(Finding(copy, "leakage", score, reason, copy_of=kept, action="exclude"))
        elif differ:
            findings.append(Finding(copy, "conflicting_labels", score, reason, copy_of=kept))
            back = f"{same} as {name(copy)} (difference {differences[copy, kept]:.4f}), which is labelled {label(copy)}"
            findings.append(Finding(kept, "conflicting_labels", score, back, copy_of=copy))
        else:
            action = "look" if parts[copy] == "test" else "exclude"
            findings.append(Finding(copy, "near_duplicate", score, reason, copy_of=kept, action=action))
    for kept, count in repeated.items():
        reason = f"occurs {count + 1:,} times in {parts[kept]}, and counts as often"
        findings.append(Finding(kept, "duplicate", count / (count + 1), reason))
    return sorted(findings, key=lambda finding: -finding.score)
