"""What a module's handle says, and whether the files at a local one are a SavedModel.

Takes handles and paths; returns their parts or raises errors that say what is there instead. Must not import TensorFlow,
so that `kerastrain check` can refuse a wrong path.
"""

import re
from pathlib import Path

from kerastrain.errors import InputError

ARCHIVES = (".tar.gz", ".tgz", ".tar")
GRAPH_FILES = ("saved_model.pb", "saved_model.pbtxt")

_HUGGING_FACE = re.compile(  # how the libraries and the pages of Hugging Face write a repository
    r"(?:(?:https?://)?huggingface\.co/|hf://|hf[-_]hub:|(?P<timm>timm:))(?P<name>[\w.-]+(?:/[\w.-]+)?)(?:/.*)?"
)
_REPOSITORY = re.compile(r"\w[\w.-]*/[\w.-]+")
_PIN = re.compile(r"^(?P<location>.*?)#sha256=(?P<sha256>[0-9a-fA-F]*)$", re.DOTALL)
_HDF5 = (
    "a Keras model in HDF5. Open it with keras.models.load_model and save it as a .keras file, or, if Keras 2 wrote it, open "
    "it with tf_keras and save it as a SavedModel; then give that"
)
_TFLITE = "a TensorFlow Lite file, which cannot be trained. Give the SavedModel or .keras file that it was made from"
_TFJS = "a model of TensorFlow.js. Give the SavedModel that it was made from"
_PYTORCH = "it holds weights of PyTorch. Give a SavedModel or a .keras file"
_SAFETENSORS = "it holds weights without their network. Give its folder, which needs a config.json beside it"
_ZIP = "it is a zip archive. Unpack it and give the folder, or name it .keras if it is a saved Keras model"
_KINDS = {  # suffix -> what such a file is, and what to do
    **dict.fromkeys((".h5", ".hdf5"), f"it is {_HDF5}"),
    ".tflite": f"it is {_TFLITE}",
    ".onnx": "it is an ONNX file. Give a SavedModel or a .keras file",
    **dict.fromkeys((".pt", ".pth", ".bin"), _PYTORCH),
    ".safetensors": _SAFETENSORS,
    ".zip": _ZIP,
}
_SIGNATURES = {b"\x89HDF\r\n\x1a\n": f"it is {_HDF5}", b"PK\x03\x04": _ZIP}


def split_pin(handle: str) -> tuple[str, str | None]:
    """The location and the pinned fingerprint of a handle.

    Args:
        handle: str, such as "models/flowers#sha256=3fc9…".

    Returns:
        (str, str or None), the location and 64 lower-case hexadecimal digits, None without a pin.

    Raises:
        InputError: the pin is not 64 hexadecimal digits.

    Example:
        >>> split_pin("models/flowers")
        ('models/flowers', None)
    """
    match = _PIN.match(handle)
    if match is None:
        return handle, None
    if len(match["sha256"]) != 64:
        raise InputError(
            f"the pin of a handle must be `#sha256=` and 64 hexadecimal digits. Received: {handle!r}. "
            "`kerastrain doctor --backbone HANDLE` prints the right one."
        )
    return match["location"], match["sha256"].lower()


def hugging_face_handle(location: str) -> str | None:
    """The handle "hf:OWNER/NAME" that was probably meant by a location in the notation of another library.

    Args:
        location: str.

    Returns:
        str or None.

    Example:
        >>> hugging_face_handle("https://huggingface.co/google/vit-base-patch16-224/tree/main")
        'hf:google/vit-base-patch16-224'
        >>> hugging_face_handle("google/vit-base-patch16-224")
        'hf:google/vit-base-patch16-224'
        >>> hugging_face_handle("./google/vit-base-patch16-224")
    """
    match = _HUGGING_FACE.fullmatch(location)
    if match is not None:
        owner = "timm/" if match["timm"] and "/" not in match["name"] else ""
        return f"hf:{owner}{match['name']}"
    # The path of a file that is missing has an existing folder more often than not.
    if _REPOSITORY.fullmatch(location) and not Path(location).parent.exists():
        return f"hf:{location}"
    return None


