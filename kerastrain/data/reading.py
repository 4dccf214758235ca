"""Reads all examples before the first step: drops unusable image files and caches the decoded rest if there is room.

Takes a `Listing` or `Examples`; returns a `Split`, `Examples`, or the files that would be dropped. Must not know
sources or import TensorFlow.
"""

import dataclasses
import itertools
import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from kerastrain.data import text_scan
from kerastrain.data.examples import Examples, Split
from kerastrain.data.image_files import decode_all, pixel_cache, scanning
from kerastrain.data.image_files.pixel_cache import Place
from kerastrain.data.image_files.quarantine import Quarantined
from kerastrain.data.image_files.stores import ArrayImages, ImageFiles, Store
from kerastrain.data.splitting.classes import without_classes
from kerastrain.data.splitting.listings import Listing, check_skipped, divide
from kerastrain.errors import InputError

logger = logging.getLogger("kerastrain")

_SCAN_SIZE = (32, 32)  # A scan discards the pixels; small ones cost least.


def split(
    listing: Listing,
    *,
    cache: Place = "auto",
    memory_fraction: float = 0.5,
    unreadable_fraction: float = 0.1,
    exclude_classes: Sequence[str] = (),
    **split_options: float | int | None,
) -> Split:
    """Reads a listing and splits it, without unusable or duplicate image files and without equal texts.

    Every image file is read before the first step. Skipped examples are logged to the logger "kerastrain" and are listed
    in `Split.quarantined`; see `scanning.scan` and `text_scan.scan`. They are removed before the rest is split, so that
    the same image cannot be in two parts under two names.

    Args:
        listing: Listing.
        cache: "auto", "memory", "disk" or "none", where decoded images are cached; see `pixel_cache.cache`.
        memory_fraction: float in [0, 1], the fraction of the free memory that they may fill under "auto".
        unreadable_fraction: float in [0, 1], the largest fraction of the image files that may be unreadable.
        exclude_classes: sequence of str, the classes whose examples are left out, as for `without_classes`.
        **split_options: options of `divide`.

    Returns:
        Split.

    Raises:
        InputError: as for `divide` and `pixel_cache.cache`, or a larger fraction of the examples is unreadable (the
            message names the first of them).
    """
    whole, parts = _read(listing, cache, memory_fraction, unreadable_fraction, exclude_classes, split_options)
    return whole.parts(parts)


@dataclasses.dataclass(frozen=True, eq=False)
class ReadListing:
    """A listing whose examples were read, to be split several times, such as into each of its folds.

    Args:
        listing: Listing of the usable examples, whose decoded images are cached if there is room.
        quarantined: tuple of Quarantined, the examples that were left out.
    """

    listing: Listing
    quarantined: tuple[Quarantined, ...]

    def split(self, **split_options: float | int | None) -> Split:
        """Splits the examples, without reading them again.

        Args:
            **split_options: options of `divide`.

        Returns:
            Split.

        Raises:
            InputError: as for `divide`.
        """
        return self.parts(divide(self.listing, **split_options))

    def parts(self, indices_of: Mapping[str, np.ndarray]) -> Split:
        """Selects the parts.

        Args:
            indices_of: mapping from "train", "validation" and "test" to int64 arrays of indices, as from `divide`.

        Returns:
            Split.
        """
        subsets = {part: self.listing.examples.subset(indices) for part, indices in indices_of.items()}
        return Split(**subsets, quarantined=self.quarantined)


def read_listing(
    listing: Listing,
    *,
    cache: Place = "auto",
    memory_fraction: float = 0.5,
    unreadable_fraction: float = 0.1,
    exclude_classes: Sequence[str] = (),
    **split_options: float | int | None,
) -> ReadListing:
    """Reads a listing as `split` does, to split it several times.

    Args:
        listing: as for `split`.
        cache: as for `split`.
        memory_fraction: as for `split`.
        unreadable_fraction: as for `split`.
        exclude_classes: as for `split`.
        **split_options: options of `divide` for one of the splits, which are checked before anything is read.

    Returns:
        ReadListing.

    Raises:
        InputError: as for `split`.
    """
    return _read(listing, cache, memory_fraction, unreadable_fraction, exclude_classes, split_options)[0]


