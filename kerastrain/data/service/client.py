"""Receives decoded images from decoding workers, batch by batch, in the order of the steps.

Takes the addresses of workers and what to read; returns a function from a step to its images. Step s is read by worker s modulo
their number, and every batch carries its step, so that the order does not depend on which worker is faster. Must not know targets
or augmentation.
"""

import atexit
import socket
import threading
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from kerastrain.data.service import orders
from kerastrain.errors import InputError
from kerastrain.keras_internals import python_operations

_AHEAD = 4  # Batches of each worker that are asked for before they are needed.
_CALLS = 8  # Batches that a worker decodes at a time, at most one on each of its processors.
_ALIVE_SECONDS = 2.0  # How long a batch is waited for before the worker is looked for.
_CONNECT_SECONDS = 5.0

Positions = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]
"""From a step, int64 scalar tensor, to its epoch and the first position and the one after the last in it."""


class Images:
    """The images of each step, read by decoding workers.

    Args:
        addresses: sequence of str "host:port", of the workers.
        order: orders.Order, which all workers get.
        positions: Positions.
        steps: int > 0, the number of steps.

    Raises:
        InputError: an address is malformed, or nothing answers there.
    """

    def __init__(self, addresses: Sequence[str], order: orders.Order, positions: Positions, steps: int):
        for address in addresses:
            _check(address)
        content = orders.packed(order)
        count = len(addresses)
        self._streams = [
            _Stream(
                address,
                count,
                lambda first, address=address: _dataset(address, content, positions, first, steps, count),
            )
            for address in addresses
        ]

    def __call__(self, step: int) -> np.ndarray:
        """Waits for the images of a step.

        Args:
            step: int in [0, steps).

        Returns:
            uint8 array (b, height, width, 3) in [0, 255].

        Raises:
            InputError: the worker cannot read a file, or it no longer answers.
        """
        return self._streams[step % len(self._streams)].wait_for(step)


class _Stream:
    """The batches of one worker, received in a thread of their own."""

    def __init__(self, address: str, stride: int, make: Callable[[int], tf.data.Dataset]):
        self.address, self.stride, self.make = address, stride, make
        self.changed = threading.Condition()
        self.ready: dict[int, np.ndarray] = {}
        self.following: int | None = None  # The step that the thread receives next.
        self.wanted = 0  # The last step that was asked for.
        self.number = 0  # Of the thread; those before it stop.
        self.error: Exception | None = None
        atexit.register(self.stop)

    def stop(self) -> None:
        """Makes the thread end after its current batch."""
        with self.changed:
            self.number += 1
            self.changed.notify_all()

    def wait_for(self, step: int) -> np.ndarray:
        """Returns the images of a step, and starts again where the steps do not follow each other, as in another pass."""
        window = _AHEAD * self.stride
        with self.changed:
            if step not in self.ready and (self.following is None or step > self.following + 2 * window):
                self._start(step)
            for old in [number for number in self.ready if number < step - window]:
                del self.ready[old]  # of a pass that was given up
            while step not in self.ready:
                if self.error is not None:
                    raise self.error
                if step < self.following:  # It was received for another pass, or dropped.
                    self._start(step)
                if self.wanted < step <= self.following + 2 * window:
                    self.wanted = step
                self.changed.notify_all()
                if not self.changed.wait(_ALIVE_SECONDS):
                    _check(self.address, "was lost")
            self.wanted = max(self.wanted, step)
            self.changed.notify_all()
            return self.ready.pop(step)

    def _start(self, step: int) -> None:
        self.number += 1
        self.ready.clear()
        self.following, self.wanted, self.error = step, step, None
        threading.Thread(target=self._receive, args=(self.number, step), daemon=True).start()

    def _receive(self, number: int, first: int) -> None:
        try:
            for step, images in self.make(first):
                received = int(step), images.numpy()
                with self.changed:
                    self.changed.wait_for(
                        lambda: self.number != number or self.following <= self.wanted + _AHEAD * self.stride
                    )
                    if self.number != number:
                        return
                    self.ready[received[0]] = received[1]
                    self.following = received[0] + self.stride
                    self.changed.notify_all()
        except tf.errors.OpError as error:
            with self.changed:
                if self.number == number:
                    self.error = InputError(
                        f"the decoding worker {self.address} cannot read: {_cause(error)}. Files must be there under the same "
                        "path, and the worker must have the same version of kerastrain."
                    )
                    self.changed.notify_all()


def _dataset(address: str, content: bytes, positions: Positions, first: int, steps: int, count: int) -> tf.data.Dataset:
    """The steps of one worker from `first` on, each with its images."""
    digest = orders.digest(content)

    def read(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return step, python_operations.call(
            orders.READ, [tf.constant(digest), tf.constant(content), *positions(step)], tf.uint8
        )

    service = tf.data.experimental.service
    dataset = tf.data.Dataset.range(first, steps, count).map(read, num_parallel_calls=_CALLS, deterministic=True)
    return dataset.apply(
        service.distribute(processing_mode=service.ShardingPolicy.OFF, service=f"grpc://{address}", compression=None)
    )


def _check(address: str, what: str = "is missing") -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InputError(f"`service` must name decoding workers as HOST:PORT. Received: {address!r}.")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"the decoding worker {address} {what}: {error}. Start it there with `kerastrain data-worker --port {port}`, and "
            "resume the run."
        ) from None


def _cause(error: tf.errors.OpError) -> str:
    """The error of the worker without TensorFlow's traceback."""
    lines = [line.strip() for line in error.message.splitlines() if line.strip()]
    named = [line for line in lines if "Error: " in line or "Fault: " in line]
    return (named or lines or ["unknown error"])[0].rstrip(".")
