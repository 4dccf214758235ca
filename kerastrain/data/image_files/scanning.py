"""Every image file read once before the first step: what can be used, and what is left out for which reason.

Takes paths, gives indices and `Quarantined` records; what was decoded on the way can be kept. So a broken file is told
now and not hours into the run, and equal files cannot stand in two parts. Must not divide examples or import TensorFlow.
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

from kerastrain.data.image_files import decoder, quarantine
from kerastrain.data.image_files.quarantine import Quarantined
from kerastrain.data.image_files.scan_cache import Finding, ScanCache
from kerastrain.errors import InputError
from kerastrain.system.resources import processor_count

logger = logging.getLogger("kerastrain")

_NAMED = 3
_TELLING_SECONDS = 15
_CHUNK = 32  # Files in one job: few enough that Ctrl-C is answered soon, many enough that jobs cost nothing.


@dataclass(frozen=True, eq=False)
class Scan:
    """What a scan found.

    Args:
        kept: int64 array (m,), the indices of the paths that can be used, ascending.
        quarantined: tuple of Quarantined, the others in the order of the paths.
    """

    kept: np.ndarray
    quarantined: tuple[Quarantined, ...]


def scan(
    paths: Sequence[str],
    image_size: tuple[int, int],
    *,
    targets: Sequence[str],
    marks: Sequence[str] | None = None,
    unreadable_fraction: float = 0.1,
    keep: Callable[[int, np.ndarray], None] | None = None,
) -> Scan:
    """Reads, hashes and decodes every file on all processors, and says which to leave out.

    A file is left out where it cannot be read as an image, or has the same bytes as another: see `quarantine.KINDS` and
    `quarantine.repeats`. A file whose size and time of change are those of an earlier scan is not read again. The logger
    "kerastrain" is told how far a long scan has come.

    Threads decode here, as Pillow lets others run while it does: on two processors, files of 3024 x 3024 pixels came as
    fast from threads as from processes, whose start and whose pixels on their way cost as much as small files take.

    Args:
        paths: n paths of image files, as `load_image` takes them.
        image_size: (height, width) in pixels that `keep` is given.
        targets: n str, what is to be learnt of each file, such as its class: equal files must agree in it.
        marks: n of "train", "validation" and "test" where the parts are given; None where they are drawn afterwards.
        unreadable_fraction: float in [0, 1], the largest share of the files that may be unreadable; repeated ones do not
            count.
        keep: callable (index, uint8 array (height, width, 3)) that is called from several threads with what was decoded,
            which are not always all files; None where only the proof is wanted.

    Returns:
        Scan.

    Raises:
        InputError: a larger share is unreadable, which the sentence counts, with the first reasons.

    Example:
        >>> scan(["cat.jpg", "empty.jpg"], (224, 224), targets=["cat", "cat"], unreadable_fraction=0.5)  # doctest: +SKIP
        Scan(kept=array([0]), quarantined=(Quarantined(path='empty.jpg', kind='empty', reason='the file is empty'),))
    """
    if not 0 <= unreadable_fraction <= 1:
        raise InputError(f"`unreadable_fraction` must lie in [0, 1]. Received: {unreadable_fraction}.")
    findings = _findings(paths, image_size, keep) if paths else []
    left_out = {
        index: Quarantined(path, finding.kind, finding.reason)
        for index, (path, finding) in enumerate(zip(paths, findings, strict=True))
        if finding.kind
    }
    if len(left_out) > unreadable_fraction * len(paths):
        raise InputError(_too_many(list(left_out.values()), len(paths), unreadable_fraction))
    left_out |= quarantine.repeats(paths, [finding.digest for finding in findings], targets, marks)
    quarantined = tuple(left_out[index] for index in sorted(left_out))
    return Scan(np.array([index for index in range(len(paths)) if index not in left_out], np.int64), quarantined)


def _findings(
    paths: Sequence[str], image_size: tuple[int, int], keep: Callable[[int, np.ndarray], None] | None
) -> list[Finding]:
    """What each file is, from the cache or from reading it."""
    cache = ScanCache(paths)
    fresh = {}

    def found(start: int) -> list[Finding]:
        return [one(index) for index in range(start, min(start + _CHUNK, len(paths)))]

    def one(index: int) -> Finding:
        path = paths[index]
        try:
            status = os.stat(path)
            known = cache.get(path, status) if os.access(path, os.R_OK) else None
            if known is not None:
                return known
            finding, image = _read(path, image_size)
        except OSError as fault:
            return Finding(None, "unreadable", decoder.access_reason(path, fault))
        # What the file system says of a file may change while the file does not.
        if finding.kind != "unreadable":
            fresh[path] = status, finding
        if image is not None and keep is not None:
            keep(index, image)
        return finding

    with warnings.catch_warnings(), ThreadPoolExecutor(processor_count()) as pool:
        warnings.filterwarnings("ignore", module="PIL")  # They name no file, and what matters of them is a finding.
        findings, told = [], time.monotonic()
        for chunk in pool.map(found, range(0, len(paths), _CHUNK)):
            findings += chunk
            if time.monotonic() - told > _TELLING_SECONDS:
                told = time.monotonic()
                logger.info("read %d of %d images", len(findings), len(paths))
    if fresh:
        cache.add(fresh)
    return findings


def _read(path: str, image_size: tuple[int, int]) -> tuple[Finding, np.ndarray | None]:
    try:
        content = decoder.read(path)
        image = decoder.decode(path, content, image_size)
    except decoder.ImageFault as fault:
        return Finding(None, fault.kind, fault.reason), None
    return Finding(hashlib.sha256(content).hexdigest()), image


def _too_many(faults: Sequence[Quarantined], count: int, allowed: float) -> str:
    files = "one file" if len(faults) == 1 else f"{len(faults):,} files"
    return (
        f"{files} of {count:,} cannot be used as images, more than the share of {allowed:g} that `unreadable_fraction` "
        f"lets pass: {_first(faults)}. Mend or remove them, or raise `unreadable_fraction` to leave them out."
    )


def tell(quarantined: Sequence[Quarantined], count: int) -> None:
    """Says to the logger "kerastrain" how many of `count` files are left out, of which kinds, and names the first."""
    if not quarantined:
        return
    told = ", ".join(f"{number:,} {kind}" for kind, number in quarantine.counts(quarantined).items())
    quiet = [one for one in quarantined if one.kind not in quarantine.ALARMING]
    examples = f" ({_first(quiet)})" if quiet else ""
    logger.warning("left out %d of %d images: %s%s", len(quarantined), count, told, examples)
    for kind, consequence in quarantine.ALARMING.items():
        found = [one for one in quarantined if one.kind == kind]
        if found:
            logger.warning("%s in %d of them: %s (%s)", kind.upper(), len(found), consequence, _first(found))


def _first(quarantined: Sequence[Quarantined]) -> str:
    """The first few of them in words."""
    told = "; ".join(f"{one.path!r}: {one.reason}" for one in quarantined[:_NAMED])
    return told if len(quarantined) <= _NAMED else f"{told}; and {len(quarantined) - _NAMED:,} more"
