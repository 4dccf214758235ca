"""The candidates of a compression: which steps are trained, in which order, and the number format of the file.

Must not import TensorFlow, and must not run any step.
"""

from dataclasses import dataclass

from kerastrain.config import CompressConfig

STEP_NAMES = {
    "distill": "distilled",
    "prune_channels": "channel_pruned",
    "prune": "pruned",
    "cluster": "clustered",
    "quantize_aware": "qat",
}
"""The steps, in the only order in which each step keeps the results of those before it, and their names in file names."""


@dataclass(frozen=True)
class Candidate:
    """A combination of training steps and a number format.

    Args:
        steps: tuple of keys of `STEP_NAMES`, in that order.
        quantize: "float32", "float16", "dynamic", "int16x8", "int8", "int4" or "dynamic_int4", the number format of the
            file.
        float_layers: int >= 0, the number of operations of an int8 file that stay in float32 with those that read them,
            the most sensitive first.
    """

    steps: tuple[str, ...]
    quantize: str
    float_layers: int = 0

    @property
    def name(self) -> str:
        """The name of the file without suffix, such as "pruned_int8"."""
        float_layers = f"_{self.float_layers}_in_float" if self.float_layers else ""
        return f"{self.stem}_{self.quantize}{float_layers}"

    @property
    def stem(self) -> str:
        """The name of the model that the file is written from, such as "pruned"; "baseline" without steps."""
        return "_".join(STEP_NAMES[step] for step in self.steps) or "baseline"


CANDIDATES = (
    Candidate((), "float32"),
    Candidate((), "float16"),
    Candidate((), "dynamic"),
    Candidate((), "int16x8"),
    Candidate((), "int4"),
    Candidate((), "int8"),
    Candidate(("quantize_aware",), "int8"),
    Candidate(("prune",), "float32"),
    Candidate(("prune",), "int8"),
    Candidate(("cluster",), "float32"),
    Candidate(("cluster",), "int8"),
    Candidate(("prune", "cluster"), "int8"),
    Candidate(("prune", "cluster", "quantize_aware"), "int8"),
    Candidate(("prune_channels",), "float32"),
    Candidate(("prune_channels",), "int8"),
    Candidate(("prune_channels", "prune"), "int8"),
    Candidate(("distill",), "float32"),
    Candidate(("distill",), "int8"),
)
"""The candidates of a budget. If int8 alone exceeds a budget of accuracy, files with some float layers are added."""


def requested_candidates(settings: CompressConfig) -> tuple[Candidate, ...]:
    """The candidates that settings without a budget request: the float file after each step, and the quantized file.

    Args:
        settings: CompressConfig.

    Returns:
        tuple of Candidate; the first is the float file of the run's model.

    Example:
        >>> from kerastrain import config
        >>> settings = config.CompressConfig(quantize="quantize_aware")
        >>> [candidate.name for candidate in requested_candidates(settings)]
        ['baseline_float32', 'pruned_float32', 'pruned_qat_int8']
    """
    requested = {
        "distill": settings.distill,
        "prune_channels": settings.prune_channels,
        "prune": settings.prune and settings.prune.fraction,
        "cluster": settings.cluster,
    }
    steps = tuple(step for step in STEP_NAMES if requested.get(step))
    candidates = [Candidate(steps[:count], "float32") for count in range(len(steps) + 1)]
    if settings.quantize == "quantize_aware":
        candidates.append(Candidate((*steps, "quantize_aware"), "int8"))
    elif settings.quantize != "float32":
        candidates.append(Candidate(steps, settings.quantize))
    return tuple(candidates)
