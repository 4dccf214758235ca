"""Reads every image file once before the first step, to find those that can be used.

Takes paths; returns indices and `Quarantined` records, and hands each decoded image to a callback. A broken file is
reported at once instead of hours into the run, and files with the same bytes never end up in two parts. Must not split
examples or import TensorFlow.
"""

import hashlib
import logging
import os
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from kerastrain.data.image_files import decoder, pixel_ranges, quarantine
from kerastrain.data.image_files.quarantine import Quarantined
from kerastrain.data.image_files.scan_cache import Finding, ScanCache
from kerastrain.decoding import Decoding
from kerastrain.errors import InputError
from kerastrain.system.resources import processor_count

logger = logging.getLogger("kerastrain")

_NAMED = 3
_PROGRESS_SECONDS, _FIRST_PROGRESS_SECONDS = 15, 2
_CHUNK = 32  # Files in one job: few enough that Ctrl-C is answered soon, many enough that jobs cost nothing.
_HEADINGS = {"leakage": "LEAKAGE", "contradiction": "CONFLICTING LABELS"}


@dataclass(frozen=True, eq=False)
class Scan:
    """Result of a scan.

    Args:
        kept: int64 array (m,), the indices of the paths that can be used, ascending.
        quarantined: tuple of Quarantined, the other files, in the order of the paths.
        pixel_range: (black, white) of the files of more than 8 bits, found or given; None if there are none.
        notes: tuple of str, what was found out about them.
    """

    kept: np.ndarray
    quarantined: tuple[Quarantined, ...]
    pixel_range: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()


def scan(
    paths: Sequence[str],
    image_size: tuple[int, int],
    *,
    targets: Sequence[str],
    predefined_split: Sequence[str] | None = None,
    unreadable_fraction: float = 0.1,
    cache: Callable[[int, np.ndarray], None] | None = None,
    decoding: Decoding | None = None,
) -> Scan:
    """Reads, hashes and decodes every file on all processors, and determines which files to skip.

    A file is skipped if it cannot be read as an image or has the same bytes as another: see `quarantine.KINDS` and
    `quarantine.repeats`. A file whose size and modification time are those of an earlier scan is not read again. A long
    scan logs its progress.

    Decoding runs in threads, because Pillow releases the GIL: on two processors, files of 3024 x 3024 pixels were decoded
    as fast by threads as by processes, whose start and whose transfer of the pixels cost as much as decoding small files.

    Args:
        paths: n paths of image files, as for `load_image`.
        image_size: (height, width) in pixels, both int >= 1, of the images for `cache`.
        targets: n str, the targets of each file in a form that can be compared, such as its class. Files with the same
            bytes must agree in it.
        predefined_split: n of "train", "validation" and "test" where the source defines the parts; None where the split
            is drawn afterwards.
        unreadable_fraction: float in [0, 1], the largest fraction of the files that may be unreadable. Files with the
            same bytes as others do not count.
        cache: callable (index, uint8 array (height, width, 3) in [0, 255]), called from several threads with each image
            that was decoded. Files known from an earlier scan are not decoded, nor files of more than 8 bits whose scale
            has to be found first. None discards the images.
        decoding: Decoding; None for its defaults.

    Returns:
        Scan.

    Raises:
        InputError: more than `unreadable_fraction` of the files are unreadable, or it is outside [0, 1] (the message
            counts the unreadable files and gives the first reasons); or the files have more than 8 bits, and it cannot be
            known which values are black and white.

    Example:
        >>> scan(["cat.jpg", "empty.jpg"], (224, 224), targets=["cat", "cat"], unreadable_fraction=0.5)  # doctest: +SKIP
        Scan(kept=array([0]), quarantined=(Quarantined(path='empty.jpg', kind='empty', reason='the file is empty'),))
    """
    if not 0 <= unreadable_fraction <= 1:
        raise InputError(f"`unreadable_fraction` must lie in [0, 1]. Received: {unreadable_fraction}.")
    decoding = decoding or Decoding()
    findings = _findings(paths, image_size, cache, decoding) if paths else []
    skipped = {
        index: Quarantined(path, finding.kind, finding.reason)
        for index, (path, finding) in enumerate(zip(paths, findings, strict=True))
        if finding.kind
    }
    if len(skipped) > unreadable_fraction * len(paths):
        raise InputError(too_many(list(skipped.values()), len(paths), unreadable_fraction))
    skipped |= quarantine.repeats(paths, [finding.digest for finding in findings], targets, predefined_split)
    quarantined = tuple(skipped[index] for index in sorted(skipped))
    kept = [index for index in range(len(paths)) if index not in skipped]
    deep = {paths[index]: findings[index].extent for index in kept if findings[index].extent is not None}
    pixel_range, notes = pixel_ranges.of_files(deep, decoding.pixel_range, len(kept))
    return Scan(np.array(kept, np.int64), quarantined, pixel_range, notes)


