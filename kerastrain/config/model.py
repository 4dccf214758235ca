"""The sections `model` and `fine_tune`: backbone, head, and which layers are fine-tuned. Must not import TensorFlow."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kerastrain import presets
from kerastrain.config.expectations import shown
from kerastrain.config.values import Count, NotNegative, Positive, Section

AUTO_BACKBONE = "auto"
"""The `model.backbone` that is chosen by the size of the images; see `recipe.automatic_backbone`."""

NGRAM_BACKBONE = "keras:ngrams"
TEXT_BACKBONE = NGRAM_BACKBONE
"""The default for texts."""


class ModelConfig(Section):
    """The backbone and the head on top of it."""

    renamed_keys = {"width": "embedding_dim", "depth": "num_layers", "length": "sequence_length"}

    backbone: str | None = None
    """The network that computes features. Images: a TF Hub handle, a SavedModel folder or .tar.gz, a folder of
    Hugging Face, timm or KerasHub, `hf:OWNER/NAME`, `kerashub:PRESET`, `keras:NAME`, a .keras file, a bundled one
    (`kerastrain:efficientnet_lite0`, made for photos and trained on ImageNet, or `kerastrain:fractal_small`, for tiny
    images), or `auto` (the default): efficientnet_lite0, and fractal_small for images of at most 40 pixels. Texts: a
    pretrained encoder (a folder of Hugging Face, `hf:OWNER/NAME` or `kerashub:PRESET`), a Hub text module, a .keras file,
    `keras:transformer`, `keras:embedding`, or `keras:ngrams` (the default). Conversations and texts to continue: a
    pretrained language model, a folder of Hugging Face or KerasHub, `hf:OWNER/NAME` or `kerashub:PRESET` (Llama, Mistral,
    Qwen 2 and 3, Gemma, SmolLM)."""
    from_run: str | None = None
    """Folder of a finished run whose model is trained further: its backbone, and the rows of its head for the labels that
    the data share with it. `kerastrain train --from RUN` sets it. Null starts from `backbone` with a new head."""
    weights: str | None = None
    """Only for `keras:NAME` of images: `imagenet` (downloaded once), `random`, or a weights file. Null means imagenet."""
    value_range: tuple[float, float] | None = None
    """Smallest and largest pixel value that the backbone expects. Null uses the range that it declares, or else the one that
    its graph and its features show; `doctor --backbone` says how sure that is. If nothing shows it, modules get [0, 1], the
    convention of TF Hub, and Keras models [0, 255], with a warning."""
    alpha: Positive | None = None
    """Only for the MobileNets of `keras:NAME`: width multiplier of the network. Null means 1."""
    stochastic_depth: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Only for the EfficientNets of `keras:NAME`: probability that the last block is skipped in a training step. Null means
    0.2."""
    embedding_dim: Annotated[int, Field(gt=0)] | None = None
    """Only for texts with `keras:NAME`: size of a word's embedding. Null means the network's default."""
    num_layers: Annotated[int, Field(gt=0)] | None = None
    """Only for `keras:transformer`: number of transformer blocks. Null means the network's default."""
    tokenizer: Literal["words", "characters", "subwords"] | None = None
    """Only for texts with `keras:NAME`: what a token is. words: what white space separates. characters: for Chinese,
    Japanese, Thai and other scripts without spaces. subwords: pieces of words, learned from the training texts, for
    languages that compound words and for texts with many rare words. Null means words."""
    sequence_length: Annotated[int, Field(gt=0)] | None = None
    """Only for texts with `keras:NAME` or a pretrained encoder: number of tokens, in `keras:ngrams` and `keras:embedding` with
    their n-grams, that a text is cut to. Null means, for an encoder, the number that cuts one of a hundred training texts;
    10,000 in `keras:ngrams`; 100 words, 400 characters or 160 subwords in `keras:embedding`; and 64, 256 or 96 in
    `keras:transformer`. For language models: number of tokens of a sequence; null means the number that cuts one of a hundred
    training conversations, at most 1,024."""
    vocabulary_size: Annotated[int, Field(gt=2)] | None = None
    """Only for texts with `keras:NAME`: largest number of tokens and n-grams in the vocabulary. Null means 60000 in
    `keras:ngrams`, and 30000 in the others."""
    word_dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Only for texts with `keras:NAME`: dropout rate of the tokens in `keras:ngrams`, and of the embeddings (and
    attention outputs) in the others. Null means 0.3."""
    signature: str | None = None
    """Only for a Hub module or SavedModel: name of the signature to call; a signature cannot be fine-tuned. Null calls the
    module itself."""
    output_key: str | None = None
    """Only for a Hub module or SavedModel: name of the output that holds the features, if there are several."""
    hidden_units: tuple[Annotated[int, Field(gt=0)], ...] = ()
    """Numbers of units of the dense layers between the features and the logits."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Dropout rate before each dense layer of the head, in training."""
    batch_norm: bool = False
    """Whether the head has batch normalization before each hidden ReLU."""
    l1: NotNegative = 0.0
    """Weight of the L1 penalty on the kernels of the head."""
    l2: NotNegative = 0.0
    """Weight of the L2 penalty on the kernels of the head."""

    @model_validator(mode="after")
    def _check_value_range(self):
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            raise ValueError(f"value_range must rise. Received: {shown(self.value_range)}.")
        return self

    def backbone_of(self, kind: str) -> str:
        """Returns the backbone, or the default for the kind of data.

        Args:
            kind: "images" or "text".

        Returns:
            str.
        """
        if self.backbone not in (None, AUTO_BACKBONE):
            return self.backbone
        return AUTO_BACKBONE if kind == "images" else TEXT_BACKBONE

    def check_fits(self, kind: str) -> None:
        """Raises an error if a setting is given that the backbone would ignore.

        Args:
            kind: "images" or "text".

        Raises:
            ValueError: a setting belongs to other backbones, or a language model is not named.
        """
        if kind in ("chat", "language") and self.backbone in (None, AUTO_BACKBONE) and self.from_run is None:
            raise ValueError(
                f"model.backbone must name a pretrained language model for data.kind={kind}: a folder of Hugging Face, or "
                "hf:OWNER/NAME. Received: none. Set model.backbone."
            )
        backbone = self.backbone_of(kind)
        for owner, names in _owners(kind, backbone):
            for name in names:
                if getattr(self, name) is not None:
                    raise ValueError(
                        f"model.{name} is only for {owner}. Received: model.{name}={shown(getattr(self, name))}, and the "
                        f"backbone {backbone!r} for {kind}. Remove it."
                    )


