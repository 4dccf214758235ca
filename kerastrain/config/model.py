"""The sections `model` and `fine_tune`: backbone, head, and what of the backbone trains. Must not import TensorFlow."""

from typing import Annotated

from pydantic import Field, model_validator

from kerastrain.config.values import Count, NotNegative, Positive, Section


class ModelConfig(Section):
    """The backbone and the head put on it."""

    backbone: str | None = None
    """A TF Hub handle, a SavedModel folder or .tar.gz, `keras:NAME`, a .keras file, or the bundled
    `kerastrain:fractal_small`, which null takes. For texts a Hub text module, a .keras file,
    `keras:transformer`, or `keras:embedding`, which null takes."""
    weights: str | None = None
    """Only for `keras:NAME`: a weights file, `imagenet` (downloads), or null for random ones."""
    value_range: tuple[float, float] | None = None
    """What the backbone wants pixels scaled to; null takes what it says, or [0, 1], the convention of TF Hub."""
    alpha: Positive | None = None
    """Only for the MobileNets of `keras:NAME`: their width as a share of the standard one."""
    stochastic_depth: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Only for the EfficientNets of `keras:NAME`: how often their last block is skipped in training; null takes 0.2."""
    renamed_keys = {"width": "embedding_dim", "depth": "num_layers", "length": "sequence_length"}

    embedding_dim: Annotated[int, Field(gt=0)] | None = None
    """Only for texts under `keras:NAME`: numbers of a word's embedding; null takes the network's default."""
    num_layers: Annotated[int, Field(gt=0)] | None = None
    """Only for `keras:transformer`: its blocks; null takes the network's default."""
    sequence_length: Annotated[int, Field(gt=0)] | None = None
    """Only for texts under `keras:NAME`: how many words (and pairs) of a text count; null takes the network's default."""
    vocabulary_size: Annotated[int, Field(gt=2)] | None = None
    """Only for texts under `keras:NAME`: the most words (and pairs) that are kept; null takes 30000."""
    word_dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Only for texts under `keras:NAME`: share of embeddings (and of what attention gives) dropped while training; null
    takes 0.3."""
    signature: str | None = None
    """Only for a Hub module or SavedModel: the signature to call, which never trains; null calls the module itself."""
    output_key: str | None = None
    """Only for a Hub module or SavedModel: which of several outputs are the features."""
    hidden_units: tuple[Annotated[int, Field(gt=0)], ...] = ()
    """Widths of dense layers between the features and the logits."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of features dropped before the logits while training."""
    batch_norm: bool = False
    """Whether batch norm stands before each hidden ReLU of the head."""
    l1: NotNegative = 0.0
    """L1 penalty on the kernels of the head."""
    l2: NotNegative = 0.0
    """L2 penalty on the kernels of the head."""

    def check_fits(self, kind: str) -> None:
        """Refuses a setting that the backbone would not look at.

        Args:
            kind: "images" or "text".

        Raises:
            ValueError: a setting goes with other backbones.
        """
        backbone = self.backbone or ("kerastrain:fractal_small" if kind == "images" else "keras:embedding")
        for owner, names in _owners(kind, backbone):
            for name in names:
                if getattr(self, name) is not None:
                    raise ValueError(
                        f"model.{name} goes with {owner} alone. Received: model.{name}={getattr(self, name)}, and the "
                        f"backbone {backbone!r} for {kind}. Remove it."
                    )


def _owners(kind: str, backbone: str) -> list[tuple[str, tuple[str, ...]]]:
    """What a backbone does not look at: whose settings they are, and their names."""
    is_network, is_file = backbone.startswith("keras:"), backbone.endswith(".keras")
    owners = {
        "networks `keras:NAME` of images": (("weights", "alpha", "stochastic_depth"), kind == "images" and is_network),
        "images and modules or files": (("value_range",), kind == "images" and not is_network),
        "texts and `keras:embedding` or `keras:transformer`": (
            ("embedding_dim", "sequence_length", "vocabulary_size", "word_dropout"),
            kind == "text" and is_network,
        ),
        "texts and `keras:transformer`": (("num_layers",), kind == "text" and backbone == "keras:transformer"),
        "a Hub module or SavedModel": (("signature", "output_key"), not is_network and not is_file),
    }
    return [(owner, names) for owner, (names, is_meant) in owners.items() if not is_meant]


class FineTuneConfig(Section):
    """What of a pre-trained backbone trains in the second phase, and how fast."""

    last: Count | None = None
    """How many layers with weights train, counted from the backbone's end; null for all."""
    from_layer: str | None = None
    """Name of the first layer of the backbone that trains; null for all."""
    batch_norm: bool = False
    """Whether batch norm trains too; on few images it had better stay still."""
    layer_rate_decay: Annotated[float, Field(gt=0, le=1)] | None = None
    """Factor on the rate from each layer to the one below it; null gives all layers the same rate."""
    lora_rank: Annotated[int, Field(gt=0)] | None = None
    """Rank of low-rank pairs that train instead of the dense, embedding and attention kernels; merged at the end."""
    lora_alpha: Positive | None = None
    """Strength of the low-rank pairs, whose product counts alpha / rank times; null takes lora_rank, which makes it 1."""
    lora_layers: tuple[str, ...] | None = None
    """Names of the layers that get such pairs, each with all that lies inside it; null takes the whole backbone."""
    timetable: dict[Count, Annotated[int, Field(gt=0)] | None] = {}
    """Epoch (from 0) and how many layers train from then on, null for all: gradual unfreezing."""

    @model_validator(mode="after")
    def _one_way_only(self):
        ways = [name for name in ("last", "from_layer", "lora_rank") if getattr(self, name) is not None]
        ways += ["timetable"] if self.timetable else []
        if len(ways) > 1:
            raise ValueError(f"what trains is chosen one way only. Received: {' and '.join(ways)}. Keep one.")
        return self

    @model_validator(mode="after")
    def _pairs_have_a_rank(self):
        for name in ("lora_alpha", "lora_layers"):
            if getattr(self, name) is not None and self.lora_rank is None:
                raise ValueError(
                    f"{name} goes with lora_rank. Received: {getattr(self, name)}. Set fine_tune.lora_rank."
                )
        return self
