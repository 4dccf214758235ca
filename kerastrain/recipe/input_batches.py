"""Makes batches of the inputs for a finished run, decoding one batch of images while the model computes another.

Takes a `Run` and inputs; yields arrays as its model takes them. At most two batches of images are in memory, so that any number
of them fits. Must not run the model.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kerastrain import data
from kerastrain.errors import InputError, counted
from kerastrain.recipe import plan
from kerastrain.recipe.inputs import Input
from kerastrain.run_directory import Run
from kerastrain.system.resources import processor_count

Values = np.ndarray | tuple[np.ndarray, np.ndarray]
"""An array (n, …) of images or texts; with numbers beside them, a tuple of it and of float32 (n, k)."""


@dataclass(frozen=True)
class Batch:
    """A batch of inputs.

    Args:
        items: sequence of Input.
        usable: sequence of int, the positions in `items` of those in `values`.
        values: Values of the usable items, or None if there are none.
        errors: mapping from the position of each other item to its InputError or OSError.
    """

    items: Sequence[Input]
    usable: Sequence[int]
    values: Values | None
    errors: Mapping[int, Exception]

    def sentence(self, position: int) -> str:
        """The sentence about an item that cannot be used, with the row where it was found.

        Args:
            position: int, a key of `errors`.

        Returns:
            str.
        """
        row, error = self.items[position].row, self.errors[position]
        return f"{row}: {error}" if row else str(error)


def batches(run: Run, inputs: Sequence, size: int) -> Iterator[Batch]:
    """Batches of inputs, in order.

    Args:
        run: Run.
        inputs: sequence of paths, texts, pairs of texts, or Input, as for `predicting.predict`.
        size: int > 0, inputs per batch.

    Yields:
        Batch.

    Raises:
        InputError: an input is not what the run reads.
    """
    items = [_input(item) for item in inputs]
    _check(run, items)
    parts = [items[start : start + size] for start in range(0, len(items), size)]
    if run.config.data.kind == "text":
        for part in parts:
            texts = np.array([item.value for item in part], object)
            yield Batch(part, range(len(part)), _with_numbers(part, texts), {})
        return
    pool = ThreadPoolExecutor(processor_count())
    try:
        decode = lambda part: [pool.submit(_image, run, item.value) for item in part]
        following = decode(parts[0]) if parts else []
        for number, part in enumerate(parts, start=1):
            current, following = following, decode(parts[number]) if number < len(parts) else []
            yield _decoded(part, [future.result() for future in current])
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def input_batches(
    run: Run, inputs: Sequence, size: int, on_fault: Callable[[str], None] | None
) -> Iterator[tuple[list[Input], Values]]:
    """The usable inputs among `batches`, and what the model takes for them.

    Args:
        run: Run.
        inputs: as for `batches`.
        size: int > 0, inputs per batch.
        on_fault: callable that gets a sentence about each file that cannot be used, which is then skipped; None raises the
            error.

    Yields:
        list of Input, and Values.

    Raises:
        InputError: an input is not what the run reads; or a file is not an image that can be decoded, and `on_fault` is None.
        FileNotFoundError: a file does not exist, and `on_fault` is None.
    """
    for batch in batches(run, inputs, size):
        report_errors(batch, on_fault)
        if batch.usable:
            yield [batch.items[position] for position in batch.usable], batch.values


def report_errors(batch: Batch, on_fault: Callable[[str], None] | None) -> None:
    """Passes a sentence about each unusable input of a batch on.

    Args:
        batch: Batch.
        on_fault: callable that gets each sentence; None raises the first error.

    Raises:
        InputError, FileNotFoundError: an input cannot be used, and `on_fault` is None.
    """
    for position, error in batch.errors.items():
        if on_fault is None:
            raise error
        on_fault(batch.sentence(position))


def _check(run: Run, items: Sequence[Input]) -> None:
    count = len(run.config.data.columns.numbers)
    if wrong := [item for item in items if len(item.numbers) != count]:
        raise InputError(
            f"the run reads {counted(count, 'numbers')} beside each input. Received: {len(wrong[0].numbers)} for "
            f"{wrong[0].value!r}. Give a table with their columns, or `inputs.Input(value, numbers=…)`."
        )
    reads_pairs = run.config.data.columns.pair is not None
    if wrong := [item.value for item in items if isinstance(item.value, tuple) != reads_pairs]:
        expected = "pairs of texts, tuples of two str" if reads_pairs else "single inputs, str"
        raise InputError(f"the run reads {expected}. Received: {wrong[0]!r}.")


def _decoded(items: Sequence[Input], images: Sequence[np.ndarray | Exception]) -> Batch:
    errors = {position: image for position, image in enumerate(images) if isinstance(image, Exception)}
    usable = [position for position in range(len(items)) if position not in errors]
    if not usable:
        return Batch(items, usable, None, errors)
    values = _with_numbers([items[index] for index in usable], np.stack([images[index] for index in usable]))
    return Batch(items, usable, values, errors)


def _with_numbers(items: Sequence[Input], values: np.ndarray) -> Values:
    return (values, np.array([item.numbers for item in items], np.float32)) if items[0].numbers else values


def _image(run: Run, path: str) -> np.ndarray | Exception:
    if "\0" in path:  # which `open` refuses as a plain ValueError
        return InputError(f"no image at {path!r}: no path has a null character.")
    try:
        return data.load_image(path, run.image_size, plan.decoding(run.config))
    except (InputError, OSError) as error:
        return error


def _input(item: str | Path | tuple[str, str] | Input) -> Input:
    if isinstance(item, tuple | list):
        return Input(tuple(map(str, item)))
    return item if isinstance(item, Input) else Input(str(item))
