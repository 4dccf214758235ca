"""Examples read before the first step: without the image files that cannot be used, the others kept where there is room.

Takes a `Listing` or `Examples`, gives a `Split`, `Examples`, or what would be left out of them. Must not know sources or
import TensorFlow.
"""

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np

from kerastrain.data.examples import Examples, Split
from kerastrain.data.image_files import decode_all, pixel_cache, scanning
from kerastrain.data.image_files.pixel_cache import Place
from kerastrain.data.image_files.stores import ArrayImages, ImageFiles
from kerastrain.data.splitting.listings import Listing, divide
from kerastrain.errors import InputError

_ANY_SIZE = (32, 32)  # Pixels that nobody keeps; small ones cost least.


def split(
    listing: Listing,
    *,
    cache: Place = "auto",
    memory_fraction: float = 0.5,
    unreadable_fraction: float = 0.1,
    **division: float | int | None,
) -> Split:
    """The examples of a listing in their parts, without the image files that cannot be used or stand twice.

    Every image file is read before the first step, and what is left out is told to the logger "kerastrain" and stands
    in `Split.quarantined`; see `scanning.scan`. It is left out before the rest is divided, so that no file stands in two
    parts under two names.

    Args:
        listing: Listing.
        cache: "auto", "memory", "disk" or "none", where decoded images are kept; see `pixel_cache.cache`.
        memory_fraction: float in [0, 1], the share of the free memory that they may fill under "auto".
        unreadable_fraction: float in [0, 1], the largest share of the image files that may be unreadable.
        **division: as for `divide`.

    Returns:
        Split.

    Raises:
        InputError: as for `divide` and `pixel_cache.cache`, or a larger share of the images is unreadable (the message names the
            first of them).
    """
    parts = divide(listing, **division)  # Once before anything is read, so that its faults are told at once.
    # Read before it is divided, so that another seed or fold meets what this one has decoded.
    examples, found = _proved(listing.examples, listing.marks, cache, memory_fraction, unreadable_fraction)
    if found.quarantined:
        marks = None if listing.marks is None else listing.marks[found.kept]
        source = f"{listing.source} without the {len(found.quarantined)} files left out"
        parts = divide(Listing(source, examples, marks), **division)
    made = {part: examples.subset(indices) for part, indices in parts.items()}
    return Split(**made, quarantined=found.quarantined)


def read(
    examples: Examples, *, cache: Place = "auto", memory_fraction: float = 0.5, unreadable_fraction: float = 0.1
) -> Examples:
    """The same examples, undivided, without the image files that cannot be used or stand twice.

    Args:
        examples: Examples.
        cache: as for `split`.
        memory_fraction: as for `split`.
        unreadable_fraction: as for `split`.

    Returns:
        Examples, their images kept decoded where there is room.

    Raises:
        InputError: as for `split`, but for what is said of parts.
    """
    return _proved(examples, None, cache, memory_fraction, unreadable_fraction)[0]


def scan(listing: Listing, *, unreadable_fraction: float = 1.0) -> scanning.Scan:
    """Which image files of a listing a run would leave out, and why; keeps no pixels.

    Args:
        listing: Listing of image files, its image size of no matter.
        unreadable_fraction: as for `split`.

    Returns:
        Scan.

    Raises:
        InputError: as for `split`, or the examples are no image files.

    Example:
        >>> found = scan(kt.data.listing("flowers"))  # doctest: +SKIP
        >>> kt.data.quarantine.write("quarantine.csv", found.quarantined)  # doctest: +SKIP
    """
    if not isinstance(listing.examples.inputs, ImageFiles):
        raise InputError(
            f"a scan reads image files, and {listing.source} has none. Give a folder or a manifest of images."
        )
    return _scanned(listing.examples, listing.marks, _ANY_SIZE, unreadable_fraction)


def _proved(
    examples: Examples, marks: np.ndarray | None, cache: Place, memory_fraction: float, unreadable_fraction: float
) -> tuple[Examples, scanning.Scan]:
    """The examples that can be used, and which of the others were left out; images are kept where there is room."""
    inputs, everything = examples.inputs, scanning.Scan(np.arange(len(examples)), ())
    if isinstance(inputs, np.ndarray):
        return examples, everything
    if isinstance(inputs, ArrayImages):  # In memory already, at another size.
        return dataclasses.replace(examples, inputs=inputs[everything.kept]), everything
    kept = pixel_cache.cache(inputs, cache, memory_fraction=memory_fraction)
    if not isinstance(inputs, ImageFiles):
        decode_all.decode(kept, memory_fraction=0)
        return dataclasses.replace(examples, inputs=kept), everything
    found = _scanned(examples, marks, inputs.image_size, unreadable_fraction, kept.put)
    scanning.log_quarantined(found.quarantined, len(examples))
    return examples.subset(found.kept, inputs=kept.subset(found.kept)), found


def _scanned(
    examples: Examples,
    marks: np.ndarray | None,
    image_size: tuple[int, int],
    unreadable_fraction: float,
    put: Callable[[int, np.ndarray], None] | None = None,
) -> scanning.Scan:
    return scanning.scan(
        examples.inputs.paths,
        image_size,
        targets=_said(examples),
        predefined_split=marks,
        unreadable_fraction=unreadable_fraction,
        cache=put,
    )


def _said(examples: Examples) -> list[str]:
    """What is to be learnt of each example, in words."""
    if examples.task == "single_label":
        return [examples.labels[number] for number in examples.targets]
    if examples.task == "multi_label":
        return [", ".join(itertools.compress(examples.labels, row)) for row in examples.targets]
    return [", ".join(f"{number:g}" for number in row) for row in examples.targets]
