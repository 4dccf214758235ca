"""Which handles name a pretrained network of KerasHub, Hugging Face or timm. Must not import TensorFlow."""

import os
import re
from pathlib import Path

from kerastrain.errors import InputError

KERASHUB, HUGGING_FACE = "kerashub:", "hf:"

_REPOSITORY = re.compile(r"(?P<name>[\w.-]+(/[\w.-]+)?)(@(?P<revision>[\w./-]+))?")
# Files that only such folders have; a SavedModel beside them counts more, because it runs as it is.
_FILES = (
    *(
        "config.json",
        "task.json",
        "preprocessor.json",
        "tokenizer.json",
        "preprocessor_config.json",
        "tokenizer_config.json",
    ),
    *("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin", "*.gguf", "tf_model.h5", "flax_model.msgpack"),
    *("model.weights.h5", "model.weights.json", "*.incomplete", "modules.json", "adapter_config.json"),
)
_OTHERS = ("saved_model.pb", "saved_model.pbtxt", "model.json", "model.keras")


def is_preset(handle: object) -> bool:
    """Whether a handle names a pretrained network of KerasHub, Hugging Face or timm.

    Args:
        handle: object, such as a value of `model.backbone`.

    Returns:
        bool: True for "kerashub:NAME", "hf:OWNER/NAME" and folders with files of these formats; False for SavedModels,
        `.keras` files, "keras:NAME", URLs, models and what does not exist.

    Example:
        >>> is_preset("hf:google/vit-base-patch16-224"), is_preset("keras:MobileNet")
        (True, False)
    """
    if not isinstance(handle, str | os.PathLike):
        return False
    location = os.fspath(handle)
    if location.startswith((KERASHUB, HUGGING_FACE)):
        return True
    folder = Path(location).expanduser()
    if not folder.is_dir() or any((folder / name).exists() for name in _OTHERS):
        return False
    return any(next(folder.glob(pattern), None) for pattern in (*_FILES, "*/config.json", "snapshots/*/config.json"))


def repository(handle: str) -> tuple[str, str | None]:
    """The repository and the revision of a handle "hf:OWNER/NAME@REVISION".

    Args:
        handle: str.

    Returns:
        (str, str or None).

    Raises:
        InputError: the handle has another form.

    Example:
        >>> repository("hf:google/vit-base-patch16-224@3f49326")
        ('google/vit-base-patch16-224', '3f49326')
    """
    name = handle.removeprefix(HUGGING_FACE)
    match = _REPOSITORY.fullmatch(name)
    if match is None:
        meant = name.removeprefix("//")  # as in the handles of KerasHub and huggingface_hub
        hint = f" Did you mean {HUGGING_FACE}{meant}?" if meant != name and _REPOSITORY.fullmatch(meant) else ""
        raise InputError(
            f"a handle of Hugging Face has the form `hf:OWNER/NAME` or `hf:OWNER/NAME@REVISION`. Received: {handle!r}.{hint}"
        )
    return match["name"], match["revision"]
