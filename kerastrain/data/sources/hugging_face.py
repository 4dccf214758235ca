"""Data sets from the Hugging Face Hub, or from a folder that `save_to_disk` wrote.

Takes a name, returns a `NamedSet`. The library is the extra `huggingface`. It caches its downloads, and a cached set
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
    """Loads a data set with all its parts.

    Args:
        name: "hf:OWNER/NAME", "hf:NAME:CONFIGURATION", or "hf:FOLDER" of a set written by `save_to_disk`.

    Returns:
        NamedSet.

    Raises:
        InputError: there is no such set, or the Hub cannot be reached and the set is not in the cache.
        MissingExtra: `datasets` is not installed.
    """
    library = need("datasets", extra="huggingface", to="read data sets of Hugging Face")
    parts = _loaded(library, name)
    whole = library.concatenate_datasets([*parts.values()])
    features = whole.features
    images = [key for key, feature in features.items() if isinstance(feature, library.Image)]
    for key in images:
        whole = whole.cast_column(key, library.Image(decode=False))
    others = [key for key in features if key not in images]
    return NamedSet(
        f"'{name}'",
        _Columns(whole, others),
        {key: tuple(feature.names) for key in others if (feature := _class_label(library, features[key]))},
        images=images,
        texts=[key for key in others if getattr(features[key], "dtype", None) in ("string", "large_string")],
        parts=[part for part, dataset in parts.items() for _ in range(len(dataset))],
        content=lambda feature, row: _content(whole[row][feature], f"row {row} of '{name}'"),
    )


class _Columns(Mapping):
    """The columns of a data set, each read on access."""

    def __init__(self, dataset, names: list[str]):
        self._dataset, self._names = dataset.select_columns(names), names

    def __getitem__(self, name: str) -> list:
        return self._dataset[name][:]

    def __iter__(self):
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _loaded(library, name: str) -> Mapping:
    handle = name.removeprefix(PREFIX)
    try:
        if Path(handle).expanduser().is_dir():
            dataset = library.load_from_disk(str(Path(handle).expanduser()))
        else:
            repository, _, configuration = handle.partition(":")
            dataset = library.load_dataset(repository, configuration or None)
    except (OSError, ValueError) as error:  # Covers errors of the library and of the network.
        raise InputError(
            f"cannot load '{name}': {str(error).strip().splitlines()[0].rstrip('.')}. Check the name; without a "
            "network, give a folder that `save_to_disk` wrote."
        ) from error
    return dataset if isinstance(dataset, Mapping) else {str(dataset.split or "train"): dataset}


def _class_label(library, feature):
    """Returns the ClassLabel of a feature or of the items of a list feature, or None."""
    inner = getattr(feature, "feature", feature)
    return inner if isinstance(inner, library.ClassLabel) else None


def _content(value: Mapping | None, name: str) -> bytes:
    if value is None:
        raise InputError(f"{name} has no image. Remove it from the set.")
    return decoder.read(value["path"]) if value["bytes"] is None else value["bytes"]
