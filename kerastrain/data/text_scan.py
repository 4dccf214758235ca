"""Finds equal texts: duplicates, copies of held-out texts, and texts with conflicting labels.

Takes `Examples` of texts, returns a `Scan` as for image files. Must not import TensorFlow.
"""

from collections.abc import Sequence

import numpy as np

from kerastrain.data.examples import Examples
from kerastrain.data.image_files.quarantine import HELD_OUT_FIRST, Quarantined
from kerastrain.data.image_files.scanning import Scan
from kerastrain.data.sources.text_pairs import shown, stripped

_SHOWN_CHARACTERS = 100


def scan(
    examples: Examples,
    targets: Sequence[str],
    predefined_split: Sequence[str] | None = None,
    *,
    counts_repeats: bool = False,
) -> Scan:
    """Determines which texts to skip, so that no text is in two parts or has two labels.

    Texts are equal if all their characters are, except for white space at both ends, and the numbers beside them; pairs of
    texts if both texts are. Different numbers of equal texts, for "regression", do not contradict each other.

    | equal texts have | skipped | kind |
    |---|---|---|
    | different classes | all of them, because it is unknown which is right | contradiction |
    | one class, in several predefined parts | all but those of one part: test, else validation | leakage |
    | one class, in one part or not split yet | all but the first; with `counts_repeats` none | duplicate |

    Args:
        examples: Examples of n texts.
        targets: n str, the targets of each text in a form that can be compared, such as its class.
        predefined_split: n of "train", "validation" and "test" where the source defines the parts; else None.
        counts_repeats: bool, whether a text that occurs again counts again, as in a table. With another group or key it is
            a duplicate nevertheless, because it could be in another part.

    Returns:
        Scan. `Quarantined.path` is the start of the text.
    """
    rows_of = {}
    for row, text in enumerate(examples.inputs):
        rows_of.setdefault((stripped(text), examples.number_bytes(row)), []).append(row)
    skipped = {}
    for (text, _), rows in rows_of.items():
        if len(rows) > 1:
            faults = _faults(rows, targets, predefined_split, examples, counts_repeats)
            skipped |= {row: Quarantined(shortened(shown(text)), *fault) for row, fault in faults.items()}
    kept = np.array([row for row in range(len(examples)) if row not in skipped], np.int64)
    return Scan(kept, tuple(skipped[row] for row in sorted(skipped)))


def shortened(text: str) -> str:
    """Returns the start of a text, in one line.

    Args:
        text: str.

    Returns:
        str of at most 101 characters.
    """
    line = " ".join(text[: 2 * _SHOWN_CHARACTERS].split())
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[:_SHOWN_CHARACTERS]}…"


def _faults(
    rows: Sequence[int],
    targets: Sequence[str],
    predefined_split: Sequence[str] | None,
    examples: Examples,
    counts_repeats: bool,
) -> dict[int, tuple[str, str]]:
    """Returns the kind and the reason of each of the equal texts at `rows` that is skipped."""
    own = {targets[row] for row in rows}
    if len(own) > 1 and examples.task != "regression":
        others = {row: next(target for target in sorted(own) if target != targets[row]) for row in rows}
        return {
            row: ("contradiction", f"its label is {targets[row]!r} here, and {others[row]!r} where it occurs again")
            for row in rows
        }
    parts = {row: "train" if predefined_split is None else predefined_split[row] for row in rows}
    used = min(rows, key=lambda row: HELD_OUT_FIRST.index(parts[row]))
    stay_together = [values for values in (examples.keys, examples.groups) if values is not None]
    counts_repeats = counts_repeats and examples.keys is not None
    faults = {}
    for row in rows:
        if parts[row] != parts[used]:
            faults[row] = "leakage", f"it is in the {parts[row]} part, and again in the {parts[used]} part"
        elif row != used and not (counts_repeats and all(values[row] == values[used] for values in stay_together)):
            faults[row] = "duplicate", f"it occurs {len(rows):,} times"
    return faults