def _read(
    listing: Listing,
    cache: Place,
    memory_fraction: float,
    unreadable_fraction: float,
    exclude_classes: Sequence[str],
    split_options: Mapping[str, float | int | None],
) -> tuple[ReadListing, dict[str, np.ndarray]]:
    """Reads a listing, and divides it."""
    listing = without_classes(listing, exclude_classes)
    check_skipped(listing, unreadable_fraction)
    count = len(listing)
    listing, repeated = without_repeats(listing)
    scanning.log_quarantined(repeated, count, noun="texts")
    parts = divide(listing, **split_options)  # Before anything is read, so that invalid options fail at once.
    # Read before splitting, so that another seed or fold reuses the cached images.
    examples, scan_result = _readable(
        listing.examples, listing.predefined_split, cache, memory_fraction, unreadable_fraction
    )
    skipped = listing.skipped + repeated + scan_result.quarantined
    readable_listing = dataclasses.replace(listing, examples=examples)
    if scan_result.quarantined:
        predefined_split = None if listing.predefined_split is None else listing.predefined_split[scan_result.kept]
        source = f"{listing.source} without the {len(scan_result.quarantined)} skipped files"
        readable_listing = Listing(source, examples, predefined_split)
        parts = divide(readable_listing, **split_options)
    return ReadListing(readable_listing, skipped), parts


def without_repeats(listing: Listing) -> tuple[Listing, tuple[Quarantined, ...]]:
    """Leaves out texts that are equal to others; see `text_scan.scan`. Equal images are found when their files are read.

    Args:
        listing: Listing.

    Returns:
        tuple of the Listing of the other examples, and a tuple of Quarantined.
    """
    examples = listing.examples
    if examples.dtype != object:
        return listing, ()
    result = text_scan.scan(
        examples, _target_texts(examples), listing.predefined_split, counts_repeats=listing.counts_repeats
    )
    if not result.quarantined:
        return listing, ()
    predefined_split = None if listing.predefined_split is None else listing.predefined_split[result.kept]
    skipped = "text" if len(result.quarantined) == 1 else "texts"
    others = dataclasses.replace(
        listing,
        source=f"{listing.source} without the {len(result.quarantined):,} skipped {skipped}",
        examples=examples.subset(result.kept),
        predefined_split=predefined_split,
    )
    return others, result.quarantined


def read(
    examples: Examples, *, cache: Place = "auto", memory_fraction: float = 0.5, unreadable_fraction: float = 0.1
) -> Examples:
    """Reads examples without splitting them, and drops unusable or duplicate image files.

    Args:
        examples: Examples.
        cache: as for `split`.
        memory_fraction: as for `split`.
        unreadable_fraction: as for `split`.

    Returns:
        Examples whose decoded images are cached if there is room.

    Raises:
        InputError: as for `pixel_cache.cache`, or a larger fraction of the images is unreadable.
    """
    return readable(examples, cache=cache, memory_fraction=memory_fraction, unreadable_fraction=unreadable_fraction)[0]


def readable(
    examples: Examples, *, cache: Place = "auto", memory_fraction: float = 0.5, unreadable_fraction: float = 0.1
) -> tuple[Examples, tuple[Quarantined, ...]]:
    """As `read`, and returns the dropped image files too.

    Args:
        examples: as for `read`.
        cache: as for `split`.
        memory_fraction: as for `split`.
        unreadable_fraction: as for `split`.

    Returns:
        tuple of the Examples of `read`, and a tuple of Quarantined.

    Raises:
        InputError: as for `read`.
    """
    usable, scan_result = _readable(examples, None, cache, memory_fraction, unreadable_fraction)
    return usable, scan_result.quarantined


