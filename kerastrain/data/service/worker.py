"""The process that reads and decodes images for a training on this machine or another.

Takes ports; serves until it is stopped. It runs the graphs that it is sent and reads the files that they name: TensorFlow's
service has neither passwords nor encryption, and listens on every network interface.
"""

import os
import socket
import threading

import numpy as np
import tensorflow as tf

from kerastrain.data import pipeline
from kerastrain.data.examples import Examples
from kerastrain.data.service import orders
from kerastrain.errors import InputError
from kerastrain.keras_internals import python_operations

_opened: dict[bytes, tuple] = {}  # The store and the order of the epochs by digest, of the latest trainings.
_opening = threading.Lock()  # Several threads read.
_MOST_ORDERS = 4


def read(digest: bytes, content: bytes, epoch: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Reads the images at some positions of an epoch.

    Args:
        digest: bytes, of `content`.
        content: bytes of a packed Order.
        epoch: int64 scalar array.
        first: int64 scalar array, the first position.
        last: int64 scalar array, the position after the last.

    Returns:
        uint8 array (last - first, height, width, 3) in [0, 255].
    """
    with _opening:
        if digest not in _opened:
            while len(_opened) >= _MOST_ORDERS:
                _opened.pop(next(iter(_opened)))
            _opened[digest] = _open(content)
        store, indices_of = _opened[digest]
    return store[indices_of(int(epoch))[int(first) : int(last)]]


def _open(content: bytes) -> tuple:
    order = orders.unpacked(content)
    targets = np.zeros(len(order.store), np.int64) if order.targets is None else order.targets
    examples = Examples(targets, tuple(map(str, range(int(targets.max()) + 1))), order.store)
    return order.store, pipeline.order_of_epochs(examples, order.batch_size, **order.options, lengths=None)


def start(port: int, host: str) -> tuple[object, object]:
    """Starts the service in this process.

    Args:
        port: int in [1, 65534], the port of its dispatcher; that of its worker is the next one.
        host: str, the name by which trainings reach this machine.

    Returns:
        tuple of the tf.data.experimental.service.DispatchServer and WorkerServer, which serve while they exist.

    Raises:
        InputError: a port cannot be used, or the host is no name.
    """
    if not host or any(character in ":/" or character.isspace() for character in host):
        raise InputError(f"`host` must be a name or an IPv4 address without a port. Received: {host!r}.")
    service = tf.data.experimental.service
    try:
        for number in (port, port + 1):
            # TensorFlow shares a port with another process, and does not fail.
            socket.create_server(("", number)).close()
        dispatcher = service.DispatchServer(service.DispatcherConfig(port=port))
        worker = service.WorkerServer(
            service.WorkerConfig(
                dispatcher_address=f"localhost:{port}", worker_address=f"{host}:{port + 1}", port=port + 1
            )
        )
    except (OSError, tf.errors.OpError) as error:
        received = error.message.splitlines()[0] if isinstance(error, tf.errors.OpError) else os.strerror(error.errno)
        raise InputError(
            f"the ports {port} and {port + 1} must be free. Received: {received}. Choose another --port."
        ) from None
    python_operations.register(orders.READ, read)
    return dispatcher, worker
