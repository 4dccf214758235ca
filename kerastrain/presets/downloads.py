"""Fetches the files of pretrained networks from Hugging Face and Kaggle, or from their caches without a network.

Takes the names of repositories; returns folders. A machine without a network fails at once. Must not import TensorFlow or
KerasHub.
"""

from pathlib import Path
from types import ModuleType

from kerastrain.errors import InputError
from kerastrain.keras_internals.kerashub_presets import Builtin
from kerastrain.presets import files
from kerastrain.system import network, optional_imports

_PURPOSE = {"extra": "kerashub", "to": "download a preset of KerasHub"}
_SMALL = ("*.json", "*.txt", "*.model", "*.jinja", "assets/tokenizer/*", "LICENSE*", "NOTICE*")
_LARGE = ("model.safetensors", "model-*-of-*.safetensors", "*.weights.h5", "assets/**")
VOCABULARIES = tuple(f"assets/tokenizer/{name}" for name in ("vocabulary.json", "merges.txt", "vocabulary.spm"))
"""The files of a tokenizer in a preset of KerasHub that a language model may have."""

_ROUTE = "Download its files on a machine with internet access, and give their folder as `model.backbone`"


def hugging_face(handle: str, repository: str, revision: str | None, *, weights: bool) -> Path:
    """The local folder of a repository of Hugging Face.

    The copy in the cache (`HF_HOME`) counts if it has the files, so that a machine without a network, and every later run,
    uses the same ones; otherwise the files are downloaded.

    Args:
        handle: str, for messages.
        repository: str, "OWNER/NAME".
        revision: str, a branch, tag or commit; None for the main branch.
        weights: bool, whether the weights are needed too.

    Returns:
        Path.

    Raises:
        InputError: the repository or the revision does not exist, or its terms must be accepted first.
        ConnectionError: Hugging Face does not answer.
    """
    huggingface_hub, constants, errors = _library(), _library("constants"), _library("errors")
    options = {"repo_id": repository, "revision": revision}
    patterns = [*_SMALL, *(_LARGE if weights else ())]
    cached = _cached_snapshot(options, patterns)
    if cached is not None and has_weights(cached):
        return cached
    endpoint = constants.ENDPOINT
    if constants.HF_HUB_OFFLINE or not network.reachable(endpoint):
        what = f"{handle!r} is" if cached is None else f"the weights of {handle!r} are"
        why = "HF_HUB_OFFLINE forbids to download it" if constants.HF_HUB_OFFLINE else f"{endpoint} does not answer"
        place = f"the cache of Hugging Face, {constants.HF_HUB_CACHE!r}"
        raise ConnectionError(f"{what} not in {place}, and {why}. {_ROUTE}.")
    if cached is not None and not weights:
        return cached
    try:
        return Path(huggingface_hub.snapshot_download(**options, allow_patterns=patterns))
    except errors.GatedRepoError:
        raise InputError(
            f"{handle!r} is gated: accept its terms at {endpoint}/{repository}, and log in with `hf auth login`."
        ) from None
    except errors.RevisionNotFoundError:
        raise InputError(f"{handle!r}: the repository has no revision {revision!r}.") from None
    except errors.RepositoryNotFoundError:
        raise InputError(
            f"{handle!r}: Hugging Face has no such repository, or it is private: then log in with `hf auth login`."
        ) from None
    except errors.HFValidationError as error:
        raise InputError(f"{handle!r} is no name of a repository: {error}") from None
    except Exception as error:  # requests, httpx and huggingface_hub raise unrelated classes for a broken download
        reason = " ".join(str(error).split())[:200]
        raise ConnectionError(f"{handle!r} could not be downloaded: {reason}. {_ROUTE}.") from error


def kaggle(handle: str, builtin: Builtin, names: tuple[str, ...], optional: tuple[str, ...] = ()) -> Path:
    """The local folder of a preset that KerasHub ships, with some of its files.

    Args:
        handle: str, for messages.
        builtin: Builtin.
        names: tuple of str, the files that are needed.
        optional: tuple of str, files that it may have.

    Returns:
        Path.

    Raises:
        InputError: the preset's terms must be accepted first.
        ConnectionError: Kaggle does not answer.
    """
    kagglehub = optional_imports.need("kagglehub", **_PURPOSE)
    cache = optional_imports.need("kagglehub.cache", **_PURPOSE)
    parse_model_handle = optional_imports.need("kagglehub.handle", **_PURPOSE).parse_model_handle
    address = builtin.address.removeprefix("kaggle://")
    parsed = parse_model_handle(address)
    held = [cache.get_cached_path(parsed)] if cache.Cache().load_from_cache(parsed) else []
    if not held:
        held = [cache.Cache().load_from_cache(parsed, name) for name in names]
        if not all(held):
            if not network.reachable("https://www.kaggle.com"):
                raise ConnectionError(
                    f"{handle!r} is not in the cache of Kaggle, and https://www.kaggle.com does not answer. {_ROUTE}."
                )
            held = [_kaggle_file(kagglehub, handle, address, name) for name in names]
            for name in optional:
                _kaggle_file(kagglehub, handle, address, name, is_optional=True)
    folder = Path(held[0])
    return folder if folder.is_dir() else Path(cache.get_cached_path(parsed))


def _kaggle_file(kagglehub, handle: str, address: str, name: str, is_optional: bool = False) -> str | None:
    try:
        return kagglehub.model_download(address, name)
    except Exception as error:  # kagglehub and requests raise unrelated classes
        text = " ".join(str(error).split())
        if is_optional and ("404" in text or "not present" in text):
            return None
        if "403" in text:
            raise InputError(
                f"{handle!r} is gated: accept its terms on kaggle.com, and log in with the file ~/.kaggle/kaggle.json."
            ) from None
        raise ConnectionError(f"{handle!r} could not be downloaded: {text[:200]}. {_ROUTE}.") from error


def _library(part: str = "") -> ModuleType:
    name = f"huggingface_hub.{part}".rstrip(".")
    return optional_imports.need(name, extra="kerashub", to="download a network of Hugging Face")


def _cached_snapshot(options: dict, patterns: list[str]) -> Path | None:
    huggingface_hub, errors = _library(), _library("errors")
    try:
        folder = Path(huggingface_hub.snapshot_download(**options, allow_patterns=patterns, local_files_only=True))
    except errors.HFValidationError as error:
        raise InputError(f"{options['repo_id']!r} is no name of a repository: {error}") from None
    except (errors.LocalEntryNotFoundError, FileNotFoundError, ValueError):
        return None
    return folder if (folder / "config.json").is_file() else None


def has_weights(folder: Path) -> bool:
    """Whether the weights of a repository are in its folder of the cache.

    Args:
        folder: Path.

    Returns:
        bool.
    """
    for name in ("model.safetensors.index.json", "model.weights.json"):
        if (folder / name).is_file():
            values = files.read_json(folder / name).get("weight_map", {}).values()
            return all((folder / shard).is_file() for shard in files.shards(values))
    return any((folder / name).is_file() for name in ("model.safetensors", "model.weights.h5"))
