"""What a folder with a pretrained network holds, read from its JSON files and checked for completeness.

Takes a folder; returns the parts of a `Preset`. Must not import TensorFlow or KerasHub.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kerastrain.errors import InputError, unknown
from kerastrain.presets import files
from kerastrain.presets.architectures import (
    CLASSES,
    FAMILIES,
    MODEL_TYPES,
    SIMILAR,
    TIMM,
    is_built,
    known,
    timm_family,
)

_MOST_NAMED = 3
_ADDRESS = re.compile(r"(https?://)?(www\.)?huggingface\.co/(?P<name>[\w.-]+/[\w.-]+).*")
_REPOSITORY = re.compile(r"(?P<name>[\w-][\w.-]*/[\w-][\w.-]*)")
_TASKS = ("CausalLM", "ConditionalGeneration")  # of the names of classes of networks that write text
_TOKENIZERS = {  # family -> the files of which KerasHub reads a Hugging Face tokenizer; the first is enough
    "albert": ("spiece.model",),
    "bert": ("vocab.txt", "sentencepiece.bpe.model", "tokenizer.json"),
    "deberta_v3": ("spm.model",),
    "distil_bert": ("vocab.txt", "tokenizer.json"),
    "electra": ("vocab.txt", "tokenizer.json"),
    "mpnet": ("vocab.txt", "tokenizer.json"),
    "roberta": ("vocab.json", "tokenizer.json"),
    "xlm_roberta": ("sentencepiece.bpe.model",),
}


def read_config(folder: Path) -> tuple[str, dict]:
    """Tells the format of a folder by its config.json.

    Args:
        folder: Path.

    Returns:
        ("kerashub", "transformers" or "timm"; dict, the content of config.json).

    Raises:
        InputError: there is no config.json, or it is of another library.
    """
    if not (folder / "config.json").is_file():
        raise InputError(_no_config(folder))
    content = files.read_json(folder / "config.json")
    for key, origin in (("registered_name", "kerashub"), ("model_type", "transformers"), ("architecture", "timm")):
        if isinstance(content.get(key), str):
            return origin, content
    raise InputError(
        f"{str(folder / 'config.json')!r} is of no network of KerasHub, Hugging Face or timm: it has none of the keys "
        "registered_name, model_type and architecture."
    )


def check_exists(handle: str, kind: str | None) -> None:
    """Raises an error if a handle is no folder.

    Args:
        handle: str.
        kind: "images", "text" or "language", the data; None for images or texts.

    Raises:
        InputError: it is a file.
        FileNotFoundError: it does not exist.
    """
    if Path(handle).expanduser().is_dir():
        return
    if Path(handle).expanduser().is_file():
        what = "a file of GGUF, whose weights cannot be fine-tuned here" if handle.endswith(".gguf") else "a file"
        raise InputError(
            f"`model.backbone` must be a folder with config.json, model.safetensors and tokenizer.json. Received: {handle!r}, "
            f"{what}. Give the folder of the network."
        )
    match = _ADDRESS.fullmatch(handle) or _REPOSITORY.fullmatch(handle)
    hint = f" Did you mean hf:{match['name']}?" if match else ""
    if kind == "language" and not hint:
        hint = " Give the folder of a language model that Hugging Face has, or hf:OWNER/NAME."
    raise FileNotFoundError(f"no folder at {handle!r}: the path does not exist.{hint}")


def family_of(origin: str, content: Mapping[str, Any], kind: str | None, handle: str) -> tuple[str, str]:
    """The architecture that a config.json names, and its family.

    Args:
        origin: as from `read_config`.
        content: mapping, as from `read_config`.
        kind: "images", "text" or "language", the data; None for images or texts.
        handle: str, for messages.

    Returns:
        (str, str), such as ("dinov2_with_registers", "dinov2").

    Raises:
        InputError: KerasHub does not build such networks from this format, or they are not for these data.
    """
    key, table = {
        "kerashub": ("registered_name", CLASSES),
        "transformers": ("model_type", MODEL_TYPES),
        "timm": ("architecture", TIMM),
    }[origin]
    name = content[key].rpartition(">")[2]
    library = {"kerashub": "KerasHub", "transformers": "Hugging Face", "timm": "timm"}[origin]
    family = timm_family(name) if origin == "timm" else table.get(name)
    is_meant = family is not None and FAMILIES[family].kind in (kind, "images", "text")
    if kind == "language":
        _check_language(handle, origin, name, family, content)
    if family is None or (is_meant and not is_built(origin, name, family)):
        similar = f" Use {SIMILAR[name]} instead." if origin == "transformers" and name in SIMILAR else ""
        names = [other for each in ([kind] if kind else ["images", "text"]) for other in known(origin, each)]
        raise InputError(
            f"{handle!r} is a network of {library} that kerastrain does not build: {unknown('architecture', name, names)}"
            f"{similar}"
        )
    check_kind(handle, name, FAMILIES[family].kind, origin, kind)
    return name, family


def _check_language(handle: str, origin: str, name: str, family: str | None, content: Mapping[str, Any]) -> None:
    """Raises an error if a network is no language model that is built."""
    built = known("transformers", "language")
    # The names of kinds differ by a letter, such as qwen2 and qwen3, so that the nearest one is another network.
    is_other = family is None or (
        FAMILIES[family].kind not in ("images", "text") and not is_built(origin, name, family)
    )
    if is_other:
        others = [what for what in ("vision", "audio") if f"{what}_config" in content]
        senses = {"vision": "images", "audio": "sounds"}
        reads = f", which reads {' and '.join(senses[what] for what in others)} too" if others else ""
        raise InputError(
            f"`model.backbone` must be a language model that kerastrain builds: {', '.join(built)}. Received: {handle!r}, a "
            f"network of the kind {name!r}{reads}. Give the folder of one of these."
        )
    classes = content.get("architectures") or []
    if wrong := [each for each in classes if "For" in str(each) and not str(each).endswith(_TASKS)]:
        raise InputError(
            f"`model.backbone` must be a language model, which writes text. Received: {handle!r}, a {wrong[0]}, which was "
            "trained for another task. Give the folder of the model that it was made of."
        )


def check_kind(handle: str, name: str, kind: str, origin: str, wanted: str | None) -> None:
    """Checks that a network computes features of the data.

    Args:
        handle: str, for messages.
        name: str, the architecture.
        kind: str, as in `architectures.Family`.
        origin: str, as from `read_config`.
        wanted: "images", "text" or "language", the data; None for images or texts.

    Raises:
        InputError: it is for other data or does another job.
    """
    if kind == wanted or (wanted is None and kind in ("images", "text")):
        return
    if wanted == "language":
        advice = f", or set data.kind={kind}" if kind in ("images", "text") else ""
        raise InputError(
            f"`model.backbone` must be a language model, which writes text. Received: {handle!r}, a network of the kind {name}. "
            f"Give the folder of one of {', '.join(known('transformers', wanted))}{advice}."
        )
    if kind in ("images", "text"):
        other = {"images": "images", "text": "texts"}
        names = known(origin, wanted)
        advice = f"Choose one of {', '.join(names)}, or set" if names else "Set"
        raise InputError(
            f"`model.backbone` must be for {other[wanted]}. Received: {handle!r}, a network of the kind {name}, which is for "
            f"{other[kind]}. {advice} data.kind={kind}."
        )
    jobs = {
        "language": "a language model, which writes text",
        "encoder": "a text encoder of a build that kerastrain does not read",
    }
    job = jobs.get(kind, "made for another job")
    names = [other for each in ([wanted] if wanted else ["images", "text"]) for other in known(origin, each)]
    is_chat = kind == "language" and is_built(origin, name, CLASSES.get(name, MODEL_TYPES.get(name)))
    raise InputError(
        f"`model.backbone` must compute features to classify. Received: {handle!r}, a network of the kind {name}, which is "
        f"{job}. Choose one of: {', '.join(names)}{', or set data.kind=chat' if is_chat else ''}."
    )


def check_files(folder: Path, origin: str, content: Mapping[str, Any], family: str) -> dict[str, tuple[int, ...]]:
    """Checks that a folder is complete.

    Args:
        folder: Path.
        origin: as from `read_config`.
        content: mapping, as from `read_config`.
        family: str, a key of `FAMILIES`.

    Returns:
        dict from the names of the tensors to their shapes; empty for KerasHub's format.

    Raises:
        InputError: files are missing, cut off, or hold quantized weights.
    """
    method = (content.get("quantization_config") or {}).get("quant_method", "")
    if content.get("quantization_config") or _quantized_keras(content):
        raise InputError(
            f"{str(folder)!r} holds quantized weights{f' ({method})' if method else ''}, which cannot be fine-tuned here. "
            "Give the folder of the network before its quantization."
        )
    if FAMILIES[family].kind == "language" and origin == "transformers":
        _check_language_tokenizer(folder)
    is_text = FAMILIES[family].kind in ("text", "language")
    if origin == "kerashub":
        if is_text and not (folder / "tokenizer.json").is_file():
            raise InputError(_no_tokenizer(folder, ("tokenizer.json",)))
        files.check_h5(folder)
        return {}
    names = _TOKENIZERS.get(family, ())
    if is_text and names and not any((folder / name).is_file() for name in names):
        raise InputError(_no_tokenizer(folder, names))
    for name in (*names, "merges.txt"):
        if (folder / name).is_file():
            files.refuse_pointer(folder / name)
    return files.check_safetensors(folder)


def preprocessing(folder: Path, origin: str, content: Mapping[str, Any]) -> dict:
    """What a folder says about how its network's inputs are made.

    Args:
        folder: Path.
        origin: as from `read_config`.
        content: mapping, as from `read_config`.

    Returns:
        dict: for "transformers" the content of preprocessor_config.json, else of tokenizer_config.json; for "timm" the
        "pretrained_cfg"; for "kerashub" the config of its image converter, else of its preprocessor. Empty if there is
        none.

    Raises:
        InputError: a file is no JSON object.
    """
    if origin == "timm":
        return dict(content.get("pretrained_cfg") or {})
    names = {
        "transformers": ("preprocessor_config.json", "tokenizer_config.json"),
        "kerashub": ("image_converter.json", "preprocessor.json"),
    }[origin]
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        return {}
    values = files.read_json(path)
    return dict(values.get("config", values)) if origin == "kerashub" else values


def _quantized_keras(content: Mapping[str, Any]) -> bool:
    """Whether the dtype in the config of a KerasHub network names a quantized policy."""
    policy = json.dumps((content.get("config") or {}).get("dtype", "")) if "registered_name" in content else ""
    return any(mark in policy for mark in ("int8", "int4", "float8", "gptq", "awq", "QuantizedDTypePolicy"))


def _no_tokenizer(folder: Path, names: tuple[str, ...]) -> str:
    return (
        f"{str(folder)!r} holds no tokenizer ({' or '.join(names)}), without which texts cannot become tokens. Copy its files "
        "from where the network comes from."
    )


def _check_language_tokenizer(folder: Path) -> None:
    if (folder / "tokenizer.json").is_file():
        files.refuse_pointer(folder / "tokenizer.json")
        return
    if any((folder / name).is_file() for name in ("tokenizer.model", "vocab.json", "spiece.model")):
        raise InputError(
            f"{str(folder)!r} holds no tokenizer.json, only the tokenizer in an older format. Make it with the library "
            'transformers: python -c "from transformers import AutoTokenizer as T; '
            f"T.from_pretrained('{folder}').save_pretrained('{folder}')\"."
        )
    raise InputError(_no_tokenizer(folder, ("tokenizer.json",)))


def _no_config(folder: Path) -> str:
    start = f"{str(folder)!r} holds no config.json, which names the network"
    if any(folder.glob("*.gguf")):
        return f"{start}, only weights in the format of GGUF. Give the folder with the safetensors files that they were made of."
    if (folder / "adapter_config.json").is_file():
        base = files.read_json(folder / "adapter_config.json").get("base_model_name_or_path")
        network = f" ({base})" if isinstance(base, str) and base else ""
        return (
            f"{str(folder)!r} holds an adapter, which is of no use without its network{network}. Merge them with "
            "`merge_and_unload` of PEFT, and give the folder of the merged network."
        )
    configs = (*folder.glob("*/config.json"), *folder.glob("snapshots/*/config.json"))
    if inner := sorted(path.parent for path in configs if _names_network(path)):
        names = " or ".join(repr(str(path)) for path in inner[:_MOST_NAMED])
        more = f" or another of the {len(inner)}" if len(inner) > _MOST_NAMED else ""
        return f"{start}. Give the folder inside it, {names}{more}."
    return f"{start}: it may be half downloaded. Download the whole folder again."


def _names_network(path: Path) -> bool:
    """Whether a config.json is of a network, as that of a module for pooling is not."""
    try:
        return any(key in files.read_json(path) for key in ("registered_name", "model_type", "architecture"))
    except InputError:
        return False
