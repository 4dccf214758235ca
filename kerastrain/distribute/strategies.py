"""The `tf.distribute.Strategy` of a process, chosen by name or by the devices of the machine.

Takes a name and devices; returns a strategy under which plain `keras.Model`s train as on one device. Must not know of
models or data. Making a strategy with several devices patches Keras's bugs under strategies; see
`kerastrain.train_step.keras_trainer`.

The TPU strategy was never run, for lack of a TPU. `keras.distribution` (DataParallel, ModelParallel) silently does nothing
on TensorFlow; `make` raises an error if it is set.
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
    """The strategy that "auto" selects on this machine.

    Args:
        name: str, a key of `STRATEGIES`.
        reason: str, a clause that says why.
        devices: tuple of str, the devices of this process that would train.
    """

    name: str
    reason: str
    devices: tuple[str, ...]


def choose(environment: Mapping[str, str] = os.environ) -> Choice:
    """Selects a strategy by the environment and the devices of this machine.

    Args:
        environment: mapping from str to str, such as `os.environ`.

    Returns:
        Choice.

    Raises:
        InputError: the environment describes an invalid cluster.
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
    """Makes the strategy of that name; create models, optimizers and metrics in its `scope()`.

    A process has one strategy with several devices: a second call returns the same object. Make "multi_worker" before any
    other TensorFlow operation, because its servers start with the process.

    Args:
        name: "none" (one device), "mirrored" (all devices of this machine), "multi_worker" (all processes that TF_CONFIG
            or SLURM name), "tpu", or "auto" for `choose().name`.
        devices: for "mirrored" only: sequence of str such as ["GPU:0", "GPU:1"], or int, the number of devices; None for
            all GPUs, or all logical CPUs. On a machine without a GPU a number splits the CPU into logical devices, to try
            several devices; that must happen before any other TensorFlow operation.
        all_reduce: how gradients are summed: "nccl", "hierarchical_copy" or "one_device" for "mirrored", "nccl" or "ring"
            for "multi_worker"; "auto" for NCCL if all devices are GPUs, otherwise an algorithm that works on all devices.
        timeout_seconds: float > 0, how long a worker waits for the others to start.

    Returns:
        tf.distribute.Strategy.

    Raises:
        InputError: the name or `all_reduce` is unknown, a device does not exist, the process already has another strategy,
            the environment describes an invalid cluster, or its workers do not start in time.

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
    _check_keras_distribution()
    if name == "none":
        return _none(devices, all_reduce, timeout_seconds)
    key = (name, tuple(devices) if isinstance(devices, Sequence) else devices, all_reduce)
    if _made.get("key", key) != key:
        raise InputError(
            f"a process has one strategy. Received: {key}, after {_made['key']}. Start another process for it."
        )
    if "strategy" not in _made:
        if not tf.config.list_physical_devices("GPU"):
            malloc.keep_freed_memory()  # before TensorFlow starts the threads that allocate
        strategy = STRATEGIES[name](devices, all_reduce, timeout_seconds)
        if strategy.num_replicas_in_sync > 1:
            from kerastrain.train_step import keras_trainer

            keras_trainer.patch()
        _made.update(key=key, strategy=strategy)
    return _made["strategy"]


def _check_keras_distribution() -> None:
    """Raises InputError if `keras.distribution.set_distribution` was called: on TensorFlow it does nothing."""
    distribution = keras.distribution.distribution()
    if distribution is not None:
        raise InputError(
            f"`keras.distribution` does nothing on the TensorFlow backend. Received: {type(distribution).__qualname__}. "
            f"Use `kerastrain.distribute.make('mirrored')` for data parallelism, `kerastrain.distribute.place` for a large "
            f"model."
        )


def is_chief() -> bool:
    """Whether this process writes files: it is the only one, or worker 0 of a cluster."""
    cluster = clusters.from_environment()
    return cluster is None or cluster.is_chief


def _none(devices, all_reduce, timeout_seconds) -> tf.distribute.Strategy:
    _all_reduce("none", all_reduce, {})
    return tf.distribute.get_strategy()


def _mirrored(devices, all_reduce, timeout_seconds) -> tf.distribute.Strategy:
    if isinstance(devices, int):
        devices = _first(devices)
    selected = tuple(devices or _gpus() or _logical("CPU"))
    available = (*_logical("GPU"), *_logical("CPU"))
    for device in selected:
        if device not in available:
            raise InputError(unknown("device", device, available))
    if all_reduce == "nccl" and not all(device.startswith("GPU") for device in selected):
        raise InputError(
            f"the all-reduce 'nccl' needs GPUs. Received: the devices {', '.join(selected)}. Use 'auto', which chooses by the "
            "devices."
        )
    reduce = _all_reduce("mirrored", all_reduce, MIRRORED_ALL_REDUCE)
    if reduce is None:
        # TensorFlow's default for CPUs fails with steps_per_execution and in a second strategy.
        nccl = len(selected) > 1 and all(device.startswith("GPU") for device in selected)
        reduce = MIRRORED_ALL_REDUCE["nccl" if nccl else "hierarchical_copy"]
    return tf.distribute.MirroredStrategy(list(selected), cross_device_ops=reduce())


def _first(count: int) -> tuple[str, ...]:
    """The first `count` GPUs; logical devices of the CPU if there is no GPU."""
    cpus = tf.config.list_physical_devices("CPU")
    if not tf.config.list_physical_devices("GPU") and tf.config.get_logical_device_configuration(cpus[0]) is None:
        try:
            tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * count)
        except RuntimeError as error:
            raise InputError(
                "the CPU must be split into logical devices before any other TensorFlow operation of the process. Make the "
                "strategy right after the imports."
            ) from error
    available = _gpus() or _logical("CPU")
    if not 1 <= count <= len(available):
        raise InputError(
            f"`devices` must lie in [1, {len(available)}], the number of devices of this machine. Received: {count}."
        )
    return available[:count]


def _multi_worker(devices, all_reduce, timeout_seconds) -> tf.distribute.Strategy:
    cluster = clusters.from_environment()
    if cluster is None:
        raise InputError(
            "the strategy 'multi_worker' needs TF_CONFIG with two workers or more, or a SLURM step. Received: neither. "
            "Start the workers by `kerastrain launch --workers 2 …`."
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
            "TensorFlow's workers listen on every network interface without authentication: block access to their ports "
            "(%s) from outside the cluster",
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
            "the strategy 'multi_worker' must be made before any other TensorFlow operation of the process. Make it right "
            "after the imports."
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
