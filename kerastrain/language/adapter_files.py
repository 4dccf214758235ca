"""Adapters of language models in the files of PEFT: `adapter_model.safetensors` and `adapter_config.json`.

Takes a `keras.Model` from `decoders.build` and a folder. Must not train.
"""

import collections
import json
import math
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerastrain.errors import InputError
from kerastrain.language import adapters
from kerastrain.layers.low_rank import LowRankPair
from kerastrain.presets import decoders, safetensors
from kerastrain.presets import files as preset_files
from kerastrain.system import files

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"

_PREFIX = "base_model.model."


def write(
    model: keras.Model,
    folder: str | os.PathLike,
    network: decoders.DecoderNetwork,
    *,
    base: str,
    revision: str | None = None,
) -> Path:
    """Writes the adapter of a model as PEFT does, reads it again, and keeps it only if it is the same adapter.

    PEFT opens it with `PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)`. `lora_alpha` is the scale
    times the rank, also where it was set for the root of the rank.

    Args:
        model: keras.Model from `decoders.build`, with adapters.
        folder: path of the folder to write; an existing one is replaced.
        network: DecoderNetwork of the model.
        base: str, where the model without the adapter comes from: a folder or a name of Hugging Face.
        revision: str, the branch, tag or commit of a name; None for the main branch.

    Returns:
        Path of the folder.

    Raises:
        InputError: the model has no adapters.
        WriteError: the disk is full or read-only, or permission is missing.
        OSError: what was read again differs; an existing folder is kept.
    """
    pairs = adapters.pairs(model)
    if not pairs:
        raise InputError(
            f"`model` must have adapters. Received: {model.name!r} without any. Add them with `adapters.add`."
        )
    modules = {path: name.removesuffix(".weight") for path, name in decoders.names(network).items() if path in pairs}
    values = {}
    for path, module in modules.items():
        values[f"{_PREFIX}{module}.lora_A.weight"] = np.asarray(pairs[path].a).T
        values[f"{_PREFIX}{module}.lora_B.weight"] = np.asarray(pairs[path].b).T
    ranks = {module: pairs[path].rank for path, module in modules.items()}
    alphas = {module: _whole(pairs[path].scale * pairs[path].rank) for path, module in modules.items()}
    rank, alpha = (collections.Counter(each.values()).most_common(1)[0][0] for each in (ranks, alphas))
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "revision": revision,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": max(pair.rate for pair in pairs.values()),
        "target_modules": _targets(modules, adapters.paths(model)),
        "rank_pattern": {module: each for module, each in ranks.items() if each != rank},
        "alpha_pattern": {module: each for module, each in alphas.items() if each != alpha},
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "use_dora": False,
        "use_rslora": False,
    }
    with files.atomic(folder) as temporary:
        temporary.mkdir()
        shapes = {name: value.shape for name, value in values.items()}
        safetensors.write(temporary / WEIGHTS, shapes, values.__getitem__)
        (temporary / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        _check(temporary, pairs, network)
    return Path(folder)


def read(model: keras.Model, folder: str | os.PathLike, network: decoders.DecoderNetwork) -> int:
    """Gives a model the adapter of a folder; nothing else trains afterwards.

    Args:
        model: keras.Model from `decoders.build`, without adapters.
        folder: path of a folder that `write` or PEFT has written.
        network: DecoderNetwork of the model.

    Returns:
        int >= 1, the number of pairs.

    Raises:
        InputError: files are missing or damaged, or the adapter is of another kind, or made for another model.
    """
    settings, values = _parsed(Path(folder), network, adapters.paths(model))
    adapters.create(model, settings)
    for path, pair in adapters.pairs(model).items():
        pair.a.assign(values[path, "A"])
        pair.b.assign(values[path, "B"])
    return len(settings)


def _check(folder: Path, pairs: Mapping[str, LowRankPair], network: decoders.DecoderNetwork) -> None:
    settings, values = _parsed(folder, network, pairs)
    for path, pair in pairs.items():
        is_same = math.isclose(settings[path]["scale"], pair.scale, rel_tol=1e-6)
        if not (is_same and _equal(values[path, "A"], pair.a) and _equal(values[path, "B"], pair.b)):
            raise OSError(f"{folder.name!r} does not hold the pair of {path} that was written. It was removed.")


def _equal(values: np.ndarray, variable: keras.Variable) -> bool:
    return np.array_equal(values, np.asarray(variable))


def _parsed(
    folder: Path, network: decoders.DecoderNetwork, known: Collection[str]
) -> tuple[dict[str, dict[str, Any]], dict[tuple[str, str], np.ndarray]]:
    """The arguments of each pair, and the matrices "A" and "B" of each, by the paths of the kernels."""
    config, tensors = _config(folder), _tensors(folder)
    modules = {name.removesuffix(".weight"): path for path, name in decoders.names(network).items()}
    settings, values = {}, {}
    for name in tensors:
        found = re.fullmatch(rf"{re.escape(_PREFIX)}(.+)\.lora_(A|B)\.weight", name)
        path = modules.get(found[1]) if found else None
        if path not in known:
            raise InputError(
                f"{str(folder / WEIGHTS)!r} must hold pairs for the dense layers of this model's blocks. Received: {name!r}. "
                "Train the adapter without what is beside them."
            )
        values[path, found[2]] = tensors[name].T
    for path in dict.fromkeys(path for path, _ in values):
        a, b = (values.get((path, factor)) for factor in "AB")
        block, layer, _ = path.split("/")
        expected = decoders.shapes(network)[path][::-1]
        received = None if a is None or b is None else (a.shape[0], b.shape[1])
        if received != expected or a.shape[1] != b.shape[0]:
            raise InputError(
                f"{str(folder / WEIGHTS)!r}: the pair of {layer!r} in {block!r} must read {expected[0]} numbers and compute "
                f"{expected[1]}. Received: {'one matrix' if received is None else 'matrices of other sizes'}. Choose the model "
                f"that the adapter was made for, {config.get('base_model_name_or_path')!r}."
            )
        rank = a.shape[1]
        module = decoders.names(network)[path].removesuffix(".weight")
        scale = _alpha(config, module) / (rank**0.5 if config.get("use_rslora") else rank)
        settings[path] = {"rank": rank, "scale": scale, "rate": float(config.get("lora_dropout") or 0)}
    return settings, values


def _config(folder: Path) -> dict[str, Any]:
    if not (folder / CONFIG).is_file():
        raise InputError(
            f"{str(folder)!r} holds no {CONFIG}, so it is no adapter of PEFT. Give the folder that has one."
        )
    config = preset_files.read_json(folder / CONFIG)
    kind = config.get("peft_type")
    faults = {
        f"peft_type={kind!r}": kind != "LORA",
        "use_dora": config.get("use_dora"),
        f"bias={config.get('bias')!r}": config.get("bias", "none") != "none",
        f"modules_to_save={config.get('modules_to_save')}": config.get("modules_to_save"),
        "fan_in_fan_out": config.get("fan_in_fan_out"),
        "lora_bias": config.get("lora_bias"),
    }
    fault = next((name for name, is_fault in faults.items() if is_fault), None)
    if fault is not None:
        raise InputError(
            f"{str(folder / CONFIG)!r} must describe plain LoRA pairs of dense layers. Received: {fault}. Merge the adapter into "
            "its model with PEFT, and give the merged folder."
        )
    return config


def _tensors(folder: Path) -> Mapping[str, np.ndarray]:
    if not (folder / WEIGHTS).is_file():
        raise InputError(
            f"{str(folder)!r} holds no {WEIGHTS}, the weights of the adapter. Write it again in that format."
        )
    tensors = safetensors.Tensors.of_file(folder / WEIGHTS)
    if not tensors:
        raise InputError(f"{str(folder / WEIGHTS)!r} must hold pairs. Received: none.")
    return tensors


def _alpha(config: Mapping[str, Any], module: str) -> float:
    for pattern, alpha in (config.get("alpha_pattern") or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):  # as PEFT reads it
            return float(alpha)
    return float(config.get("lora_alpha", 8))


def _targets(modules: Mapping[str, str], every: list[str]) -> list[str]:
    """The last names of the adapted layers, or whole names where one is adapted in some blocks only."""
    kinds = collections.Counter(path.split("/")[1] for path in every)
    adapted = collections.Counter(path.split("/")[1] for path in modules)
    if all(adapted[kind] == kinds[kind] for kind in adapted):
        return sorted({module.rpartition(".")[2] for module in modules.values()})
    return list(modules.values())


def _whole(number: float) -> int | float:
    rounded = round(number)
    return rounded if abs(number - rounded) < 1e-9 else number