def _findings(
    paths: Sequence[str],
    image_size: tuple[int, int],
    cache: Callable[[int, np.ndarray], None] | None,
    decoding: Decoding,
) -> list[Finding]:
    """The result for each file, from an earlier scan or from reading it."""
    scan_cache = ScanCache(paths, decoding)

    def read_chunk(start: int) -> list[Finding]:
        return [read_one(index) for index in range(start, min(start + _CHUNK, len(paths)))]

    def read_one(index: int) -> Finding:
        path = paths[index]
        try:
            status = os.stat(path)
            finding = scan_cache.get(path, status) if os.access(path, os.R_OK) else None
            if finding is not None:
                return finding
            finding, image = _read(path, image_size, decoding)
        except OSError as error:
            return Finding(None, "unreadable", decoder.access_reason(path, error))
        # A file can become readable, for instance by its permissions, while its size and modification time stay.
        if finding.kind != "unreadable":
            scan_cache.add(path, status, finding)
        if image is not None and cache is not None:
            cache(index, image)
        return finding

    with warnings.catch_warnings(), ThreadPoolExecutor(processor_count()) as pool:
        warnings.filterwarnings("ignore", module="PIL")  # They name no file; the relevant ones become findings.
        # The first line comes early, since a step of more than two seconds says what it does.
        findings, logged = [], time.monotonic() + _FIRST_PROGRESS_SECONDS - _PROGRESS_SECONDS
        for chunk in pool.map(read_chunk, range(0, len(paths), _CHUNK)):
            findings += chunk
            if time.monotonic() - logged > _PROGRESS_SECONDS:
                logged = time.monotonic()
                logger.info("read %s of %s images", f"{len(findings):,}", f"{len(paths):,}")
    scan_cache.write()
    return findings


def _read(path: str, image_size: tuple[int, int], decoding: Decoding) -> tuple[Finding, np.ndarray | None]:
    try:
        content = decoder.read(path)
        image, extent = decoder.examine(path, content, image_size, decoding)
    except decoder.ImageFault as error:
        return Finding(None, error.kind, error.reason), None
    return Finding(hashlib.sha256(content).hexdigest(), extent=extent), image


def too_many(unreadable: Sequence[Quarantined], count: int, allowed: float) -> str:
    """The message where more images are unreadable than allowed.

    Args:
        unreadable: the unreadable images.
        count: int, number of all images.
        allowed: float in [0, 1], the largest fraction.

    Returns:
        str, a sentence or two.
    """
    return (
        f"{len(unreadable):,} of {count:,} files cannot be read as images, more than the fraction {allowed:g} that "
        f"`unreadable_fraction` allows: {_first(unreadable)}. Repair or remove them, or raise `unreadable_fraction` to "
        "skip them."
    )


def log_quarantined(quarantined: Sequence[Quarantined], count: int, *, noun: str = "images") -> None:
    """Logs a warning with the number of skipped files of each kind and the first of them; logs nothing if there are none.

    Leakage and conflicting labels get a warning each.

    Args:
        quarantined: the skipped files.
        count: int, number of all files, the skipped ones included.
        noun: str, what they are.
    """
    if not quarantined:
        return
    others = [file for file in quarantined if file.kind not in quarantine.ALARMING]
    examples = f" ({_first(others)})" if others else ""
    logger.warning(
        "skipped %s of %s %s: %s%s",
        f"{len(quarantined):,}",
        f"{count:,}",
        noun,
        quarantine.summary(quarantined),
        examples,
    )
    for kind, consequence in quarantine.ALARMING.items():
        files = [file for file in quarantined if file.kind == kind]
        if files:
            logger.warning("%s in %s of them: %s (%s)", _HEADINGS[kind], f"{len(files):,}", consequence, _first(files))


def _first(quarantined: Sequence[Quarantined]) -> str:
    """Paths and reasons of the first few files."""
    texts = "; ".join(f"{file.path!r}: {file.reason}" for file in quarantined[:_NAMED])
    return texts if len(quarantined) <= _NAMED else f"{texts}; and {len(quarantined) - _NAMED:,} more"
