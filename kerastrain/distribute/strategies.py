"""The one `tf.distribute.Strategy` of a process, chosen by name or by what the machine has.

Takes a name and devices; gives a strategy under which plain `keras.Model`s train as on one device. Must not know of
models or data. What Keras gets wrong under a strategy is mended when one of several devices is made; see
`kerastrain.train_step.keras_trainer`.

The TPU strategy was never run: no TPU was at hand. `keras.distribution` (DataParallel, ModelParallel) does nothing on
TensorFlow, without a word; `refuse_keras_distribution` finds it.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from kerastrain.distribute import cluster as clusters
from kerastrain.errors import InputError, unknown
from kerastrain.system import malloc

logger = logging.getLogger("kerastrain")

_made: dict[str, object] = {}


@dataclass(frozen=True)
class Choice:
    """What "auto" would take on this machine.

    Args:
        name: str, a key of `STRATEGIES`.
        reason: str, one clause that says why.
        devices: tuple of str, the devices of this process that would train.
    """

    name: str
    reason: str
    devices: tuple[str, ...]


def choose(environment: Mapping[str, str] = os.environ) -> Choice:
    """The strategy for what this machine and its environment have.

    Raises:
        InputError: the environment describes a cluster wrongly.
    """
    cluster = clusters.from_environment(environment)
    gpus = _gpus()
    if cluster is not None:
        count = len(cluster.addresses)
        return Choice("multi_worker", f"this process is worker {cluster.index} of {count}", gpus or ("CPU:0",))
    if _has_tpu(environment):
        return Choice("tpu", "the environment names a TPU", ())
    if len(gpus) > 1:
        return Choice("mirrored", f"the machine has {len(gpus)} GPUs", gpus)
    reason = "the machine has one GPU" if gpus else "the machine has no GPU, and one CPU device uses all cores"
    return Choice("none", reason, gpus or ("CPU:0",))


def make(
    name: str = "auto",
    *,
    devices: Sequence[str] | int | None = None,
    all_reduce: str = "auto",
    timeout_seconds: float = 60.0,
) -> tf.distribute.Strategy:
    """The strategy of that name; make models, optimizers and metrics under its `scope()`.

    A process has one strategy of several devices: asked again, the same comes back. Make "multi_worker" before anything else of
    TensorFlow, for its servers start with the process.

    Args:
        name: "none" (one device), "mirrored" (all devices of this machine), "multi_worker" (all processes that
            TF_CONFIG or SLURM name), "tpu", or "auto" for `choose().name`.
        devices: list of str such as ["GPU:0", "GPU:1"], or how many, for "mirrored" only; None for all GPUs, or all
            logical CPUs. On a machine without a GPU a number divides the CPU, to try what several devices would do;
            that must come before anything else of TensorFlow.
        all_reduce: how gradients are added up. "mirrored" takes "nccl", "hierarchical_copy" or "one_device",
            "multi_worker" takes "nccl" or "ring"; "auto" is NCCL for GPUs alone, and else what works on all devices.
        timeout_seconds: float > 0, how long a worker waits for the others to start.

    Returns:
        tf.distribute.Strategy.

    Raises:
        InputError: an unknown name or way to reduce, a device that is not there, a second strategy that differs from
            the first, or a cluster that is described wrongly or does not come together in time.

    Example:
        >>> with make("none").scope():
        ...     model = keras.Sequential([keras.layers.Dense(1)])
    """
    if name == "auto":
        name = choose().name
    if name not in STRATEGIES:
        raise InputError(unknown("strategy", name, [*STRATEGIES, "auto"]))
    if devices is not None and name != "mirrored":
        raise InputError(f"`devices` belongs to the strategy 'mirrored'. Received: {devices} with {name!r}.")
    refuse_keras_distribution()
    if name == "none":
        return _none(devices, all_reduce, timeout_seconds)
    key = (name, tuple(devices) if isinstance(devices, Sequence) else devices, all_reduce)
    if _made.get("key", key) != key:
        raise InputError(
            f"a process has one strategy. Received: {key}, after {_made['key']}. Start another process for another."
        )
    if "strategy" not in _made:
        if not tf.config.list_physical_devices("GPU"):
            malloc.keep_freed_memory()  # before the threads that will allocate
        strategy = STRATEGIES[name](devices, all_reduce, timeout_seconds)
        if strategy.num_replicas_in_sync > 1:
            from kerastrain.train_step import keras_trainer

            keras_trainer.patch()
        _made.update(key=key, strategy=strategy)
    return _made["strategy"]


def refuse_keras_distribution() -> None:
    """Raises InputError if `keras.distribution.set_distribution` was called: on TensorFlow it does nothing."""
    distribution = keras.distribution.distribution()
    if distribution is not None:
        raise InputError(
            f"`keras.distribution` does nothing on the TensorFlow backend. Received: {type(distribution).__qualname__}. "
            f"Take `kerastrain.distribute.make('mirrored')` for data, `kerastrain.distribute.place` for a large model."
        )


def is_chief() -> bool:
    """Whether this process writes files: the only one, or worker 0 of a cluster."""
    cluster = clusters.from_environment()
    return cluster is None or cluster.is_chief


def _none(devices, all_reduce, timeout_seconds) -> tf.distribute.Strategy:
    _all_reduce("none", all_reduce, {})
    return tf.distribute.get_strategy()


def _mirrored(devices, all_reduce, timeout_seconds) -> tf.distribute.Strategy:
    if isinstance(devices, int):
        devices = _first(devices)
    wanted = tuple(devices or _gpus() or _logical("CPU"))
    everything = (*_logical("GPU"), *_logical("CPU"))
    for device in wanted:
        if device not in everything:
            raise InputError(unknown("device", device, everything))
    reduce = _all_reduce("mirrored", all_reduce, MIRRORED_ALL_REDUCE)
    if reduce is None:
        # TensorFlow's own choice for CPUs fails with steps_per_execution and in a second strategy.
        nccl = len(wanted) > 1 and all(device.startswith("GPU") for device in wanted)
        reduce = MIRRORED_ALL_REDUCE["nccl" if nccl else "hierarchical_copy"]
    return tf.distribute.MirroredStrategy(list(wanted), cross_device_ops=reduce())


def _first(count: int) -> tuple[str, ...]:
    """So many GPUs, or parts of the CPU where there is none."""
    cpus = tf.config.list_physical_devices("CPU")
    if not tf.config.list_physical_devices("GPU") and tf.config.get_logical_device_configuration(cpus[0]) is None:
        try:
            tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * count)
        except RuntimeError as error:
            raise InputError(
                "the CPU must be divided before anything else of TensorFlow runs in the process. Make the strategy right "
                "after the imports."
            ) from error
    known = _gpus() or _logical("CPU")
    if not 1 <= count <= len(known):
        raise InputError(f"`devices` must lie in [1, {len(known)}], the devices of this machine. Received: {count}.")
    return known[:count]


def _multi_worker(devices, all_reduce, timeout_seconds) -> tf.distribute.Strategy:
    cluster = clusters.from_environment()
    if cluster is None:
        raise InputError(
            "the strategy 'multi_worker' needs TF_CONFIG with two workers or more, or a SLURM step. Received: neither. "
            "Start the workers with `kerastrain launch --workers 2 …`."
        )
    implementation = _all_reduce("multi_worker", all_reduce, MULTI_WORKER_ALL_REDUCE)
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.addresses)}),
        task_type="worker",
        task_id=cluster.index,
        rpc_layer="grpc",
    )
    clusters.wait_for_workers(cluster, timeout_seconds=timeout_seconds)
    if cluster.is_chief:
        logger.warning(
            "TensorFlow's workers listen on every network interface, and their protocol asks for no password: keep "
            "strangers from their ports (%s)",
            ", ".join(cluster.addresses),
        )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(
            cluster_resolver=resolver,
            communication_options=tf.distribute.experimental.CommunicationOptions(
                implementation=implementation or tf.distribute.experimental.CommunicationImplementation.AUTO
            ),
        )
    except RuntimeError as error:
        if "program startup" not in str(error):
            raise
        raise InputError(
            "the strategy 'multi_worker' must be made before anything else of TensorFlow runs in the process. Make it "
            "right after the imports."
        ) from error


def _tpu(devices, all_reduce, timeout_seconds) -> tf.distribute.Strategy:
    _all_reduce("tpu", all_reduce, {})
    if not _has_tpu(os.environ):
        raise InputError(
            "the strategy 'tpu' needs a TPU. Received: neither TPU_NAME in the environment nor /dev/accel0. Choose "
            "'auto' for what this machine has."
        )
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=os.environ.get("TPU_NAME", "local"))
    tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
    return tf.distribute.TPUStrategy(resolver)


def _all_reduce(strategy: str, name: str, known: Mapping[str, object]) -> object | None:
    if name == "auto":
        return None
    if name not in known:
        raise InputError(unknown(f"all-reduce of strategy {strategy!r}:", name, [*known, "auto"]))
    return known[name]


def _has_tpu(environment: Mapping[str, str]) -> bool:
    return bool(environment.get("TPU_NAME")) or Path("/dev/accel0").exists()


def _gpus() -> tuple[str, ...]:
    return _logical("GPU")


def _logical(kind: str) -> tuple[str, ...]:
    if kind == "GPU" and not tf.config.list_physical_devices("GPU"):
        return ()
    return tuple(device.name.removeprefix("/device:") for device in tf.config.list_logical_devices(kind))


MIRRORED_ALL_REDUCE: dict[str, Callable[[], tf.distribute.CrossDeviceOps]] = {
    "nccl": tf.distribute.NcclAllReduce,
    "hierarchical_copy": tf.distribute.HierarchicalCopyAllReduce,
    "one_device": tf.distribute.ReductionToOneDevice,
}
MULTI_WORKER_ALL_REDUCE = {
    "nccl": tf.distribute.experimental.CommunicationImplementation.NCCL,
    "ring": tf.distribute.experimental.CommunicationImplementation.RING,
}
STRATEGIES: dict[str, Callable[..., tf.distribute.Strategy]] = {
    "none": _none,
    "mirrored": _mirrored,
    "multi_worker": _multi_worker,
    "tpu": _tpu,
}
