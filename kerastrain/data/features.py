"""Outputs of a frozen model for every example, computed once.

Takes a model and `Examples`; returns `Examples` of features, which `batches` serves like any others. While the backbone
is frozen and nothing is augmented, an epoch then costs only the forward and backward pass of the head. Must not train.
"""

import contextlib
import dataclasses
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kerastrain import tracing
from kerastrain.data.examples import Examples
from kerastrain.data.pipeline import batches
from kerastrain.distribute import collectives
from kerastrain.system import files
from kerastrain.train_step import folded_norms


def precompute(
    model: keras.Model,
    examples: Examples,
    global_batch_size: int = 32,
    *,
    lengths: np.ndarray | None = None,
    on_inputs: Callable[[tf.Tensor], None] | None = None,
) -> Examples:
    """Replaces the inputs of examples by the outputs of a model.

    Args:
        model: keras.Model from the examples' inputs, without their numbers, to float features (n, ...), called with
            training=False.
        examples: Examples that fit the model's input.
        global_batch_size: int > 0, examples in one forward pass.
        lengths: int array (n,), the length of each example, such as its tokens: the longest examples then come first, so
            that a model that pads a batch to its longest example computes little padding. None for the order of `examples`.
        on_inputs: callable that gets the inputs of each batch after its pass, on one device; None for none.

    Returns:
        Examples whose `inputs` are float32 (n, ...), the outputs in the order of `examples`; all else is unchanged.

    Example:
        >>> head_data = precompute(backbone, split.train)  # doctest: +SKIP
        >>> head.fit(batches(head_data, 32, shuffle=True))  # doctest: +SKIP
    """
    if examples.numbers is not None:
        options = {"lengths": lengths, "on_inputs": on_inputs}
        features = precompute(model, examples.without_numbers(), global_batch_size, **options)
        return dataclasses.replace(examples, inputs=features.inputs)
    if lengths is not None:
        order = np.argsort(-np.asarray(lengths), kind="stable")
        outputs = precompute(model, examples.subset(order), global_batch_size, on_inputs=on_inputs).inputs
        return dataclasses.replace(examples, inputs=outputs[np.argsort(order, kind="stable")])
    model, strategy = folded_norms.inference_model(model), model.distribute_strategy
    if strategy.num_replicas_in_sync == 1:
        dataset = batches(examples, global_batch_size)
        if on_inputs is None:
            outputs = np.asarray(tracing.predict(model, dataset), np.float32)
        else:
            outputs = np.concatenate(list(batch_outputs(model, dataset, on_inputs=on_inputs)))
        return dataclasses.replace(examples, inputs=outputs)
    workers, worker = collectives.worker_count(strategy), collectives.worker_index(strategy)
    share = -(-len(examples) // workers)
    # Every worker gets a slice of the same length; the last example pads the slices and is dropped below.
    local = examples.subset(np.minimum(np.arange(share) + worker * share, len(examples) - 1))
    outputs_of = on_devices(model)
    outputs = [outputs_of(batch[0]) for batch in batches(local, global_batch_size)]
    gathered = collectives.all_gather(strategy, [np.concatenate(outputs).astype(np.float32)])
    return dataclasses.replace(examples, inputs=np.concatenate([array for (array,) in gathered])[: len(examples)])


def batch_outputs(
    model: keras.Model, dataset: tf.data.Dataset, *, on_inputs: Callable[[tf.Tensor], None] | None = None
) -> Iterator[np.ndarray]:
    """Runs a model over one batch after the other on one device; the next batches are decoded and augmented meanwhile.

    Args:
        model: keras.Model.
        dataset: tf.data.Dataset of batches, as from `batches`.
        on_inputs: as for `precompute`.

    Yields:
        float32 (b, ...), the outputs for each batch.
    """
    model.make_predict_function()
    tracing.trace(model, dataset)
    for batch in dataset:
        yield np.asarray(model.predict_function([batch]), np.float32)
        if on_inputs is not None:
            on_inputs(batch[0])


def precompute_once(
    path: Path,
    model: keras.Model,
    examples: Examples,
    global_batch_size: int = 32,
    *,
    lengths: np.ndarray | None = None,
) -> Examples:
    """As `precompute`, for several processes that need the same outputs: the first one computes them, the others read its file.

    The outputs of a model that changes its own state when it is called are computed in every process, or the state would differ
    between them.

    Args:
        path: Path of the `.npy` file. Its name must identify the model and the examples; its folder is made if missing.
        model: as for `precompute`, on one device.
        examples: as for `precompute`.
        global_batch_size: as for `precompute`.
        lengths: as for `precompute`.

    Returns:
        Examples as from `precompute`. Outputs that were read stay in the file, whose pages the processes share.

    Raises:
        WriteError: the file cannot be written.
    """
    with exclusively(path.with_suffix(".lock")):
        if (stored := mapped(path, len(examples))) is not None:
            return dataclasses.replace(examples, inputs=stored)
        before = model.get_weights()
        computed = precompute(model, examples, global_batch_size, lengths=lengths)
        if all(map(np.array_equal, before, model.get_weights())):
            with files.atomic(path) as temporary, open(temporary, "wb") as file:
                np.save(file, computed.inputs)
    return computed


def mapped(path: Path, *shape: int) -> np.ndarray | None:
    """Maps a file of features into memory.

    Args:
        path: Path of a `.npy` file, which need not exist.
        *shape: int, the first sizes of the array.

    Returns:
        array float32 (*shape, ...); None if there is no such file, or if it is damaged and must be written again.
    """
    try:
        array = np.load(path, mmap_mode="r")
    except (OSError, EOFError, ValueError):  # missing; empty; cut off
        return None
    return array if array.shape[: len(shape)] == shape and array.dtype == np.float32 else None


@contextlib.contextmanager
def exclusively(path: Path) -> Iterator[None]:
    """Context manager that waits until no other process is in its block; where files have no locks, it does not wait.

    Args:
        path: Path of the lock file, the same in all processes; its folder is made if missing.

    Yields:
        None.

    Raises:
        WriteError: the lock file cannot be made.
    """
    with files.surface_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    with file:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def on_devices(model: keras.Model) -> Callable[[tf.Tensor], np.ndarray]:
    """Makes a pass of a model of which every device of this process computes a part of the batch.

    Args:
        model: keras.Model.

    Returns:
        callable from a tensor (b, ...) to an array (b, ...), the outputs in the order of the inputs. It is traced for the first
        batch, and at most once more for batches of other sizes.
    """
    strategy = model.distribute_strategy
    # Not counted from the results of `strategy.run`: replicas that all return the same Python object give one result.
    devices = strategy.num_replicas_in_sync // collectives.worker_count(strategy)
    forward = tf.function(lambda shard: model(shard, training=False), reduce_retracing=True)

    def outputs_of(inputs: tf.Tensor) -> np.ndarray:
        # Pad so that every device gets an example; the padding is dropped below.
        rows = np.minimum(np.arange(max(len(inputs), devices)), len(inputs) - 1)
        shards = np.array_split(inputs.numpy()[rows], devices)
        values = strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(shards[context.replica_id_in_sync_group % devices])
        )
        outputs = strategy.experimental_local_results(strategy.run(forward, (values,)))
        return np.concatenate([output.numpy() for output in outputs])[: len(inputs)]

    return outputs_of
