"""Image files whose format nothing installed can decode, left out before anything is read.

Takes a `Listing`, returns a `Listing`. Opens only files whose suffix names such a format.
"""

import dataclasses
from pathlib import Path

import numpy as np

from kerastrain.data.image_files import decoder, pictures
from kerastrain.data.image_files.faults import ImageFault
from kerastrain.data.image_files.quarantine import Quarantined
from kerastrain.data.image_files.stores import ImageFiles
from kerastrain.data.splitting.listings import Listing

_SUFFIXES = {"AVIF": (".avif",), "HEIF": (".heic", ".heif", ".hif")}


def left_out(listing: Listing) -> Listing:
    """Leaves out HEIC and AVIF files if their decoder is not installed, so that `check` says so.

    Args:
        listing: Listing.

    Returns:
        Listing with those files in `skipped`; unchanged if there are none.
    """
    examples = listing.examples
    missing = tuple(suffix for name, suffixes in _SUFFIXES.items() if not pictures.reads(name) for suffix in suffixes)
    if not missing or not isinstance(examples.inputs, ImageFiles):
        return listing
    skipped = {}
    for row, path in enumerate(examples.inputs.paths):
        if Path(path).suffix.lower() in missing and (fault := _fault(path)):
            skipped[row] = Quarantined(path, fault.kind, fault.reason)
    if not skipped:
        return listing
    kept = np.setdiff1d(np.arange(len(examples)), list(skipped))
    return dataclasses.replace(
        listing,
        examples=examples.subset(kept),
        predefined_split=None if listing.predefined_split is None else listing.predefined_split[kept],
        skipped=(*listing.skipped, *skipped.values()),
    )


def _fault(path: str) -> ImageFault | None:
    try:
        decoder.read(path)
    except ImageFault as fault:
        return fault if "pip install" in fault.reason else None
    except OSError:
        pass  # The scan reports it.
    return None
