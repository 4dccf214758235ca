"""Which ways of compression there are: what is trained, one after the other, and how the file holds its numbers.

Must not import TensorFlow, and must not do any of it.
"""

from dataclasses import dataclass

from kerastrain.config import CompressConfig

WORDS = {
    "distill": "distilled",
    "prune_channels": "channel_pruned",
    "prune": "pruned",
    "cluster": "clustered",
    "quantize_aware": "qat",
}
"""The steps in the only order in which each keeps what those before it did, and what a file is called after them."""


@dataclass(frozen=True)
class Candidate:
    """One way of compression.

    Args:
        steps: keys of `WORDS`, in that order.
        quantize: "float32", "float16", "dynamic", "int16x8", "int8", "int4" or "dynamic_int4", the numbers of the file.
        float_layers: int >= 0, the most sensitive operations of an int8 file, which stay in float32 with what reads them.
    """

    steps: tuple[str, ...]
    quantize: str
    float_layers: int = 0

    @property
    def name(self) -> str:
        """Such as "pruned_int8"; what is as it was before any step is called so."""
        kept = f"_{self.float_layers}_in_float" if self.float_layers else ""
        return f"{self.stem}_{self.quantize}{kept}"

    @property
    def stem(self) -> str:
        """The name of the model that the file is written from, such as "pruned"."""
        return "_".join(WORDS[step] for step in self.steps) or "baseline"


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
"""What a budget tries. Where int8 alone breaks a budget of accuracy, files with some layers in float are added."""


def requested_candidates(settings: CompressConfig) -> tuple[Candidate, ...]:
    """The way that settings without a budget spell out, with the float file after each step.

    Example:
        >>> from kerastrain import config
        >>> [way.name for way in requested_candidates(config.CompressConfig(quantize="quantize_aware"))]
        ['baseline_float32', 'pruned_float32', 'pruned_qat_int8']
    """
    given = {
        "distill": settings.distill,
        "prune_channels": settings.prune_channels,
        "prune": settings.prune and settings.prune.fraction,
        "cluster": settings.cluster,
    }
    steps = tuple(step for step in WORDS if given.get(step))
    ways = [Candidate(steps[:count], "float32") for count in range(len(steps) + 1)]
    if settings.quantize == "quantize_aware":
        ways.append(Candidate((*steps, "quantize_aware"), "int8"))
    elif settings.quantize != "float32":
        ways.append(Candidate(steps, settings.quantize))
    return tuple(ways)