def _owners(kind: str, backbone: str) -> list[tuple[str, tuple[str, ...]]]:
    """Returns (the backbones that have them, names) of the settings that a backbone ignores."""
    is_network, is_file, is_open = backbone.startswith("keras:"), backbone.endswith(".keras"), backbone == AUTO_BACKBONE
    is_preset = presets.is_preset(backbone)
    owners = {
        "`keras:NAME` networks of images": (("weights",), kind == "images" and is_network),
        "the MobileNets of `keras:NAME`": (("alpha",), backbone.startswith("keras:MobileNet")),
        "the EfficientNets of `keras:NAME`": (("stochastic_depth",), backbone.startswith("keras:EfficientNet")),
        "modules, .keras files and pretrained networks of images": (
            ("value_range",),
            kind == "images" and not is_network and not is_open,
        ),
        "`keras:ngrams`, `keras:embedding` and `keras:transformer` on texts": (
            ("embedding_dim", "tokenizer", "vocabulary_size", "word_dropout"),
            kind == "text" and is_network,
        ),
        "`keras:NAME` networks, pretrained encoders of texts and language models": (
            ("sequence_length",),
            kind in ("chat", "language") or (kind == "text" and (is_network or is_preset)),
        ),
        "`keras:transformer` on texts": (("num_layers",), kind == "text" and backbone == "keras:transformer"),
        "Hub modules and SavedModels": (
            ("signature", "output_key"),
            not (is_network or is_file or is_open or is_preset),
        ),
    }
    return [(owner, names) for owner, (names, is_used) in owners.items() if not is_used]


class FineTuneConfig(Section):
    """Which weights of a pre-trained backbone train in the second phase, and how fast."""

    last: Count | None = None
    """Number of layers with weights that train, counted from the end of the backbone; null means all."""
    from_layer: str | None = None
    """Name of the first backbone layer that trains, with all layers after it; null means all."""
    batch_norm: bool = False
    """Whether batch normalization trains too. Leave it off for small data sets."""
    layer_rate_decay: Annotated[float, Field(gt=0, le=1)] | None = None
    """Factor by which the learning rate falls from each layer to the one below it; null means equal rates."""
    lora_rank: Annotated[int, Field(gt=0)] | None = None
    """Rank of the LoRA matrices that train in place of the dense, embedding and attention kernels. They are merged into
    the kernels at the end. Null means no LoRA."""
    lora_alpha: Positive | None = None
    """The product of the LoRA matrices is scaled by lora_alpha / lora_rank. Null means lora_rank, for a scale of 1."""
    lora_layers: tuple[str, ...] | None = None
    """Names of the layers that get LoRA matrices, including the layers inside them; null means the whole backbone. For language
    models regular expressions that are searched in the paths of kernels, such as `query|value`; null means all dense layers
    of the blocks."""
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Only for language models: share of the inputs that LoRA matrices do not see in a training step."""
    lora_rank_stabilized: bool = False
    """Only for language models: whether the product of the LoRA matrices is scaled by lora_alpha / sqrt(lora_rank), which
    suits high ranks."""
    quantize: Literal["int8", "int4"] | None = None
    """Only for language models with LoRA: the type that the frozen kernels are stored in while the LoRA matrices train. Null
    means floats."""
    timetable: dict[Count, Annotated[int, Field(gt=0)] | None] = {}
    """Gradual unfreezing: maps an epoch, counted from 0, to the number of layers that train from then on (null: all)."""

    @model_validator(mode="after")
    def _check_one_choice(self):
        ways = [name for name in ("last", "from_layer", "lora_rank") if getattr(self, name) is not None]
        ways += ["timetable"] if self.timetable else []
        if len(ways) > 1:
            raise ValueError(
                f"choose the layers that train in one way. Received: {' and '.join(ways)}. Keep one of them."
            )
        return self

    @model_validator(mode="after")
    def _check_rank(self):
        for name in ("lora_alpha", "lora_layers", "lora_dropout", "lora_rank_stabilized", "quantize"):
            if getattr(self, name) and self.lora_rank is None:
                raise ValueError(
                    f"{name} needs lora_rank. Received: {shown(getattr(self, name))}. Set fine_tune.lora_rank."
                )
        return self
