"""The role of this process in a search over several machines, as keras-tuner's environment variables describe it.

Takes KERASTUNER_TUNER_ID, KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT; returns a `Role`, or raises an error that names the
faulty variable. The process whose id contains "chief" owns the search and serves it; all others train its trials. Must not
import TensorFlow, nor keras-tuner, which imports it.

Reference: https://keras.io/keras_tuner/guides/distributed_tuning/.
"""

import contextlib
import errno
import os
import re
import socket
import time
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from kerastrain.errors import InputError

ID, IP, PORT = "KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT"
WAIT_SECONDS = 600.0
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Role:
    """What this process does in a search over several machines.

    Args:
        name: str, its id, different in every process; the chief's contains "chief".
        address: str, the IP address or host name at which the chief listens.
        port: int in [1, 65535].
    """

    name: str
    address: str
    port: int

    @property
    def is_chief(self) -> bool:
        """Whether this process owns the search, by keras-tuner's own rule."""
        return "chief" in self.name

    def worker_ids(self, workers: int) -> tuple[str, ...]:
        """The ids of the workers of this machine.

        Args:
            workers: int >= 1, how many trials it trains at the same time.

        Returns:
            tuple of str, "ID.0", "ID.1", ….
        """
        return tuple(f"{self.name}.{number}" for number in range(workers))


def from_environment(environment: Mapping[str, str] = os.environ) -> Role | None:
    """The role that keras-tuner's variables give to this process.

    Args:
        environment: mapping from str to str, such as `os.environ`.

    Returns:
        Role; None if none of the three variables is set, so that the search runs on this machine alone.

    Raises:
        InputError: some of the variables are missing, the port is not a port, or the id cannot be a file's name.
    """
    values = {name: environment.get(name, "").strip() for name in (ID, IP, PORT)}
    missing = [name for name, value in values.items() if not value]
    if len(missing) == 3:
        return None
    if missing:
        given = ", ".join(f"{name}={value}" for name, value in values.items() if value)
        raise InputError(
            f"a search over several machines needs {ID}, {IP} and {PORT} in every process. Received: {given}. Set "
            f"{' and '.join(missing)}, or unset the others to search on this machine alone."
        )
    if not (values[PORT].isdecimal() and 1 <= int(values[PORT]) <= 65535):
        raise InputError(
            f"{PORT} must be a number from 1 to 65535. Received: {values[PORT]!r}. Choose a free port of the chief's "
            "machine, the same in every process."
        )
    if not re.fullmatch(r"[\w.-]*\w[\w.-]*", values[ID]):
        raise InputError(
            f"{ID} must be made of letters, digits, '_', '-' and '.'. Received: {values[ID]!r}. Use chief for the process "
            "that owns the search, and tuner0, tuner1, … for the others."
        )
    return Role(values[ID], values[IP], int(values[PORT]))


def leave_training_cluster(environment: MutableMapping[str, str] = os.environ) -> None:
    """Takes out of the environment what would make the processes of a search one training of several workers.

    SLURM and Kubeflow describe all processes of a job to each of them. In a search, each trains trials of its own.

    Args:
        environment: mapping of str, such as `os.environ`; changed.
    """
    for name in ("TF_CONFIG", "SLURM_STEP_NUM_TASKS"):
        environment.pop(name, None)


def require(role: Role, directory: Path | None, workers: int) -> None:
    """Checks what can be known of a role before TensorFlow starts: the chief can listen, and it trains nothing.

    gRPC lets two servers share a port and divide the requests among them, so that two searches would be mixed. Hence the port
    is tried here.

    Args:
        role: Role.
        directory: Path of the folder that the process was given for the search; None if it was given none.
        workers: int >= 1, how many trials the process was asked to train at the same time.

    Raises:
        InputError: there is no folder, or the chief was given workers, or it cannot listen at its address.
    """
    if directory is None:
        raise InputError(
            f"all processes of a search over several machines share one folder. Received: {ID}={role.name} without --out. "
            "Give each of them the same --out."
        )
    if not role.is_chief:
        return
    if workers != 1:
        raise InputError(
            f"the chief of a search over several machines trains nothing. Received: --workers {workers} and {ID}={role.name}. "
            "Give --workers to the other processes, and start one more of them on this machine if it has room."
        )
    host = role.address.strip("[]")
    try:
        family, _, _, _, place = socket.getaddrinfo(host, role.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
            listener.listen()
    except OSError as error:
        advice = (
            f"Choose another {PORT}" if error.errno == errno.EADDRINUSE else f"Set {IP} to an address of this machine"
        )
        raise InputError(
            f"the chief cannot listen at {role.address}:{role.port}: {error.strerror or error}. {advice}, the same in every "
            "process."
        ) from error


def wait_for_search(role: Role, directory: Path, *, timeout_seconds: float = WAIT_SECONDS) -> None:
    """Waits until the chief has made the folder of the search, which all machines share.

    Args:
        role: Role of a worker, for the message.
        directory: Path of the search folder.
        timeout_seconds: float > 0, the longest wait.

    Raises:
        InputError: the chief has not made the folder in time.
    """
    deadline = time.monotonic() + timeout_seconds
    while not (directory / "search.yaml").is_file():
        if time.monotonic() > deadline:
            raise InputError(
                f"{role.name} waited {timeout_seconds:g} seconds for '{directory / 'search.yaml'}', which the chief writes. "
                f"Start the chief with the same --out, in a folder that all machines share."
            )
        time.sleep(_POLL_SECONDS)
        with contextlib.suppress(OSError):
            os.listdir(directory.parent)  # A network file system caches that a file is missing; this refreshes it.
