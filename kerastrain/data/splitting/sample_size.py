"""What to expect of a data set before it is trained on.

Takes the parts of a data set, gives a sentence. Must not read inputs or import TensorFlow.
"""

import math
from collections.abc import Mapping

from kerastrain.data.examples import Examples

FEWEST_HELD_OUT = 100
FEWEST_PER_CLASS = 20


def small_data_warning(parts: Mapping[str, Examples]) -> str | None:
    """A warning where there are so few examples that a person would be misled, or None.

    Two things are told. With fewer than 100 examples held out, an accuracy of 80 % is known to 8 points at best,
    which is more than most choices differ by. And with fewer than 20 training examples of a class a model mostly learns them
    by heart. Of photos of ten hand signs, fine-tuned at 32 x 32 pixels from `kerastrain:fractal_small`, there were right:

    | training photos of each sign | 5 | 10 | 20 | 40 | 80 |
    |---|---|---|---|---|---|
    | of those trained on | 0.98 | 0.93 | 1.00 | 1.00 | 1.00 |
    | of 619 others | 0.42 | 0.52 | 0.83 | 0.92 | 0.94 |

    The interval is, at 95 %,

        1.96 · sqrt(0.8 · 0.2 / n)

    and for numbers 1.96 / sqrt(2 n), the relative one of a root mean squared error whose errors are normal.

    Args:
        parts: mapping from "train", "validation" and "test" to their Examples.

    Returns:
        str, or None where there are enough.

    Reference: Brown, Cai and DasGupta 2001, https://doi.org/10.1214/ss/1009213286, for the interval and its limits.
    """
    told = []
    held_out = {name: len(part) for name, part in parts.items() if name != "train"}
    name = min(held_out, key=held_out.get, default=None)
    if name is not None and held_out[name] < FEWEST_HELD_OUT:
        told.append(
            f"{name} has {held_out[name]}, so that {_interval(parts['train'].task, held_out[name])}; cross-validation "
            "(data.folds=5) says more"
        )
    counts = parts["train"].class_counts
    if counts is not None and counts.min() < FEWEST_PER_CLASS:
        label = parts["train"].labels[int(counts.argmin())]
        told.append(
            f"train has {int(counts.min())} of class {label!r}; keep the backbone frozen (fit.epochs=0) or augment, and "
            "look at the recall of that class"
        )
    return f"few examples: {'. And '.join(told)}." if told else None


def _interval(task: str, count: int) -> str:
    if task == "regression":
        return f"a measured error (RMSE) may be off by {100 * 1.96 / math.sqrt(2 * count):.0f} %"
    return f"a measured accuracy of 80 % may be off by {100 * 1.96 * math.sqrt(0.8 * 0.2 / count):.0f} points"
