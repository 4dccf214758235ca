"""The worker processes of one training, as the environment describes them.

Takes environment variables: TF_CONFIG, which Kubeflow's TFJob and `kerastrain launch` set, or those of a SLURM step.
Returns a `Cluster`, or raises an error that names the faulty variable. Must not start TensorFlow's servers.

References: https://www.tensorflow.org/guide/distributed_training#TF_CONFIG,
https://www.kubeflow.org/docs/components/training/tensorflow/.
"""

import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

from kerastrain.errors import InputError, is_whole_number

_POLL_SECONDS = 0.2
_SLURM_PORT = 8888
_SHAPE = '{"cluster": {"worker": ["host:port", …]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Cluster:
    """All workers of a training, and the index of this process among them.

    Args:
        addresses: tuple of str, "host:port" of every worker, the same in all workers. A `chief` comes first.
        index: int >= 0, the position of this process in `addresses`; 0 is the chief, which writes the files.
    """

    addresses: tuple[str, ...]
    index: int

    @property
    def is_chief(self) -> bool:
        """Whether this process writes checkpoints, logs and exports."""
        return self.index == 0

    def tf_config(self) -> str:
        """The cluster as a value of TF_CONFIG, with all processes of type "worker"."""
        task = {"type": "worker", "index": self.index}
        return json.dumps({"cluster": {"worker": list(self.addresses)}, "task": task})


def from_environment(environment: Mapping[str, str] = os.environ) -> Cluster | None:
    """The cluster that this process is a worker of.

    Args:
        environment: mapping from str to str, such as `os.environ`. TF_CONFIG takes precedence over SLURM's variables.

    Returns:
        Cluster of at least two workers; None if this process is the only one.

    Raises:
        InputError: TF_CONFIG is not JSON, has no workers, has an address without a port, or its task is not one of its
            workers; or SLURM's variables contradict each other.
    """
    if environment.get("TF_CONFIG", "").strip():
        cluster = _from_tf_config(environment["TF_CONFIG"])
    elif _slurm_tasks(environment) > 1:
        cluster = _from_slurm()
    else:
        return None
    return cluster if len(cluster.addresses) > 1 else None


def _slurm_tasks(environment: Mapping[str, str]) -> int:
    text = environment.get("SLURM_STEP_NUM_TASKS", "1")
    if not text.isdecimal():
        raise InputError(
            f"SLURM_STEP_NUM_TASKS must be a whole number. Received: {text!r}. Start the training by `srun`, or unset it."
        )
    return int(text)


def wait_for_workers(cluster: Cluster, *, timeout_seconds: float = 60.0) -> None:
    """Waits until every worker of `cluster` can be reached; raises an error that names those that cannot.

    TensorFlow itself would wait for a missing worker without any message. Each worker listens on its own port until it has
    reached all others; then TensorFlow takes over the port.

    Args:
        cluster: Cluster.
        timeout_seconds: float > 0, the longest wait for the last worker.

    Raises:
        InputError: this worker cannot listen at its address, or another worker was not reached in time.
    """
    deadline = time.monotonic() + timeout_seconds
    with _listening(cluster):
        missing = [index for index in range(len(cluster.addresses)) if index != cluster.index]
        while missing:
            missing = [index for index in missing if not _reachable(cluster.addresses[index])]
            if missing and time.monotonic() > deadline:
                names = ", ".join(f"worker {index} at {cluster.addresses[index]}" for index in missing)
                raise InputError(
                    f"worker {cluster.index} could not reach {names} within {timeout_seconds:g} seconds. Check that all "
                    f"workers were started, that their TF_CONFIG differs only in the index, and that no firewall blocks "
                    f"the ports."
                )
            if missing:
                time.sleep(_POLL_SECONDS)


def _listening(cluster: Cluster) -> socket.socket:
    address = cluster.addresses[cluster.index]
    port = int(address.rpartition(":")[2])
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("", port))
        listener.listen(len(cluster.addresses))
    except OSError as error:
        listener.close()
        raise InputError(
            f"worker {cluster.index} could not listen at {address}: {error.strerror}. Set another port in TF_CONFIG."
        ) from error
    return listener


def _reachable(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=1.0).close()
    except OSError:
        return False
    return True


def _from_tf_config(text: str) -> Cluster:
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"TF_CONFIG must be JSON such as {_SHAPE}. Received: {text!r} ({error}).") from error
    jobs = config.get("cluster") if isinstance(config, dict) else None
    task = config.get("task") if isinstance(config, dict) else None
    if not isinstance(jobs, dict) or not isinstance(task, dict):
        raise InputError(f"TF_CONFIG must have the keys `cluster` and `task`, as in {_SHAPE}. Received: {text!r}.")
    others = sorted(set(jobs) - {"chief", "worker"})
    if others:
        raise InputError(
            f"TF_CONFIG may contain only the jobs `chief` and `worker`. Received: {', '.join(others)}. Parameter servers "
            f"and evaluators are not supported: start every process as a worker."
        )
    addresses = [address for job in ("chief", "worker") for address in _addresses(jobs.get(job, []), job)]
    return Cluster(tuple(addresses), _place(jobs, task))


def _addresses(addresses: object, job: str) -> list[str]:
    if not isinstance(addresses, list):
        raise InputError(f"`cluster.{job}` of TF_CONFIG must be a list of 'host:port'. Received: {addresses!r}.")
    for address in addresses:
        host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise InputError(f"`cluster.{job}` of TF_CONFIG must be a list of 'host:port'. Received: {address!r}.")
    return addresses


def _place(jobs: dict, task: dict) -> int:
    job, index = task.get("type"), task.get("index", 0)
    count = len(jobs.get(job, [])) if isinstance(job, str) else 0
    if not is_whole_number(index) or not 0 <= index < count:
        sizes = ", ".join(f"{len(addresses)} of type {name!r}" for name, addresses in jobs.items())
        raise InputError(
            f"`task` of TF_CONFIG must be one of its workers. Received: type {job!r}, index {index!r}; the cluster has "
            f"{sizes or 'none'}, counted from 0."
        )
    return index + (len(jobs.get("chief", [])) if job == "worker" else 0)


def _from_slurm() -> Cluster:
    from kerastrain.keras_internals import slurm  # Imports TensorFlow, which `launch` does not need.

    try:
        tasks = slurm.tasks_per_host(int(os.environ["SLURM_STEP_NUM_TASKS"]))
        index = int(os.environ["SLURM_PROCID"])
        hosts = [host for host, count in tasks.items() for _ in range(count)]
        addresses = [f"{host}:{_SLURM_PORT + offset}" for host, count in tasks.items() for offset in range(count)]
        host = os.environ.get("SLURMD_NODENAME", hosts[index])
        if host != hosts[index]:
            raise ValueError(f"task {index} runs on {host}, but by blocks it would run on {hosts[index]}; try -m block")
        return Cluster(tuple(addresses), index)
    except (RuntimeError, ValueError, LookupError) as error:
        raise InputError(
            f"SLURM_STEP_NUM_TASKS is above 1, but the other variables of the step do not describe that many workers: "
            f"{error}. Start the training by `srun`, or set TF_CONFIG."
        ) from error
