"""The names of all measures, by the kind of model that has them.

Takes and returns plain names. Must not import TensorFlow.
"""

from kerastrain.tasks import TASKS

PART = "validation"
"""The part of the data by whose measures models are chosen."""

KINDS = (*TASKS, "language", "preference")
"""The tasks, and the two of language models: to write text, and to prefer the chosen answers (fit.objective=dpo)."""

FORMATS = (
    *("saved_model", "keras", "onnx", "tflite_float32", "tflite_float16", "tflite_dynamic", "tflite_int8"),
    *("tflite_int16x8", "tflite_int4", "tflite_dynamic_int4", "hugging_face", "adapter"),
)
"""The names of `export.formats`."""

CLASS = "CLASS"
"""The placeholder for the name of a class or number in the names of its measures, such as "classes.CLASS.f1"."""

SCORES = ("precision", "recall", "specificity", "f1", "average_precision", "roc_auc")
"""The scores of a class, or averaged over classes."""

_LABEL_SCORES = (*SCORES, "matthews")
_AVERAGES = ("macro", "weighted", "micro")
_SINGLE = ("loss", "accuracy", "balanced_accuracy", "top_3", "top_5", "brier", "kappa", "matthews", "calibration.error")
MEASURES = {
    "single_label": (
        *_SINGLE,
        *(f"{average}.{score}" for average in _AVERAGES for score in SCORES),
        *(f"classes.{CLASS}.{score}" for score in SCORES),
    ),
    "multi_label": (
        *("loss", "accuracy", "exact", "brier", "calibration.error"),
        *(f"{average}.{score}" for average in _AVERAGES for score in _LABEL_SCORES),
        *(f"classes.{CLASS}.{score}" for score in (*_LABEL_SCORES, "best_f1")),
    ),
    "regression": (
        *("mae", "rmse", "r2", "spearman"),
        *(f"outputs.{CLASS}.{score}" for score in ("mae", "rmse", "r2", "spearman")),
    ),
    "language": ("loss", "perplexity", "accuracy"),
    "preference": (
        *("loss", "perplexity", "accuracy"),
        *(f"preference.{score}" for score in ("loss", "accuracy", "margin", "likelier")),
    ),
}
"""The measures of each kind, by their place in `metrics.json` below the part of the data."""

GROUPS = ("classes", "outputs")
"""The lists in `metrics.json` with the measures of each class or number."""


def in_short(kind: str) -> str:
    """Lists the measures of a kind, those of averages and classes together.

    Args:
        kind: str in `KINDS`.

    Returns:
        str.

    Example:
        >>> in_short("regression")
        'mae, rmse, r2, spearman; outputs.CLASS. with mae, rmse, r2, spearman'
    """
    groups: dict[str, list[str]] = {}
    for name in MEASURES[kind]:
        group, _, score = name.rpartition(".")
        groups.setdefault(group, []).append(score)
    texts = [*groups.pop("", ()), *(f"{group}.{scores[0]}" for group, scores in groups.items() if len(scores) == 1)]
    texts = [", ".join(texts)]
    for scores in dict.fromkeys(tuple(scores) for scores in groups.values() if len(scores) > 1):
        of = [f"{group}." for group in groups if tuple(groups[group]) == scores]
        texts.append(f"{', '.join(of)} with {', '.join(scores)}")
    return "; ".join(texts)
