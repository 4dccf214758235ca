"""Receives decoded images from decoding workers, batch by batch, in the order of the steps.

Takes the addresses of workers and what to read; returns a function from a step to its images. Step s is read by worker s modulo
their number, and every batch carries its step, so that the order does not depend on which worker is faster. Must not know targets
or augmentation.
"""

import contextlib
import socket
import threading
import time
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
_ANSWER_SECONDS = 30.0  # How long a worker may take to return a number.

Positions = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]
"""From a step, int64 scalar tensor, to its epoch and the first position and the one after the last in it."""


class Images:
    """The images of each step, read by decoding workers in advance.

    Args:
        addresses: sequence of str "host:port", of the workers.
        order: orders.Order, which all workers get.
        positions: Positions.
        start_step: int in [0, steps), the step with which each pass begins.
        steps: int > 0, the number of steps.
        calls: int > 0, the number of steps that are waited for at a time.

    Raises:
        InputError: an address is malformed, or no worker answers there.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        order: orders.Order,
        positions: Positions,
        start_step: int,
        steps: int,
        calls: int,
    ):
        for address in addresses:
            _check(address)
            _ask(address)
        content = orders.packed(order)
        count = len(addresses)
        span = 2 * max(_AHEAD * count, calls)
        self._streams = [
            _Stream(
                address,
                start_step + (number - start_step) % count,
                count,
                span,
                lambda first, address=address: _dataset(address, content, positions, first, steps, count),
            )
            for number, address in enumerate(addresses)
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

    def stop(self) -> None:
        """Ends the reading in advance; a call starts it again."""
        for stream in self._streams:
            stream.stop()


class _Stream:
    """The batches of one worker, received in a thread of their own: `begin` and every `stride`-th step after it.

    Steps that are waited for at the same time, and those received ahead, are less than `span` apart; others belong to
    different passes.
    """

    def __init__(self, address: str, begin: int, stride: int, span: int, make: Callable[[int], tf.data.Dataset]):
        self.address, self.begin, self.stride, self.span, self.make = address, begin, stride, span, make
        self.changed = threading.Condition()
        self.ready: dict[int, np.ndarray] = {}
        self.following: int | None = None  # The step that the thread receives next.
        self.wanted = 0  # The last step that was asked for.
        self.number = 0  # Of the thread; those before it stop.
        self.heard = 0.0  # When the worker was last known to be alive, by `time.monotonic`.
        self.error: Exception | None = None

    def stop(self) -> None:
        """Makes the thread end after its current batch, and drops what nobody has asked for."""
        with self.changed:
            self.number += 1
            self.ready.clear()
            self.following = None
            self.changed.notify_all()

    def wait_for(self, step: int) -> np.ndarray:
        """Returns the images of a step, and starts again where the steps do not follow each other, as in another pass."""
        with self.changed:
            if step not in self.ready and (self.following is None or step > self.following + self.span):
                self._start(step)
            for old in [number for number in self.ready if number < step - self.span]:
                del self.ready[old]  # of a pass that was given up
            while step not in self.ready:
                if self.following is None or step < self.following:  # It was received for another pass, or dropped.
                    self._start(step)
                if self.error is not None:
                    raise self.error
                self._want(step)
                self.changed.wait(_ALIVE_SECONDS)
                if step not in self.ready and time.monotonic() > self.heard + _ALIVE_SECONDS:
                    self._look_for_worker()
            self._want(step)
            return self.ready.pop(step)

    def _want(self, step: int) -> None:
        # Others are told only of a change: calls that wait would wake each other without end.
        if self.wanted < step <= self.following + self.span:
            self.wanted = step
            self.changed.notify_all()

    def _look_for_worker(self) -> None:
        try:
            _check(self.address, "was lost")
        except InputError as error:
            self._fail(error)
        self.heard = time.monotonic()

    def _fail(self, error: Exception) -> None:
        self.error = error
        self.changed.notify_all()

    def _start(self, step: int) -> None:
        first = self.begin if step < self.begin + self.span else step  # The first calls of a pass come in any order.
        self.number += 1
        self.ready.clear()
        self.following, self.wanted, self.error, self.heard = first, step, None, time.monotonic()
        threading.Thread(target=self._receive, args=(self.number, first), daemon=True).start()

    def _receive(self, number: int, first: int) -> None:
        error = InputError(f"the decoding worker {self.address} sent too few images. Resume the run.")
        try:
            for step, images in self.make(first):
                if not self._keep(number, int(step), images.numpy()):
                    return
        except tf.errors.OpError as failure:
            error = InputError(
                f"the decoding worker {self.address} cannot read: {_cause(failure)}. Files must be there under the same path."
            )
        except Exception as failure:  # Whatever ends this thread must end those that wait for it.
            error = failure
        with self.changed:
            if self.number == number:
                self._fail(error)  # After the last step nobody waits, and another pass starts again.

    def _keep(self, number: int, step: int, images: np.ndarray) -> bool:
        """Keeps images until they are asked for; False if the thread of this number shall end."""
        with self.changed:
            self.changed.wait_for(lambda: self.number != number or step <= self.wanted + _AHEAD * self.stride)
            if self.number == number:
                self.ready[step] = images
                self.following, self.heard = step + self.stride, time.monotonic()
                self.changed.notify_all()
            return self.number == number


def _dataset(address: str, content: bytes, positions: Positions, first: int, steps: int, count: int) -> tf.data.Dataset:
    """The steps of one worker from `first` on, each with its images."""
    digest = orders.digest(content)

    def read(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return step, python_operations.call(
            orders.READ, [tf.constant(digest), tf.constant(content), *positions(step)], tf.uint8
        )

    steps_of_worker = tf.data.Dataset.range(first, steps, count)
    return _computed_at(address, steps_of_worker.map(read, num_parallel_calls=_CALLS, deterministic=True))


def _computed_at(address: str, dataset: tf.data.Dataset) -> tf.data.Dataset:
    service = tf.data.experimental.service
    return dataset.apply(
        service.distribute(processing_mode=service.ShardingPolicy.OFF, service=f"grpc://{address}", compression=None)
    )


def _ask(address: str) -> None:
    """Lets a worker return a number: TensorFlow waits without end for one that gave a name which leads nowhere."""
    answered = threading.Event()

    def ask() -> None:
        with contextlib.suppress(tf.errors.OpError):
            next(iter(_computed_at(address, tf.data.Dataset.range(1))))
            answered.set()

    threading.Thread(target=ask, daemon=True).start()
    if not answered.wait(_ANSWER_SECONDS):
        host, _, port = address.rpartition(":")
        raise InputError(
            f"the decoding worker {address} must be reached by the name of its --host. Received: no answer within "
            f"{_ANSWER_SECONDS:.0f} seconds. Start it there with `kerastrain data-worker --port {port} --host {host}`, and open "
            f"the port {int(port) + 1}, too."
        )


def _check(address: str, what: str = "is missing") -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InputError(f"`service` must name decoding workers as HOST:PORT. Received: {address!r}.")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"the decoding worker {address} {what}: {error}. Start it there with `kerastrain data-worker --port {port} --host "
            f"{host}`, and resume the run."
        ) from None


def _cause(error: tf.errors.OpError) -> str:
    """The error of the worker without TensorFlow's traceback."""
    lines = [line.strip() for line in error.message.splitlines() if line.strip()]
    named = [line for line in lines if "Error: " in line or "Fault: " in line]
    return (named or lines or ["unknown error"])[0].rstrip(".")
