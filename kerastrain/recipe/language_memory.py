"""The memory that the training of a language model will take, for the first lines of `check` and `train`.

Takes a `Config` and a `DecoderNetwork`; returns numbers and lines. Must not import TensorFlow.
"""

import math

from kerastrain.config import Config
from kerastrain.distribute import cluster as clusters
from kerastrain.language import memory_need
from kerastrain.presets.decoders import DecoderNetwork
from kerastrain.system import resources

_REMAT = {"memory": {"remat_blocks": "auto"}}
_SLOTS = {
    **dict.fromkeys(("adam", "adamw", "nadam", "adadelta", "adamax", "ftrl", "lamb", "muon"), 2),
    **dict.fromkeys(("adagrad", "rmsprop", "lion"), 1),
    **dict.fromkeys(("sgd", "adafactor"), 0),
    "schedule_free_adamw": 3,
}
"""Numbers that each optimizer keeps for each number that trains; adafactor's are a sum of two sides for each kernel."""


def lines(config: Config, network: DecoderNetwork, length: int) -> list[str]:
    """Describes the memory that training will take, and what would take less if it is more than there is.

    Args:
        config: Config.
        network: DecoderNetwork.
        length: int >= 1, tokens of a sequence.

    Returns:
        list of str, lines without line ends.
    """
    gpu = resources.gpu_bytes()
    room = resources.available_bytes() if gpu is None else gpu
    taken = need(config, network, length)
    parts = {"parameters": taken.parameters, "gradients": taken.gradients, "slots": taken.slots}
    parts |= {"activations": taken.activations, "TensorFlow": taken.program}
    described = ", ".join(f"{name} {_shown(size)}" for name, size in parts.items() if size)
    place = "" if gpu is None else " on the GPU"
    line = f"memory: {_shown(taken.total)} GB of {_shown(room)}{place}, at most ({described})"
    if config.memory.remat_blocks is None:
        less = need(_with(config, _REMAT), network, length).total
        if less < 0.9 * taken.total:
            line += f"; with memory.remat_blocks=auto {_shown(less)}"
    return [line] if taken.total <= room else [line, _remedy(config, network, length, room)]


def need(config: Config, network: DecoderNetwork, length: int) -> memory_need.MemoryNeed:
    """The memory of the training of a config: on each device, or where replicas share a machine's memory, of all.

    Args:
        config: Config.
        network: DecoderNetwork.
        length: int >= 1, tokens of a sequence.

    Returns:
        MemoryNeed.

    Raises:
        InputError: an expression of `fine_tune.lora_layers` is found in no path.
    """
    options, parts = config.fine_tune, config.memory.micro_batches
    is_on_gpu = resources.gpu_bytes() is not None
    replicas, here = _replicas(config, is_on_gpu)
    trained = memory_need.trained_count(
        network, lora_rank=options.lora_rank, lora_layers=options.lora_layers, last=options.last
    )
    # A pair of answers is two sequences.
    rows = math.ceil(config.fit.global_batch_size / replicas) * (2 if config.fit.objective == "dpo" else 1)
    optimizer = config.optimizer
    one = memory_need.need(
        network,
        tokens=length,
        batch_size=rows,
        trained=trained,
        slots=slots(config),
        micro_batches=1 if parts == "auto" else min(parts, rows),
        remat_blocks=_remat_blocks(config, network),
        half_precision=config.runtime.precision.startswith("mixed"),
        quantized=options.quantize,
        adapters=0 if options.lora_rank is None else trained,
        adapter_dropout=options.lora_dropout > 0,
        clips_together=optimizer.clip_norm is None and optimizer.clip_value is None,
        updates_at_once=replicas > 1,
        on_host=not is_on_gpu,
    )
    return one.times(here)


def slots(config: Config) -> int:
    """Numbers that the optimizer of a config keeps for each number that trains.

    Args:
        config: Config.

    Returns:
        int >= 0.
    """
    optimizer = config.optimizer
    arguments, count = optimizer.arguments, _SLOTS[optimizer.name]
    momentum = optimizer.momentum if optimizer.momentum is not None else arguments.get("momentum")
    count += optimizer.name in ("sgd", "rmsprop") and bool(momentum)
    count += bool(arguments.get("amsgrad")) + bool(arguments.get("centered"))
    return count + (optimizer.ema_momentum is not None)


def _replicas(config: Config, is_on_gpu: bool) -> tuple[int, int]:
    """The devices that share a batch, and how many of them share the memory of this machine."""
    cluster = clusters.from_environment()
    if cluster is not None and config.runtime.strategy in ("auto", "multi_worker"):
        return len(cluster.addresses), 1
    count = (config.runtime.devices or 1) if config.runtime.strategy == "mirrored" else 1
    return count, 1 if is_on_gpu else count


def _remat_blocks(config: Config, network: DecoderNetwork) -> int | list[int] | None:
    setting, count = config.memory.remat_blocks, len(network.blocks)
    if setting == "auto":
        return list(range(1, count + 1))
    if setting is None or isinstance(setting, int):
        return setting
    ends = {f"block_{index}": index + 1 for index in range(count)}
    return [ends[name] for name in setting if name in ends]


def _remedy(config: Config, network: DecoderNetwork, length: int, room: int) -> str:
    """What would fit, the settings that do not change the result first."""
    rows = config.fit.global_batch_size
    changes = [_REMAT, {"memory": {"remat_blocks": "auto", "micro_batches": rows}}]
    if config.fine_tune.lora_rank is None:
        changes.append({"fine_tune": {"lora_rank": 8, "last": None}})
    changes.append({"fine_tune": {"quantize": "int8"}})
    tried = {}
    for change in changes:
        for section, values in change.items():
            tried[section] = {**tried.get(section, {}), **values}
        total = need(_with(config, tried), network, length).total
        if total <= room:
            words = [
                f"{section}.{name}={value}"
                for section, values in tried.items()
                for name, value in values.items()
                if value is not None
            ]
            return f"warning: that is more than is free. It would fit with {' '.join(words)} ({_shown(total)} GB)."
    return (
        f"warning: that is more than is free, and it takes {_shown(total)} GB with rematerialization, micro-batches of one "
        "sequence, LoRA and kernels of int8. Take a smaller model, or another engine: docs/language.md, What fits where."
    )


def _with(config: Config, changes: dict[str, dict]) -> Config:
    sections = {name: getattr(config, name).model_copy(update=values) for name, values in changes.items()}
    return config.model_copy(update=sections)


def _shown(size: float) -> str:
    return f"{size / 1e9:.1f}" if size >= 1e8 else f"{size / 1e9:.2f}"
