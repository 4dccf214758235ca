"""A warning about data sets that are too small for reliable measurements or training.

Takes the parts of a data set, returns a message. Must not read inputs or import TensorFlow.
"""

import math
from collections.abc import Mapping

from kerastrain.data.examples import Examples

FEWEST_HELD_OUT = 100
FEWEST_PER_CLASS = 20


def small_data_warning(parts: Mapping[str, Examples], *, is_fold: bool = False) -> str | None:
    """Returns a warning if there are so few examples that results would mislead.

    It warns about two things. With fewer than 100 held-out examples, the 95 % interval of an accuracy of 80 % is about
    8 points or more in each direction, which is more than most choices differ by. With fewer than 20 training examples
    of a class, a model mostly memorizes them. Accuracy on photos of ten hand signs, fine-tuned at 32 x 32 pixels from
    `kerastrain:fractal_small`:

    | training photos of each sign | 5 | 10 | 20 | 40 | 80 |
    |---|---|---|---|---|---|
    | accuracy on the training photos | 0.98 | 0.93 | 1.00 | 1.00 | 1.00 |
    | accuracy on 619 other photos | 0.42 | 0.52 | 0.83 | 0.92 | 0.94 |

    Half of the 95 % interval of the accuracy is

        1.96 · sqrt(0.8 · 0.2 / n)

    and for regression 1.96 / sqrt(2 n), relative to the root mean squared error, if the errors are normally
    distributed.

    Args:
        parts: mapping from "train", "validation" and "test" to their Examples.
        is_fold: bool, whether the parts are those of one fold of a cross-validation, whose folds measure more together.

    Returns:
        str, or None if there are enough examples.

    Reference: Brown, Cai and DasGupta 2001, https://doi.org/10.1214/ss/1009213286, for the interval and its limits.
    """
    warnings = []
    held_out = {name: len(part) for name, part in parts.items() if name != "train"}
    name = min(held_out, key=held_out.get, default=None)
    if name is not None and held_out[name] < FEWEST_HELD_OUT:
        warnings.append(
            f"{name} has {held_out[name]}, so {_interval(parts['train'].task, held_out[name])}; "
            + ("all folds together measure" if is_fold else "cross-validation (data.folds=5 data.fold=all) measures")
            + " more precisely"
        )
    counts = parts["train"].class_counts
    if counts is not None and counts.min() < FEWEST_PER_CLASS:
        label = parts["train"].labels[int(counts.argmin())]
        warnings.append(
            f"train has {int(counts.min())} of class {label!r}; keep the backbone frozen (fit.epochs=0) or augment, "
            "and check the recall of that class"
        )
    return f"few examples: {'. Also, '.join(warnings)}." if warnings else None


def _interval(task: str, count: int) -> str:
    if task == "regression":
        return f"a measured error (RMSE) may be off by {100 * 1.96 / math.sqrt(2 * count):.0f} %"
    return f"a measured accuracy of 80 % may be off by {100 * 1.96 * math.sqrt(0.8 * 0.2 / count):.0f} points"