def refuse_page(location: str) -> None:
    """Raises an error if a location is a page of Hugging Face, which holds no module of TF Hub.

    Args:
        location: str.

    Raises:
        InputError: it is one; the message names its handle.
    """
    if location.startswith(("http://huggingface.co/", "https://huggingface.co/")):
        meant = hugging_face_handle(location) or "hf:OWNER/NAME"
        raise InputError(f"a network of Hugging Face is named by {meant}, or by its folder. Received: {location!r}.")


def check_saved_model(folder: Path, location: str) -> None:
    """Checks that a path is the folder of a SavedModel.

    Args:
        folder: Path, the location on this machine.
        location: str, the location as the user gave it, for messages.

    Raises:
        FileNotFoundError: nothing exists there.
        InputError: it is something else; the message says what, and what to give instead.
    """
    if not folder.exists():
        raise FileNotFoundError(f"no SavedModel at {location!r}: the path does not exist.{_meant(location)}")
    if any((folder / name).is_file() for name in GRAPH_FILES):
        return
    if folder.is_file():
        raise InputError(f"{location!r} is no SavedModel, which is a folder: {_kind(folder)}.")
    hint = _hint(folder)
    raise InputError(f"{location!r} is no SavedModel: it holds no saved_model.pb.{f' {hint}.' if hint else ''}")


def _meant(location: str) -> str:
    if location == "auto":
        return (
            " Only `model.backbone` of a config is chosen by the size of the images: name kerastrain:efficientnet_lite0, for "
            "photos, or kerastrain:fractal_small, for tiny images."
        )
    if meant := hugging_face_handle(location):
        return f" Did you mean {meant}?"
    if Path(location).name != location:
        return ""
    return " Other networks are named as kerastrain:NAME, keras:NAME, hf:OWNER/NAME or kerashub:PRESET."


def _kind(file: Path) -> str:
    if file.name in GRAPH_FILES:
        return f"it is the graph of one. Give its folder, {str(file.parent)!r}"
    if file.name == "model.json":
        return f"it is {_TFJS}"
    if file.name == "config.json":
        return f"it names a network. Give its folder, {str(file.parent)!r}"
    if file.suffix.lower() in _KINDS:
        return _KINDS[file.suffix.lower()]
    with open(file, "rb") as content:
        head = content.read(8)
    if head[4:] == b"TFL3":
        return f"it is {_TFLITE}"
    return next((kind for start, kind in _SIGNATURES.items() if head.startswith(start)), "it is a file")


def _hint(folder: Path) -> str:
    inner = sorted(path.parent for name in GRAPH_FILES for path in folder.glob(f"*/{name}"))
    if (folder / "model.keras").is_file():
        return f"A run's model is {str(folder / 'model.keras')!r}"
    if inner:
        return f"Give the folder inside it, {' or '.join(repr(str(path)) for path in inner)}"
    if (folder / "variables").is_dir() or (folder / "assets").is_dir():
        return "It was one, whose graph is missing: copy it again"
    if models := sorted([*folder.glob("*.keras"), *folder.glob("*.h5")]):
        return f"It holds {models[0].name!r}" + (": give that file" if models[0].suffix == ".keras" else f", {_HDF5}")
    if any(folder.glob("*.index")) or (folder / "checkpoint").is_file():
        return "It holds a checkpoint, which is weights without their network: save the model as a SavedModel or .keras file"
    if not any(folder.iterdir()):
        return "It is empty: the download may have failed"
    if (folder / "model.json").is_file():
        return f"It holds {_TFJS}"
    if files := sorted(folder.glob("*.tflite")):
        return f"It holds {files[0].name!r}, {_TFLITE}"
    return ""
