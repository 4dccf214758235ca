"""Whether the files of a pretrained network are there and whole, judged by their first bytes and their sizes.

Takes a folder; returns what its files say or raises errors that say what is wrong. Must not read weights or import
TensorFlow.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import h5py

from kerastrain.errors import InputError

_LFS = b"version https://git-lfs.github.com/spec/v1"
_MOST_HEADER = 100_000_000  # bytes, the limit of the safetensors library
_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"
_PARTS = ("*.incomplete", "*.part", "*.crdownload", "*.aria2", "*.tmp", ".cache/huggingface/download/**/*.incomplete")
_DTYPES = ("F64", "F32", "F16", "BF16", "I64", "I32", "BOOL")  # what networks that are not quantized hold


def read_json(path: Path) -> dict:
    """The content of a JSON file.

    Args:
        path: Path.

    Returns:
        dict.

    Raises:
        InputError: the file is a pointer of Git LFS, or no JSON object.
    """
    refuse_pointer(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise InputError(f"{str(path)!r} is no JSON file ({error}): it may be cut off. Download it again.") from None
    if not isinstance(content, dict):
        raise InputError(f"{str(path)!r} must hold a JSON object. Received: {type(content).__name__}.")
    return content


def refuse_pointer(path: Path) -> None:
    """Raises an error if a file is a pointer of Git LFS instead of its content.

    Args:
        path: Path of a file that exists.

    Raises:
        InputError: it is a pointer.
    """
    with open(path, "rb") as file:
        if file.read(len(_LFS)) == _LFS:
            raise InputError(
                f"{str(path)!r} is a pointer of Git LFS instead of the file. Run `git lfs pull` in {str(path.parent)!r}."
            )


def check_safetensors(folder: Path) -> dict[str, tuple[int, ...]]:
    """Checks the weights in the safetensors format.

    Args:
        folder: Path with "model.safetensors", or its index and shards.

    Returns:
        dict from the name of each tensor to its shape.

    Raises:
        InputError: weights are missing, cut off, quantized or in another format.
    """
    shapes = {}
    for path in safetensors_files(folder):
        shapes.update(check_file(path))
    return shapes


def safetensors_files(folder: Path) -> list[Path]:
    """The files that hold the weights of a folder.

    Args:
        folder: Path with "model.safetensors", or its index and shards.

    Returns:
        list of Path, which exist.

    Raises:
        InputError: weights are missing or in another format.
    """
    if (folder / _INDEX).is_file():
        names = shards(read_json(folder / _INDEX).get("weight_map", {}).values())
        if not names:
            raise InputError(f"{str(folder / _INDEX)!r} names no weights. Download it again.")
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise InputError(
                f"{str(folder)!r} is half downloaded: {missing[0]} is missing, one of {len(names)} files of weights that "
                f"{_INDEX} names{_unfinished(folder)}. Download it again."
            )
        return [folder / name for name in names]
    if (folder / _SINGLE).is_file():
        return [folder / _SINGLE]
    raise InputError(_no_weights(folder))


def check_h5(folder: Path) -> None:
    """Checks the weights in the format of Keras.

    Args:
        folder: Path with "model.weights.h5", or "model.weights.json" and its shards.

    Raises:
        InputError: weights are missing or cut off.
    """
    for path in h5_files(folder):
        if not path.is_file():
            raise InputError(
                f"{str(folder)!r} is half downloaded: it holds no {path.name}, the weights{_unfinished(folder)}. Download it "
                "again."
            )
        refuse_pointer(path)
        try:
            h5py.File(path, "r").close()
        except OSError as error:
            reason = " ".join(str(error).split())[:120]
            raise InputError(f"{str(path)!r} is cut off or damaged ({reason}). Download it again.") from None


def h5_files(folder: Path) -> list[Path]:
    """The files that hold the weights of a folder in the format of Keras.

    Args:
        folder: Path with "model.weights.h5", or "model.weights.json" and its shards.

    Returns:
        list of Path, which may be missing.
    """
    index = folder / "model.weights.json"
    if (folder / "model.weights.h5").is_file() or not index.is_file():
        return [folder / "model.weights.h5"]
    return [folder / name for name in shards(read_json(index).get("weight_map", {}).values())]


def shards(values: Iterable[str | list[str]]) -> list[str]:
    """The files that an index of weights names.

    Args:
        values: iterable of the values of its "weight_map", each a str or, in Keras's format, a list of str.

    Returns:
        list of str, sorted, each once.

    Example:
        >>> shards(["b", ["a", "b"]])
        ['a', 'b']
    """
    return sorted({name for value in values for name in (value if isinstance(value, list) else [value])})


def check_file(path: Path) -> dict[str, tuple[int, ...]]:
    """Checks a safetensors file.

    Args:
        path: Path of the file.

    Returns:
        dict from the name of each tensor to its shape.

    Raises:
        InputError: it is cut off, damaged or quantized.
    """
    refuse_pointer(path)
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size, _MOST_HEADER):
            raise InputError(
                f"{str(path)!r} is cut off or no safetensors file: it has {size:,} bytes. Download it again."
            )
        try:
            header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            whole = 8 + length + max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
            dtypes = {tensor["dtype"] for tensor in header.values()}
            shapes = {name: tuple(tensor["shape"]) for name, tensor in header.items()}
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            raise InputError(f"{str(path)!r} is damaged: its header is no JSON. Download it again.") from None
    if size != whole:
        what = "is cut off" if size < whole else "is damaged"
        raise InputError(f"{str(path)!r} {what}: it has {size:,} of {whole:,} bytes. Download it again.")
    if other := sorted(dtypes.difference(_DTYPES)):
        raise InputError(
            f"{str(path)!r} holds quantized weights ({', '.join(other)}), which cannot be fine-tuned here. Give the folder of "
            "the network before its quantization."
        )
    return shapes


def _no_weights(folder: Path) -> str:
    start = f"{str(folder)!r} holds no {_SINGLE}"
    if (folder / (name := "pytorch_model.bin")).is_file():
        return (
            f"{start}, only weights of PyTorch ({name}), which may run code when they are opened. Convert them: python -c "
            f"\"import torch, safetensors.torch as s; s.save_file({{k: v.clone() for k, v in torch.load('{folder / name}', "
            f"weights_only=True).items()}}, '{folder / _SINGLE}')\"."
        )
    if any(folder.glob("pytorch_model-*.bin")):
        return (
            f'{start}, only weights of PyTorch in several files. Convert them with the library transformers: python -c "from '
            f"transformers import AutoModelForCausalLM as M; M.from_pretrained('{folder}').save_pretrained('{folder}')\"."
        )
    for pattern, what in (
        ("*.gguf", "GGUF"),
        ("*.pth", "PyTorch's checkpoints"),
        ("tf_model.h5", "TensorFlow"),
        ("flax_model.msgpack", "Flax"),
        ("**/*.onnx", "ONNX"),
    ):
        if any(folder.glob(pattern)):
            return (
                f"{start}, only weights in the format of {what}. Download the safetensors file of the same repository."
            )
    others = sorted(path.name for path in folder.glob("*.safetensors"))
    if len(others) == 1 and "-of-" not in others[0]:
        return f"{start}, but {others[0]}. Rename it, if it holds the whole network."
    if others:
        return f"{start}, but {others[0]} without {_INDEX}{_unfinished(folder)}. Download the folder again."
    return f"{start}, the weights{_unfinished(folder)}. Download the folder again."


def _unfinished(folder: Path) -> str:
    parts = [path for pattern in _PARTS for path in folder.glob(pattern)]
    return f" ({parts[0].name} is a download that was not finished)" if parts else ""
