"""Which ways of compression there are: what is trained, one after the other, and how the file holds its numbers.

Must not import TensorFlow, and must not do any of it.
"""

from dataclasses import dataclass

from kerastrain.config import CompressConfig

WORDS = {
    "distil": "distilled",
    "channels": "narrow",
    "prune": "pruned",
    "cluster": "clustered",
    "aware": "aware",
}
"""The steps in the only order in which each keeps what those before it did, and what a file is called after them."""


@dataclass(frozen=True)
class Way:
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
        return "_".join(WORDS[step] for step in self.steps) or "before"


LADDER = (
    Way((), "float32"),
    Way((), "float16"),
    Way((), "dynamic"),
    Way((), "int16x8"),
    Way((), "int4"),
    Way((), "int8"),
    Way(("aware",), "int8"),
    Way(("prune",), "float32"),
    Way(("prune",), "int8"),
    Way(("cluster",), "float32"),
    Way(("cluster",), "int8"),
    Way(("prune", "cluster"), "int8"),
    Way(("prune", "cluster", "aware"), "int8"),
    Way(("channels",), "float32"),
    Way(("channels",), "int8"),
    Way(("channels", "prune"), "int8"),
    Way(("distil",), "float32"),
    Way(("distil",), "int8"),
)
"""What a budget tries. Where int8 alone breaks a budget of accuracy, files with some layers in float are added."""


def one_way(settings: CompressConfig) -> tuple[Way, ...]:
    """The way that settings without a budget spell out, with the float file after each step.

    Example:
        >>> from kerastrain import config
        >>> [way.name for way in one_way(config.CompressConfig(quantize="aware"))]
        ['before_float32', 'pruned_float32', 'pruned_aware_int8']
    """
    given = {
        "distil": settings.distil,
        "channels": settings.channels,
        "prune": settings.prune and settings.prune.fraction,
        "cluster": settings.cluster,
    }
    steps = tuple(step for step in WORDS if given.get(step))
    ways = [Way(steps[:count], "float32") for count in range(len(steps) + 1)]
    if settings.quantize == "aware":
        ways.append(Way((*steps, "aware"), "int8"))
    elif settings.quantize != "float32":
        ways.append(Way(steps, settings.quantize))
    return tuple(ways)
