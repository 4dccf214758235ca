"""Data sets from the Hugging Face Hub, or from a folder that `save_to_disk` wrote.

Takes a name, returns a `NamedSet`. The library is the extra `huggingface`. It caches its downloads, and a cached set
needs no network.
"""

import contextlib
import importlib.util
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from kerastrain.data.image_files import decoder
from kerastrain.data.image_files.faults import ImageFault
from kerastrain.data.sources.named_sets import NamedSet
from kerastrain.data.sources.table_roles import IMAGE_SUFFIXES
from kerastrain.errors import InputError, unknown
from kerastrain.system import network
from kerastrain.system.optional_imports import need

PREFIX = "hf:"
_SAVED = ("dataset_info.json", "dataset_dict.json", "state.json")


def load(name: str) -> NamedSet:
    """Loads a data set with all its parts.

    Images may be features of type Image, bytes, dicts with bytes or a path, and strings that are paths of image files.

    Args:
        name: "hf:OWNER/NAME", "hf:NAME:CONFIGURATION", or "hf:FOLDER" of a set written by `save_to_disk`, or of files that
            the library reads, such as Parquet files.

    Returns:
        NamedSet.

    Raises:
        InputError: there is no such set, it is gated or made by a script, a configuration must be chosen, or the Hub
            cannot be reached and the set is not in the cache.
        MissingExtra: `datasets` is not installed.
    """
    library = need("datasets", extra="huggingface", to="read data sets of Hugging Face")
    handle = name.removeprefix(PREFIX)
    folder = Path(handle).expanduser()
    parts = _from_folder(library, name, folder) if folder.is_dir() else _from_hub(library, name)
    whole = library.concatenate_datasets([*parts.values()])
    features = whole.features
    images = [key for key, feature in features.items() if isinstance(feature, library.Image)]
    for key in images:
        whole = whole.cast_column(key, library.Image(decode=False))
    images += [key for key, feature in features.items() if _holds_files(feature)]
    texts = [key for key, feature in features.items() if _dtype(feature) in ("string", "large_string", "string_view")]
    paths = [] if images else [key for key in texts if _are_paths(whole, key)]
    others = [key for key in features if key not in images]
    return NamedSet(
        f"'{name}'",
        _Columns(whole, others),
        {key: tuple(feature.names) for key in others if (feature := _class_label(library, features[key]))},
        images=images + paths,
        texts=texts,
        parts=[part for part, dataset in parts.items() for _ in range(len(dataset))],
        content=lambda feature, row: _content(whole[row][feature], f"row {row} of '{name}'"),
        layout=f"a data set {f'saved in the folder {handle!r}' if folder.is_dir() else 'of Hugging Face'}",
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


def _from_folder(library, name: str, folder: Path) -> Mapping:
    is_saved = any((folder / file).is_file() for file in _SAVED)
    try:
        return _by_part(library.load_from_disk(str(folder)) if is_saved else library.load_dataset(str(folder)))
    except _errors(library) as error:
        advice = "Copy it again" if is_saved else "Give a folder that `save_to_disk` wrote, or one of Parquet files"
        raise InputError(f"cannot load '{name}' from that folder: {_first_line(error)}. {advice}.") from error


def _from_hub(library, name: str) -> Mapping:
    repository, _, configuration = name.removeprefix(PREFIX).partition(":")
    if importlib.util.find_spec(f"datasets.packaged_modules.{repository}") is not None:
        raise InputError(
            f"'{name}' names a file format, not a data set. Give {PREFIX}FOLDER for a folder of such files."
        )
    is_offline = library.config.HF_HUB_OFFLINE or not network.reachable(library.config.HF_ENDPOINT)
    with _quiet_and_offline(library, is_offline):
        try:
            return _by_part(library.load_dataset(repository, configuration or None))
        except _errors(library) as error:
            cached = _cached(library, repository)
            if cached is None or _is_choice(error):
                raise InputError(f"cannot load '{name}': {_reason(error, repository, is_offline)}.") from error
            damage = _first_line(error)
        if is_offline:
            raise InputError(
                f"cannot load '{name}': its copy in the cache is incomplete or damaged ({damage}), and the Hub cannot be "
                f"reached. Delete '{cached}', and load it again with a network."
            )
        logging.getLogger("kerastrain").warning(
            "%s: its copy in '%s' is incomplete or damaged, and is fetched again (%s)", name, cached, damage
        )
        try:
            return _by_part(library.load_dataset(repository, configuration or None, download_mode="force_redownload"))
        except _errors(library) as error:
            raise InputError(f"cannot load '{name}': {_reason(error, repository, is_offline)}.") from error


@contextlib.contextmanager
def _quiet_and_offline(library, is_offline: bool) -> Iterator[None]:
    """Lets the library use its cache without asking the Hub, which would retry for half a minute, if that is not reachable."""
    before, loggers = (
        library.config.HF_HUB_OFFLINE,
        [logging.getLogger(name) for name in ("datasets", "huggingface_hub")],
    )
    levels = [logger.level for logger in loggers]
    library.config.HF_HUB_OFFLINE = is_offline
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        library.config.HF_HUB_OFFLINE = before
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _errors(library) -> tuple[type[Exception], ...]:
    return (OSError, ValueError, RuntimeError, library.exceptions.DatasetsError)


def _by_part(dataset) -> Mapping:
    return dataset if isinstance(dataset, Mapping) else {str(dataset.split or "train"): dataset}


def _cached(library, repository: str) -> Path | None:
    """The folder of a set in the library's cache, or None."""
    owner, _, name = repository.rpartition("/")
    name = re.sub(r"(?<=[a-z\d])(?=[A-Z])", "_", name).lower()  # as the library names it
    folder = Path(library.config.HF_DATASETS_CACHE).expanduser() / (f"{owner}___{name}" if owner else name)
    return folder if folder.is_dir() else None


def _is_choice(error: Exception) -> bool:
    """Whether the user has to choose or ask for something, so that fetching the set again would not help."""
    words = ("Config name is missing", "BuilderConfig", "gated", "Dataset scripts", "doesn't exist on the Hub")
    return any(word in str(error) for word in words)


def _reason(error: Exception, repository: str, is_offline: bool) -> str:
    message = str(error)
    names = re.findall(r"'([^']+)'", message.partition("[")[2].partition("]")[0])
    if "Config name is missing" in message:
        return (
            f"it has several configurations: {', '.join(names)}. Choose one, such as "
            f"{PREFIX}{repository}:{names[0] if names else 'NAME'}"
        )
    if match := re.search(r"BuilderConfig '([^']*)' not found", message):
        return unknown("configuration", match[1], names).rstrip(".")
    if match := re.search(r"Dataset scripts are no longer supported, but found (\S+)", message):
        return (
            f"it is made by the Python script {match[1]}, which the library datasets does not run any more. Use a copy of "
            "the set in Parquet, or save it with an older version and `save_to_disk`"
        )
    if "gated" in message:
        return (
            f"the set is gated. Ask for access at https://huggingface.co/datasets/{repository}, and log in with "
            "`hf auth login`"
        )
    if is_offline:
        return (
            "the Hub cannot be reached, and the set is not in the cache of this machine. Check the name; without a network, "
            "give a folder that `save_to_disk` wrote"
        )
    if "doesn't exist on the Hub" in message:
        return (
            "the Hub has no set of that name that you may read. Check the name; for a private set, log in with "
            "`hf auth login`"
        )
    return f"{_first_line(error)}. Check the name; without a network, give a folder that `save_to_disk` wrote"


def _first_line(error: Exception) -> str:
    cause = error.__cause__ if error.__cause__ is not None and not str(error).strip() else error
    lines = str(cause).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(cause).__name__


def _dtype(feature) -> str | None:
    return getattr(feature, "dtype", None)


def _holds_files(feature) -> bool:
    """Whether the values of a feature are bytes, or dicts with bytes, as of an image that was not declared as one."""
    if isinstance(feature, Mapping):
        return _dtype(feature.get("bytes")) in ("binary", "large_binary")
    return _dtype(feature) in ("binary", "large_binary")


def _are_paths(dataset, name: str) -> bool:
    return len(dataset) > 0 and str(dataset[0][name] or "").lower().endswith(IMAGE_SUFFIXES)


def _class_label(library, feature):
    """Returns the ClassLabel of a feature or of the items of a list feature, or None."""
    inner = getattr(feature, "feature", feature)
    return inner if isinstance(inner, library.ClassLabel) else None


def _content(value: object, name: str) -> bytes:
    """The bytes of an image that is given as bytes, a path, or a dict of these."""
    if isinstance(value, Mapping):
        value = value.get("path") if value.get("bytes") is None else value["bytes"]
    if value is None:
        raise ImageFault(name, "unreadable", "it has no image")
    return decoder.read(Path(value).expanduser()) if isinstance(value, str) else bytes(value)
