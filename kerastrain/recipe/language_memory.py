"""The memory that the training step of a language model will take, for the first lines of `check` and `train`.

Takes a `Config` and a `DecoderNetwork`; returns numbers and lines. Must not import TensorFlow.
"""

from kerastrain.config import Config
from kerastrain.language import memory_need
from kerastrain.presets.decoders import DecoderNetwork
from kerastrain.system import resources


def lines(config: Config, network: DecoderNetwork, length: int) -> list[str]:
    """Describes the memory that a step will take.

    Args:
        config: Config.
        network: DecoderNetwork.
        length: int >= 1, tokens of a sequence.

    Returns:
        list of str, lines without line ends.
    """
    room = resources.available_bytes()
    step = need(config, network, length)
    gigabytes = [f"{value / 1e9:.1f}" for value in (step.parameters, step.gradients, step.slots, step.activations)]
    names = ("parameters", "gradients", "optimizer", "activations")
    described = ", ".join(f"{name} {value}" for name, value in zip(names, gigabytes, strict=True))
    found = [f"memory: {step.total / 1e9:.1f} GB of {room / 1e9:.1f} that are free for a step ({described})"]
    if step.total > 0.8 * room and not config.memory.is_spared:
        spared = config.model_copy(update={"memory": config.memory.model_copy(update={"remat_blocks": "auto"})})
        found.append(f"memory: with memory.remat_blocks=auto {need(spared, network, length).total / 1e9:.1f} GB")
    return found


def need(config: Config, network: DecoderNetwork, length: int) -> memory_need.MemoryNeed:
    """The memory of a step of a config.

    Args:
        config: Config.
        network: DecoderNetwork.
        length: int >= 1, tokens of a sequence.

    Returns:
        MemoryNeed.
    """
    rank, quantize = config.fine_tune.lora_rank, config.fine_tune.quantize
    trained = memory_need.trained_count(network, lora_rank=rank, last=config.fine_tune.last)
    parts = config.memory.micro_batches
    return memory_need.need(
        network,
        tokens=length,
        batch_size=config.fit.global_batch_size * (2 if config.fit.objective == "dpo" else 1),  # Pairs have two.
        trained=trained,
        slots=memory_need.SLOTS[config.optimizer.name],
        micro_batches=1 if parts == "auto" else parts,
        is_rematerialized=config.memory.remat_blocks is not None,
        compute_bytes=4 if config.runtime.precision in ("float32", "measure") else 2,
        kernel_bytes={None: 4, "int8": 1, "int4": 0.5}[quantize],
        lora_rank=rank,
    )
