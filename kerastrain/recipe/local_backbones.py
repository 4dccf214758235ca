"""The pretrained backbones that are on this machine: those that ship with kerastrain, and those in the usual caches.

Takes nothing; returns handles for `model.backbone`. Must not import TensorFlow or open a network connection.
"""

import os
from pathlib import Path

from kerastrain.hub import cache, imagenet_weights
from kerastrain.hub.bundled import bundled
from kerastrain.keras_internals.kerashub_presets import builtin_presets
from kerastrain.presets.architectures import FAMILIES
from kerastrain.recipe import networks


def found(kind: str) -> tuple[str, ...]:
    """The handles of the backbones on this machine.

    Args:
        kind: "images" or "text".

    Returns:
        tuple of str: the bundled backbones, `keras:NAME` whose ImageNet weights are in Keras's cache (images only), the
        addresses of the modules in TF Hub's cache, `hf:OWNER/NAME` for Hugging Face's, and `kerashub:PRESET` for the presets
        of the kind in Kaggle's. Whether one of TF Hub or Hugging Face is for images or texts is not known before it is opened.
    """
    of_images = (*(f"kerastrain:{name}" for name in bundled()), *_keras()) if kind == "images" else ()
    return (*of_images, *_hub_modules(), *_hugging_face(), *_kerashub(kind))


def _keras() -> list[str]:
    names = [name for name in networks.IMAGE_NETWORKS if imagenet_weights.location(name)[1].is_file()]
    return [f"keras:{name}" for name in names]


def _hub_modules() -> list[str]:
    """The addresses in the files "<hash>.descriptor.txt" that TF Hub writes beside each module."""
    addresses = []
    for file in sorted(cache.root().glob("*.descriptor.txt")):
        first = file.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
        if first.startswith("Module: ") and file.with_name(file.name.removesuffix(".descriptor.txt")).is_dir():
            addresses.append(first.removeprefix("Module: ").strip())
    return addresses


def _hugging_face() -> list[str]:
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    place = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
    folders = [
        folder for folder in sorted(place.glob("models--*")) if next(folder.glob("snapshots/*/config.json"), None)
    ]
    return [f"hf:{folder.name.removeprefix('models--').replace('--', '/', 1)}" for folder in folders]


def _kerashub(kind: str) -> list[str]:
    """The presets whose files kagglehub keeps in models/OWNER/MODEL/FRAMEWORK/VARIATION/VERSION."""
    cache = Path(os.environ.get("KAGGLEHUB_CACHE") or "~/.cache/kagglehub").expanduser() / "models"
    names = []
    for name, preset in builtin_presets().items() if cache.is_dir() else ():
        facts, folder = FAMILIES.get(preset.family), cache / preset.address.removeprefix("kaggle://")
        is_built = facts is not None and facts.kind == kind and "kerashub" in facts.origins
        if is_built and (folder / "config.json").is_file() and (folder / "model.weights.h5").is_file():
            names.append(f"kerashub:{name}")
    return names
