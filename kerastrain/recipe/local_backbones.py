"""The pretrained backbones that are on this machine: those that ship with kerastrain, and those in the usual caches.

Takes nothing; returns handles for `model.backbone`. Must not import TensorFlow or open a network connection.
"""

import os
import tempfile
from pathlib import Path

from kerastrain.hub import imagenet_weights
from kerastrain.hub.bundled import bundled
from kerastrain.recipe import networks


def found(kind: str) -> tuple[str, ...]:
    """The handles of the backbones on this machine.

    Args:
        kind: "images" or "text".

    Returns:
        tuple of str: the bundled backbones, `keras:NAME` whose ImageNet weights are in Keras's cache (images only), the
        addresses of the modules in TF Hub's cache, and `hf:OWNER/NAME` for Hugging Face's. Whether a module is one for
        images or texts is not known before it is opened.
    """
    of_images = (*(f"kerastrain:{name}" for name in bundled()), *_keras()) if kind == "images" else ()
    return (*of_images, *_hub_modules(), *_hugging_face())


def _keras() -> list[str]:
    names = [name for name in networks.IMAGE_NETWORKS if imagenet_weights.location(name)[1].is_file()]
    return [f"keras:{name}" for name in names]


def _hub_modules() -> list[str]:
    """The addresses in the files "<hash>.descriptor.txt" that TF Hub writes beside each module."""
    cache = Path(os.environ.get("TFHUB_CACHE_DIR") or Path(tempfile.gettempdir(), "tfhub_modules")).expanduser()
    addresses = []
    for file in sorted(cache.glob("*.descriptor.txt")):
        first = file.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
        if first.startswith("Module: ") and file.with_name(file.name.removesuffix(".descriptor.txt")).is_dir():
            addresses.append(first.removeprefix("Module: ").strip())
    return addresses


def _hugging_face() -> list[str]:
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
    folders = [
        folder for folder in sorted(cache.glob("models--*")) if next(folder.glob("snapshots/*/config.json"), None)
    ]
    return [f"hf:{folder.name.removeprefix('models--').replace('--', '/', 1)}" for folder in folders]
