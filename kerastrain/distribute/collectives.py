"""What the workers of one training tell each other between its steps: numbers, states, and that all have come so far.

Takes a strategy and values of this worker; gives those of all. With one worker nothing is sent. Every worker must call the
same functions in the same order, as all of them do who take the same steps. Must not know what the values mean.
"""

import contextlib
import weakref
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from kerastrain.system import signals

_LOST = (tf.errors.UnavailableError, tf.errors.DeadlineExceededError, tf.errors.AbortedError)

_functions: "weakref.WeakKeyDictionary[tf.distribute.Strategy, Callable]" = weakref.WeakKeyDictionary()


class WorkerLost(SystemExit):
    """Another worker of the training has ended or cannot be reached; call this one again with all others.

    Args:
        index: int, this worker.
        reason: str, what TensorFlow says.
    """

    def __init__(self, index: int, reason: str):
        super().__init__(signals.EXIT_CODE)
        self.index, self.reason = index, reason

    def __str__(self) -> str:
        return (
            f"worker {self.index} has lost another one and ends: {self.reason} Start all workers again with --resume; they "
            "go on from the last saved state."
        )


@contextlib.contextmanager
def exit_on_lost_worker(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """A block that all workers run; the death of another one ends it by `WorkerLost` in place of a long traceback."""
    try:
        yield
    except _LOST as error:
        if worker_count(strategy) == 1:
            raise
        reason = error.message.strip().splitlines()[0].rpartition("aborted by: ")[2]
        raise WorkerLost(worker_index(strategy), f"{reason.rstrip('.'):.200}.") from error


def worker_count(strategy: tf.distribute.Strategy) -> int:
    """The processes that train together under `strategy`."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 1
    return max(1, len(strategy.cluster_resolver.cluster_spec().as_dict().get("worker", [])))


def worker_index(strategy: tf.distribute.Strategy) -> int:
    """Which of them this process is, from 0."""
    return strategy.cluster_resolver.task_id if worker_count(strategy) > 1 else 0


def barrier(strategy: tf.distribute.Strategy) -> None:
    """Returns when every worker has called it."""
    all_reduce_max(strategy, [0])


def all_reduce_max(strategy: tf.distribute.Strategy, numbers: Sequence[int]) -> list[int]:
    """For each of some numbers the largest that any worker has given.

    Args:
        strategy: tf.distribute.Strategy.
        numbers: sequence of int, as many in every worker.

    Example:
        >>> largest(tf.distribute.get_strategy(), [3, 0])
        [3, 0]
    """
    return np.max([array for (array,) in all_gather(strategy, [np.asarray(numbers, np.int64)])], axis=0).tolist()


def all_gather(strategy: tf.distribute.Strategy, arrays: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """The arrays of every worker, in the order of the workers.

    Args:
        strategy: tf.distribute.Strategy.
        arrays: sequence of np.ndarray of any type of fixed size; shapes and types are the same in every worker.

    Returns:
        list with an entry for each worker, a list like `arrays`.
    """
    count = worker_count(strategy)
    if count == 1:
        return [list(arrays)]
    # As words of 32 bits: not every type can be sent, and none may be rounded on the way.
    content = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
    words = np.frombuffer(content + bytes(-len(content) % 4), np.int32)
    if strategy not in _functions:
        _functions[strategy] = _gather(strategy)
    sent = strategy.experimental_local_results(_functions[strategy](tf.constant(words)))[0].numpy()
    each = sent.reshape(strategy.num_replicas_in_sync, -1)[:: strategy.num_replicas_in_sync // count]
    return [_unpacked(row.tobytes(), arrays) for row in each]


def _gather(strategy: tf.distribute.Strategy) -> Callable:
    # As a weak reference, or the table would keep its own key alive.
    known = weakref.ref(strategy)

    def each(own):
        with tf.device("CPU:0"):  # TensorFlow asks a tensor where it lies
            return tf.distribute.get_replica_context().all_gather(tf.identity(own), axis=0)

    @tf.function(autograph=False)
    def gather(words):
        return known().run(each, (words,))

    return gather


def _unpacked(content: bytes, like: Sequence[np.ndarray]) -> list[np.ndarray]:
    found, place = [], 0
    for array in like:
        found.append(np.frombuffer(content, array.dtype, array.size, place).reshape(array.shape))
        place += array.nbytes
    return found
