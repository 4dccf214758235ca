"""Launcher of one training's worker processes on this machine: starts, monitors, stops and restarts them together.

Takes a command line; returns its exit code. The command must make the strategy "multi_worker" and resume from its newest
checkpoint, if there is one. Must not import TensorFlow, and must not know what the command does.

Where the environment already describes a cluster, by TF_CONFIG or SLURM's variables, the command runs once, as the worker
that this process is, so the same command line works there.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager

from kerastrain.distribute import cluster as clusters
from kerastrain.errors import InputError
from kerastrain.system import signals

INPUT_ERROR = 2
_POLL_SECONDS = 0.1


def launch(
    command: Sequence[str],
    *,
    workers: int,
    restarts: int = 3,
    gpus_per_worker: int | None = None,
    stop_seconds: float = 10.0,
    say: Callable[[str], None] = print,
    environment: Mapping[str, str] = os.environ,
) -> int:
    """Runs `command` in `workers` processes on this machine until all have succeeded.

    When one worker fails, all are stopped and started again with the same command, at most `restarts` times. Exit code 2
    means invalid input and is not retried.

    Args:
        command: list of str, the program and its arguments.
        workers: int >= 1, the number of processes; each gets TF_CONFIG with free ports of 127.0.0.1.
        restarts: int >= 0, how often all workers may be restarted.
        gpus_per_worker: int >= 1, the GPUs that each worker sees, by CUDA_VISIBLE_DEVICES; None to leave it unchanged.
        stop_seconds: float >= 0, the time between SIGTERM and SIGKILL for the workers that are stopped.
        say: callable that takes a str: each line of a worker as "[1] line", and a message about each restart.
        environment: mapping from str to str, the environment of the workers.

    Returns:
        int, 0 if all workers of the last attempt exited with 0; otherwise the exit code of the first that failed, or
        128 + the signal that ended it. After SIGINT or SIGTERM to this process, 128 + that signal, or 75 if every worker
        saved its state in response (see `kerastrain.system.signals`).

    Raises:
        InputError: a number is out of range, or the environment describes an invalid cluster.
        FileNotFoundError: there is no such program.
    """
    _check(command, workers=workers, restarts=restarts, gpus_per_worker=gpus_per_worker)
    if clusters.from_environment(environment) is not None:
        workers, restarts = 1, 0
        environments = [dict(environment)]
    with _stopping_signals() as received:
        for attempt in range(restarts + 1):
            if clusters.from_environment(environment) is None:
                environments = _environments(environment, workers, gpus_per_worker)
            code, codes = _run(command, environments, stop_seconds, say, received)
            if code in (0, INPUT_ERROR) or received or attempt == restarts:
                break
            say(f"a worker exited with {code}; restart {attempt + 1} of {restarts}")
    if received:
        return signals.EXIT_CODE if set(codes) == {signals.EXIT_CODE} else 128 + received[0]
    return code


def _run(command, environments, stop_seconds: float, say, received: list[int]) -> tuple[int, list[int]]:
    """Runs all workers once; returns the exit code of the attempt, and the exit code of each worker."""
    processes, readers = [], []
    try:
        for index, environment in enumerate(environments):
            process = subprocess.Popen(
                command,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # A process group per worker, so that its child processes are stopped too.
            )
            processes.append(process)
            readers.append(threading.Thread(target=_forward_output, args=(process, index, say), daemon=True))
            readers[-1].start()
        code = _first_failure(processes, received)
    finally:
        _stop(processes, stop_seconds)
        for reader in readers:
            reader.join(timeout=stop_seconds)
    return code, [process.returncode for process in processes]


def _first_failure(processes: list[subprocess.Popen], received: list[int]) -> int:
    while not received:
        codes = [process.poll() for process in processes]
        failed = [code for code in codes if code]
        if failed:
            return failed[0] if failed[0] > 0 else 128 - failed[0]
        if None not in codes:
            return 0
        time.sleep(_POLL_SECONDS)
    return 128 + received[0]


def _stop(processes: list[subprocess.Popen], stop_seconds: float) -> None:
    deadline = time.monotonic() + stop_seconds
    for process in processes:
        if process.poll() is None:
            _signal_group(process, signal.SIGTERM)
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _signal_group(process, signal.SIGKILL)
            process.wait()


def _signal_group(process: subprocess.Popen, number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return  # It has ended in the meantime.


def _forward_output(process: subprocess.Popen, index: int, say) -> None:
    for line in process.stdout:
        say(f"[{index}] {line.rstrip()}")


def _environments(environment: Mapping[str, str], workers: int, gpus_per_worker: int | None) -> list[dict[str, str]]:
    addresses = _free_addresses(workers)
    environments = []
    for index in range(workers):
        tf_config = clusters.Cluster(addresses, index).tf_config()
        environments.append({**environment, "TF_CONFIG": tf_config, "PYTHONUNBUFFERED": "1"})
        if gpus_per_worker is not None:
            first = index * gpus_per_worker
            gpus = map(str, range(first, first + gpus_per_worker))
            environments[-1]["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    return environments


def _free_addresses(count: int) -> tuple[str, ...]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return tuple(f"127.0.0.1:{port}" for port in ports)


@contextmanager
def _stopping_signals():
    """Yields a list to which each SIGINT or SIGTERM appends its number; does nothing outside the main thread."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {
        number: signal.signal(number, lambda number, frame: received.append(int(number)))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check(command, *, workers: int, restarts: int, gpus_per_worker: int | None) -> None:
    if isinstance(command, str) or not command:
        raise InputError(
            f"`command` must be a list of a program and its arguments. Received: {command!r}. For this Python: "
            f"[{sys.executable!r}, 'train.py']."
        )
    for name, number, least in (("workers", workers, 1), ("restarts", restarts, 0)):
        if number < least:
            raise InputError(f"`{name}` must be at least {least}. Received: {number}.")
    if gpus_per_worker is not None and gpus_per_worker < 1:
        raise InputError(f"`gpus_per_worker` must be at least 1. Received: {gpus_per_worker}.")
