"""What a handle of a pretrained network names, before TensorFlow starts.

Takes a handle; returns a `Preset`, or refuses it in one sentence. Must not import TensorFlow or KerasHub.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kerastrain.errors import InputError, unknown
from kerastrain.keras_internals.kerashub_presets import Builtin, builtin_presets
from kerastrain.presets import downloads, folders, language_configs
from kerastrain.presets.architectures import FAMILIES, known
from kerastrain.presets.handles import HUGGING_FACE, KERASHUB, repository
from kerastrain.system import optional_imports

_MOST_NAMED = 40


@dataclass(frozen=True)
class Preset:
    """A pretrained network and what its files say about it.

    Args:
        handle: str, as the user gave it.
        location: str, the folder of its files, which KerasHub's `from_preset` takes. Without `is_fetched`, the folder holds
            its JSON files only.
        origin: "kerashub", "transformers" or "timm", the format of the files.
        architecture: str, the network as its config.json names it, such as "BertBackbone", "dinov2" or "resnet50"; of a
            language model the model type of Hugging Face, such as "llama".
        family: str, the network's family in KerasHub, such as "bert".
        kind: "images" or "text", what it computes features of; "language" for a language model.
        image_size: (height, width) in pixels of the images that its preprocessing makes; None for texts and where
            nothing says it.
        config: mapping, the content of config.json; of a language model that of Hugging Face, see `language_configs`.
        preprocessing: mapping, see `folders.preprocessing`.
        tensors: mapping from the names of the weights in safetensors files to their shapes.
        is_fetched: bool, whether the weights are in `location`.
        notes: tuple of str, what of it is assumed or left out, lines for the user.
    """

    handle: str
    location: str
    origin: str
    architecture: str
    family: str
    kind: str
    image_size: tuple[int, int] | None = None
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    preprocessing: Mapping[str, Any] = field(default_factory=dict, repr=False)
    tensors: Mapping[str, tuple[int, ...]] = field(default_factory=dict, repr=False)
    is_fetched: bool = True
    notes: tuple[str, ...] = ()


def read(handle: str | os.PathLike, *, kind: str | None = None, needs_weights: bool = True) -> Preset:
    """Reads what a pretrained network is; of one that must be downloaded, its JSON files only.

    | handle | network |
    |---|---|
    | "kerashub:NAME" | a preset that KerasHub ships, downloaded from Kaggle |
    | "hf:OWNER/NAME", "hf:OWNER/NAME@REVISION" | a repository of Hugging Face, downloaded, or the copy in its cache |
    | folder | files of Hugging Face, timm, or of `save_to_preset` of KerasHub |

    Args:
        handle: str or path, as in the table.
        kind: "images" or "text", the data that it must be for; "language" for a language model; None for images or texts.
        needs_weights: bool, whether a folder must hold its weights, and not only its JSON files.

    Returns:
        Preset.

    Raises:
        InputError: it is for other data, KerasHub does not build it, or its files are incomplete, damaged or quantized.
        MissingExtra: KerasHub, for its presets, or the library that downloads from Hugging Face is not installed.
        FileNotFoundError: a folder does not exist.
        ConnectionError: it must be downloaded and the server does not answer.
    """
    text = os.fspath(handle)
    if text.startswith(KERASHUB):
        require_kerashub()
        builtin = _builtin(text, kind)
        names = ("config.json",), ("preprocessor.json", "image_converter.json", "tokenizer.json")
        if kind == "language":
            names = ("config.json", "tokenizer.json"), downloads.VOCABULARIES
        return _from_folder(text, downloads.kaggle(text, builtin, *names), kind, is_fetched=False)
    if text.startswith(HUGGING_FACE):
        name, revision = repository(text)
        folder = downloads.hugging_face(text, name, revision, weights=False)
        return _from_folder(text, folder, kind, is_fetched=downloads.has_weights(folder))
    folder = Path(text).expanduser()
    folders.check_exists(text, kind)
    return _from_folder(text, folder, kind, is_fetched=needs_weights)


def fetch(preset: Preset) -> Preset:
    """Downloads the weights that `read` left, and checks them.

    Args:
        preset: Preset from `read`.

    Returns:
        Preset, complete, whose `location` KerasHub's `from_preset` opens without a network.

    Raises:
        InputError: the files are incomplete, damaged or quantized.
        ConnectionError: the server does not answer.
    """
    if preset.is_fetched:
        return preset
    if preset.handle.startswith(KERASHUB):
        names = ["config.json", "model.weights.h5"]
        if preset.kind in ("text", "language"):
            names.append("tokenizer.json")
        builtin = builtin_presets()[preset.handle.removeprefix(KERASHUB)]
        optional = ("preprocessor.json", "image_converter.json", *downloads.VOCABULARIES)
        folder = downloads.kaggle(preset.handle, builtin, tuple(names), optional)
    else:
        folder = downloads.hugging_face(preset.handle, *repository(preset.handle), weights=True)
    return _from_folder(preset.handle, folder, preset.kind, is_fetched=True)


def _from_folder(handle: str, folder: Path, kind: str | None, *, is_fetched: bool) -> Preset:
    origin, content = folders.read_config(folder)
    architecture, family = folders.family_of(origin, content, kind, handle)
    tensors = folders.check_files(folder, origin, content, family) if is_fetched else {}
    preprocessing, notes = folders.preprocessing(folder, origin, content), ()
    if FAMILIES[family].kind == "language":
        model = language_configs.read(handle, folder, origin, content, tensors if is_fetched else None)
        content, tensors, notes, architecture = model.config, model.tensors, model.notes, model.config["model_type"]
    return Preset(
        handle=handle,
        location=str(folder),
        origin=origin,
        architecture=architecture,
        family=family,
        kind=FAMILIES[family].kind,
        image_size=image_size(origin, content, preprocessing) if FAMILIES[family].kind == "images" else None,
        config=content,
        preprocessing=preprocessing,
        tensors=tensors,
        is_fetched=is_fetched,
        notes=notes,
    )


def image_size(origin: str, content: Mapping[str, Any], preprocessing: Mapping[str, Any]) -> tuple[int, int] | None:
    """The size of the images that a network's preprocessing makes.

    Args:
        origin: as in `Preset`.
        content: mapping, the content of config.json.
        preprocessing: mapping, as in `Preset`.

    Returns:
        (height, width) in pixels, or None.

    Example:
        >>> image_size("transformers", {"image_size": 518}, {"size": {"shortest_edge": 256}, "crop_size": 224})
        (224, 224)
    """
    candidates = {
        "transformers": (
            preprocessing.get("crop_size") if preprocessing.get("do_center_crop", True) else None,
            preprocessing.get("size"),
            content.get("image_size"),
        ),
        "timm": ((preprocessing.get("input_size") or (None,))[1:],),
        "kerashub": (
            preprocessing.get("image_size"),
            ((preprocessing.get("image_converter") or {}).get("config") or {}).get("image_size"),
            ((content.get("config") or {}).get("image_shape") or ())[:2],
        ),
    }[origin]
    return next((size for candidate in candidates if (size := _height_and_width(candidate))), None)


def _height_and_width(value: Any) -> tuple[int, int] | None:
    if isinstance(value, Mapping):
        side = value.get("shortest_edge")
        value = (value.get("height", side), value.get("width", side))
    if isinstance(value, int):
        value = (value, value)
    if isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(side, int) for side in value):
        return tuple(value)
    return None


def _builtin(handle: str, kind: str | None) -> Builtin:
    name, presets = handle.removeprefix(KERASHUB), builtin_presets()
    if name in presets:
        family = presets[name].family
        facts = FAMILIES.get(family)
        folders.check_kind(handle, family, facts.kind if facts else "other", "kerashub", kind)
        if "kerashub" in facts.origins:
            return presets[name]
    families = [family for each in ((kind,) if kind else ("images", "text")) for family in known("kerashub", each)]
    if not families:
        raise InputError(
            f"`model.backbone`: kerastrain builds no network of images from the files of KerasHub. Received: {handle!r}. Give a "
            "folder of Hugging Face or timm, or hf:OWNER/NAME."
        )
    if name in presets:
        raise InputError(
            f"`model.backbone`: {handle!r} is a network of the family {family}, which kerastrain does not build from the files "
            f"of KerasHub. Choose one of {', '.join(families)}."
        )
    usable = [other for other, builtin in presets.items() if builtin.family in families]
    message = unknown("preset of KerasHub", name, usable)
    if len(usable) > _MOST_NAMED:  # The whole list would hide the suggestion.
        hint = message.rpartition(" Did you mean ")
        families = sorted({presets[other].family for other in usable})
        advice = f" Did you mean {hint[2]}" if hint[1] else ""
        message = f"unknown preset of KerasHub {name!r}. It has {len(usable)}, of {', '.join(families)}.{advice}"
    raise InputError(f"`model.backbone`: {message}")


def require_language() -> None:
    """Checks that the libraries for language models are installed, without importing them.

    Raises:
        InputError: this Python is too old for them.
        MissingExtra: one is not installed.
    """
    if sys.version_info < (3, 11):
        raise InputError(
            "language models need Python 3.11 or later, for which Keras has their layers. Received: Python "
            f"{sys.version_info[0]}.{sys.version_info[1]}."
        )
    optional_imports.require("language")


def require_kerashub() -> None:
    """Checks that KerasHub is installed, without importing it.

    Raises:
        InputError: this Python is too old for it.
        MissingExtra: it is not installed.
    """
    if sys.version_info < (3, 11):
        raise InputError(
            "networks of KerasHub, Hugging Face and timm need Python 3.11 or later, for which KerasHub exists. Received: "
            f"Python {sys.version_info[0]}.{sys.version_info[1]}."
        )
    optional_imports.require("kerashub")
