"""What a run of a language model needs besides its data, and which commands are not for one.

Takes a `Config`; raises errors. Must not import TensorFlow.
"""

from kerastrain import presets
from kerastrain.config import Config
from kerastrain.errors import InputError, unknown
from kerastrain.presets import decoder_choices

FORMATS = ("adapter", "hugging_face", "saved_model")
"""The values of `export.formats` for language models."""

_MEMORY = "`kerastrain check` says the memory of a step of a language model"
_INSTEAD = {  # command -> what it is for, and what to do instead
    "predict": ("labels and numbers", "To write with it: `kerastrain generate RUN PROMPT`"),
    "explain": ("labels and numbers", "How well it predicts the words of texts: `kerastrain evaluate RUN FILE`"),
    "compress": (
        "models that become TFLite files",
        "Train with fine_tune.quantize=int8 to store kernels in eight bits, or export hugging_face and quantize that",
    ),
    "trust": ("runs with a Hub module", "A language model has none, and needs no trust"),
    "data check": ("labels and numbers", "What a run would skip: `kerastrain data scan`"),
    "find backbone": (
        "networks that compute features",
        "Train one run for each model.backbone and compare their perplexity",
    ),
    "find batch-size": ("networks that classify", _MEMORY),
    "find memory": ("networks that classify", _MEMORY),
}


def require(config: Config) -> None:
    """Checks what can be known about a run of a language model before its data are read and TensorFlow starts.

    Args:
        config: Config of a language model.

    Raises:
        MissingExtra: the extra `language` is not installed.
        InputError: a setting does not fit the model, or its files cannot be used.
        FileNotFoundError: the model does not exist.
        ConnectionError: it must be downloaded, and there is no network.
    """
    presets.require_language()
    require_formats(config)
    from kerastrain.recipe import language_data  # imports readers of conversations, which other runs do not need

    network = language_data.source(config).network
    if config.fine_tune.lora_rank is not None:
        kernels = decoder_choices.kernels(network)
        decoder_choices.matching(kernels, config.fine_tune.lora_layers, name="fine_tune.lora_layers")
    decoder_choices.check_last(config.fine_tune.last, len(network.blocks))
    if isinstance(config.memory.remat_blocks, tuple):
        layers = decoder_choices.layers(network)
        if wrong := [name for name in config.memory.remat_blocks if name not in layers]:
            raise InputError(f"`memory.remat_blocks`: {unknown('layer', wrong[0], layers)}")


def require_formats(config: Config) -> None:
    """Checks that a language model can be exported to the formats of a config.

    Args:
        config: Config of a language model.

    Raises:
        InputError: it cannot.
    """
    formats = config.export.formats
    if wrong := [name for name in formats if name not in FORMATS]:
        raise InputError(
            f"`export.formats` of a language model must be of {', '.join(FORMATS)}. Received: {', '.join(wrong)}. Remove it."
        )
    if "adapter" in formats and config.fine_tune.lora_rank is None:
        raise InputError(
            "`export.formats`: an adapter is what LoRA trains. Received: adapter, without fine_tune.lora_rank. Set it, or use "
            "hugging_face."
        )


def refuse(config: Config, command: str) -> None:
    """Refuses a command that a language model has no use for.

    Args:
        config: Config, of any run.
        command: str, one of those that are only for networks that classify, such as "predict" or "find memory".

    Raises:
        InputError: the config is of a language model.
    """
    if config.is_language:
        purpose, advice = _INSTEAD[command]
        raise InputError(
            f"{command} is for {purpose}. Received: data.kind={config.data.kind}, a language model, which writes text. {advice}."
        )
