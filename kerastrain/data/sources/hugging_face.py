"""Data sets of the Hugging Face Hub, or of a folder that `save_to_disk` wrote.

Takes a name, gives a `NamedSet`. The library is the extra `huggingface`; it caches what it downloads, and a cached set
needs no network.
"""

from collections.abc import Mapping
from pathlib import Path

from kerastrain.data.image_files import decoder
from kerastrain.data.sources.named_sets import NamedSet
from kerastrain.errors import InputError
from kerastrain.system.optional_imports import need

PREFIX = "hf:"


def load(name: str) -> NamedSet:
    """The data set under a name.

    Args:
        name: "hf:OWNER/NAME", "hf:NAME:CONFIGURATION", or "hf:FOLDER" where `save_to_disk` wrote.

    Returns:
        NamedSet of all its parts.

    Raises:
        InputError: there is no such set, or the Hub cannot be reached and the set is not in the cache.
        MissingExtra: `datasets` is not installed.
    """
    library = need("datasets", extra="huggingface", to="read data sets of Hugging Face")
    parts = _loaded(library, name)
    whole = library.concatenate_datasets([*parts.values()])
    features = whole.features
    pictures = [name for name, feature in features.items() if isinstance(feature, library.Image)]
    for picture in pictures:
        whole = whole.cast_column(picture, library.Image(decode=False))
    others = [name for name in features if name not in pictures]
    return NamedSet(
        f"'{name}'",
        _Columns(whole, others),
        {name: tuple(found.names) for name in others if (found := _class_label(library, features[name]))},
        images=pictures,
        texts=[name for name in others if getattr(features[name], "dtype", None) in ("string", "large_string")],
        parts=[part for part, one in parts.items() for _ in range(len(one))],
        content=lambda feature, row: _content(whole[row][feature], f"row {row} of '{name}'"),
    )


class _Columns(Mapping):
    """The columns of a data set, each read when it is asked for."""

    def __init__(self, dataset, names: list[str]):
        self._dataset, self._names = dataset.select_columns(names), names

    def __getitem__(self, name: str) -> list:
        return self._dataset[name][:]

    def __iter__(self):
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _loaded(library, name: str) -> Mapping:
    place = name.removeprefix(PREFIX)
    try:
        if Path(place).expanduser().is_dir():
            found = library.load_from_disk(str(Path(place).expanduser()))
        else:
            handle, _, configuration = place.partition(":")
            found = library.load_dataset(handle, configuration or None)
    except (OSError, ValueError) as fault:  # Both its own errors and those of the network.
        raise InputError(
            f"cannot load '{name}': {str(fault).strip().splitlines()[0].rstrip('.')}. Check the name; without a network, "
            "give a folder that `save_to_disk` wrote."
        ) from fault
    return found if isinstance(found, Mapping) else {str(found.split or "train"): found}


def _class_label(library, feature):
    """The numbering of classes in a feature, or in each item of one, or None."""
    inner = getattr(feature, "feature", feature)
    return inner if isinstance(inner, library.ClassLabel) else None


def _content(value: Mapping | None, name: str) -> bytes:
    if value is None:
        raise InputError(f"{name} has no image. Remove it from the set.")
    return decoder.read(value["path"]) if value["bytes"] is None else value["bytes"]
