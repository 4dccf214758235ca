"""The process that reads and decodes images for a training on this machine or another.

Takes ports; serves until it is stopped. It runs the graphs that it is sent and reads the files that they name: TensorFlow's
service has neither passwords nor encryption, and listens on every network interface.
"""

import functools

import numpy as np
import tensorflow as tf

from kerastrain.data import pipeline
from kerastrain.data.examples import Examples
from kerastrain.data.service import orders
from kerastrain.errors import InputError
from kerastrain.keras_internals import python_operations

_orders: dict[bytes, bytes] = {}  # The packed order with each digest, of which only those in use are kept.
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
    if digest not in _orders:
        while len(_orders) >= _MOST_ORDERS:
            _orders.pop(next(iter(_orders)))
        _orders[digest] = content
    store, indices_of = _opened(digest)
    return store[indices_of(int(epoch))[int(first) : int(last)]]


@functools.lru_cache(maxsize=_MOST_ORDERS)
def _opened(digest: bytes):
    order = orders.unpacked(_orders[digest])
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
        InputError: a port cannot be used.
    """
    python_operations.register(orders.READ, read)
    service = tf.data.experimental.service
    try:
        dispatcher = service.DispatchServer(service.DispatcherConfig(port=port))
        worker = service.WorkerServer(
            service.WorkerConfig(
                dispatcher_address=f"localhost:{port}", worker_address=f"{host}:{port + 1}", port=port + 1
            )
        )
    except tf.errors.OpError as error:
        raise InputError(
            f"the ports {port} and {port + 1} must be free. Received: {error.message.splitlines()[0]}. Choose another --port."
        ) from None
    return dispatcher, worker
