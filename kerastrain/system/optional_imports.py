"""Imports libraries that only some users need, and names the extra that installs a missing one.

Takes the name of a module, returns the module. Must not import any of them at the top level.
"""

import importlib
import importlib.util
from types import ModuleType

from kerastrain.errors import InputError


class MissingExtra(InputError, ImportError):
    """An optional library is not installed; the message says how to install it."""


EXTRAS = {
    "kerashub": (("keras_hub", "safetensors"), "open a network of KerasHub, Hugging Face or timm"),
    "language": (("tokenizers", "safetensors"), "open a language model"),
    "int4": (("ai_edge_quantizer",), "write weights of four bits"),
    "mlflow": (("mlflow",), "track runs with MLflow"),
    "onnx": (("tf2onnx", "onnxruntime"), "write ONNX files"),
    "tpe": (("hyperopt",), "search with tpe"),
    "wandb": (("wandb",), "track runs with Weights & Biases"),
}
"""The libraries of the extras that a run needs only at its end, and what they are for."""


def require(extra: str) -> None:
    """Checks that the libraries of an extra are installed, without importing them.

    Args:
        extra: str, a key of `EXTRAS`.

    Raises:
        MissingExtra: a library is not installed; the message is that of `need`.
    """
    libraries, purpose = EXTRAS[extra]
    for library in libraries:
        if importlib.util.find_spec(library) is None:
            raise MissingExtra(_message(library, extra, purpose))


def need(module: str, *, extra: str, to: str) -> ModuleType:
    """Imports an optional module.

    Args:
        module: str, dotted name of the module.
        extra: str, the extra of kerastrain that installs it.
        to: str, the purpose, such as "read a Parquet file".

    Returns:
        the module.

    Raises:
        MissingExtra: the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra(_message(module, extra, to, f" ({error})")) from error


def _message(module: str, extra: str, purpose: str, reason: str = "") -> str:
    library = module.partition(".")[0]
    return f"to {purpose}, kerastrain needs {library}. Install it: pip install 'kerastrain[{extra}]'.{reason}"