def scan(listing: Listing, *, unreadable_fraction: float = 1.0) -> scanning.Scan:
    """Finds the image files or texts of a listing that a run would skip, and why; caches no pixels.

    Args:
        listing: Listing of image files or texts; its image size does not matter.
        unreadable_fraction: float in [0, 1], the largest fraction of the image files that may be unreadable.

    Returns:
        Scan.

    Raises:
        InputError: the examples are neither image files nor texts, or a larger fraction of the files is unreadable.

    Example:
        >>> result = scan(kt.data.listing("flowers"))  # doctest: +SKIP
        >>> kt.data.quarantine.write(result.quarantined, "quarantine.csv")  # doctest: +SKIP
    """
    examples = listing.examples
    if isinstance(examples.inputs, ImageFiles):
        return _scanned(examples, listing.predefined_split, _SCAN_SIZE, unreadable_fraction)
    if isinstance(examples.inputs, np.ndarray | ArrayImages) and examples.dtype != object:
        raise InputError(
            f"a scan requires image files or texts, and there are none in {listing.source}. Give a folder or a manifest of "
            "them."
        )
    if examples.dtype != object:
        store, notes = decode_all.with_pixel_range(dataclasses.replace(examples.inputs, image_size=_SCAN_SIZE))
        tried = _tried(store, unreadable_fraction)
        return dataclasses.replace(tried, pixel_range=store.decoding.pixel_range, notes=notes)
    return text_scan.scan(
        examples, _target_texts(examples), listing.predefined_split, counts_repeats=listing.counts_repeats
    )


def _readable(
    examples: Examples,
    predefined_split: np.ndarray | None,
    cache: Place,
    memory_fraction: float,
    unreadable_fraction: float,
) -> tuple[Examples, scanning.Scan]:
    """Returns the usable examples, with images cached if there is room, and the scan that found the others."""
    inputs, everything = examples.inputs, scanning.Scan(np.arange(len(examples)), ())
    if isinstance(inputs, np.ndarray):
        return examples, everything
    if isinstance(inputs, ArrayImages):  # Already in memory; indexing resizes them.
        return dataclasses.replace(examples, inputs=inputs[everything.kept], decoding=inputs.decoding), everything
    if not isinstance(inputs, ImageFiles):
        inputs, notes = decode_all.with_pixel_range(inputs)
        _log(notes)
        cached = pixel_cache.cache(inputs, cache, memory_fraction=memory_fraction)
        result = _tried(cached, unreadable_fraction)
        scanning.log_quarantined(result.quarantined, len(examples))
        usable = examples.subset(result.kept, inputs=cached.subset(result.kept))
        return dataclasses.replace(usable, decoding=inputs.decoding), result
    cached = pixel_cache.cache(inputs, cache, memory_fraction=memory_fraction)
    result = _scanned(examples, predefined_split, inputs.image_size, unreadable_fraction, cached.put)
    scanning.log_quarantined(result.quarantined, len(examples))
    _log(result.notes)
    decoding = dataclasses.replace(inputs.decoding, pixel_range=result.pixel_range)
    if decoding != inputs.decoding:  # The images of more than 8 bits are not cached yet.
        store = dataclasses.replace(inputs, decoding=decoding)
        cached = pixel_cache.cache(store, cache, memory_fraction=memory_fraction)
    examples = examples.subset(result.kept, inputs=cached.subset(result.kept))
    return dataclasses.replace(examples, decoding=decoding), result


def _tried(store: Store, unreadable_fraction: float) -> scanning.Scan:
    """Decodes the images of a store that is not image files, to find those that cannot be used."""
    faults = decode_all.faults(store)
    if len(faults) > unreadable_fraction * len(store):
        raise InputError(scanning.too_many(list(faults.values()), len(store), unreadable_fraction))
    kept = [index for index in range(len(store)) if index not in faults]
    return scanning.Scan(np.array(kept, np.int64), tuple(faults.values()))


def _scanned(
    examples: Examples,
    predefined_split: np.ndarray | None,
    image_size: tuple[int, int],
    unreadable_fraction: float,
    put: Callable[[int, np.ndarray], None] | None = None,
) -> scanning.Scan:
    return scanning.scan(
        examples.inputs.paths,
        image_size,
        targets=_target_texts(examples),
        predefined_split=predefined_split,
        unreadable_fraction=unreadable_fraction,
        cache=put,
        decoding=examples.inputs.decoding,
    )


def _log(notes: Sequence[str]) -> None:
    for note in notes:
        logger.warning(note)


def _target_texts(examples: Examples) -> list[str]:
    """Returns the target of each example as text."""
    if examples.task == "single_label":
        return [examples.labels[number] for number in examples.targets]
    if examples.task == "multi_label":
        return [", ".join(itertools.compress(examples.labels, row)) for row in examples.targets]
    return [", ".join(f"{number:g}" for number in row) for row in examples.targets]
