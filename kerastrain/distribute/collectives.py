"""Communication between the workers of one training outside its steps: barriers, maxima and gathered arrays.

Takes a strategy and values of this worker; returns those of all workers. With one worker nothing is sent. Every worker must
call the same functions in the same order, which workers that take the same steps do. Must not know what the values mean.
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
    """Exit of this worker because another one has ended or cannot be reached; all workers must be started again.

    Args:
        index: int >= 0, this worker.
        reason: str, TensorFlow's error message.
    """

    def __init__(self, index: int, reason: str):
        super().__init__(signals.EXIT_CODE)
        self.index, self.reason = index, reason

    def __str__(self) -> str:
        return (
            f"worker {self.index} lost another worker and exits: {self.reason} Start all workers again with --resume; they "
            "resume from the last saved state."
        )


@contextlib.contextmanager
def exit_on_lost_worker(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Context manager for code that all workers run: the loss of another worker raises `WorkerLost`.

    Args:
        strategy: tf.distribute.Strategy of this process.

    Yields:
        None.

    Raises:
        WorkerLost: another worker has ended or cannot be reached.
    """
    try:
        yield
    except _LOST as error:
        if worker_count(strategy) == 1:
            raise
        reason = error.message.strip().splitlines()[0].rpartition("aborted by: ")[2]
        raise WorkerLost(worker_index(strategy), f"{reason.rstrip('.'):.200}.") from error


def worker_count(strategy: tf.distribute.Strategy) -> int:
    """Number of processes that train together.

    Args:
        strategy: tf.distribute.Strategy of this process.

    Returns:
        int >= 1.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 1
    return max(1, len(strategy.cluster_resolver.cluster_spec().as_dict().get("worker", [])))


def worker_index(strategy: tf.distribute.Strategy) -> int:
    """Index of this process among the workers.

    Args:
        strategy: tf.distribute.Strategy of this process.

    Returns:
        int >= 0; 0 is the chief.
    """
    return strategy.cluster_resolver.task_id if worker_count(strategy) > 1 else 0


def barrier(strategy: tf.distribute.Strategy) -> None:
    """Waits until every worker has called it.

    Args:
        strategy: tf.distribute.Strategy of this process.
    """
    all_reduce_max(strategy, [0])


def all_reduce_max(strategy: tf.distribute.Strategy, numbers: Sequence[int]) -> list[int]:
    """Elementwise maximum over all workers.

    Args:
        strategy: tf.distribute.Strategy of this process.
        numbers: sequence of int in the range of int64, of the same length in every worker.

    Returns:
        list of int, of the same length.

    Example:
        >>> all_reduce_max(tf.distribute.get_strategy(), [3, 0])
        [3, 0]
    """
    return np.max([array for (array,) in all_gather(strategy, [np.asarray(numbers, np.int64)])], axis=0).tolist()


def all_gather(strategy: tf.distribute.Strategy, arrays: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """Gathers the arrays of every worker.

    Args:
        strategy: tf.distribute.Strategy of this process.
        arrays: sequence of np.ndarray of any dtype of fixed size; shapes and dtypes must be the same in every worker.

    Returns:
        list with the arrays of each worker, in the order of the workers.
    """
    count = worker_count(strategy)
    if count == 1:
        return [list(arrays)]
    # Sent as int32, because collectives do not support every dtype and might round.
    content = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
    words = np.frombuffer(content + bytes(-len(content) % 4), np.int32)
    if strategy not in _functions:
        _functions[strategy] = _gather(strategy)
    gathered = strategy.experimental_local_results(_functions[strategy](tf.constant(words)))[0].numpy()
    rows = gathered.reshape(strategy.num_replicas_in_sync, -1)[:: strategy.num_replicas_in_sync // count]
    return [_unpacked(row.tobytes(), arrays) for row in rows]


def _gather(strategy: tf.distribute.Strategy) -> Callable:
    # A weak reference, because the function is a value of `_functions` and would keep its own key alive.
    weak_strategy = weakref.ref(strategy)

    def gather_in_replica(words):
        with tf.device("CPU:0"):  # `all_gather` reads the device of the tensor.
            return tf.distribute.get_replica_context().all_gather(tf.identity(words), axis=0)

    @tf.function(autograph=False)
    def gather(words):
        return weak_strategy().run(gather_in_replica, (words,))

    return gather


def _unpacked(content: bytes, like: Sequence[np.ndarray]) -> list[np.ndarray]:
    arrays, offset = [], 0
    for array in like:
        arrays.append(np.frombuffer(content, array.dtype, array.size, offset).reshape(array.shape))
        offset += array.nbytes
    return arrays
