"""What a run needs besides its data: libraries, files and permission, checked before TensorFlow starts.

Takes a `Config`; raises errors. `kerastrain check` and `kerastrain train` use the same functions. Must not import
TensorFlow.
"""

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kerastrain import presets, tracking
from kerastrain.config import AUTO_BACKBONE, Config, validate
from kerastrain.errors import InputError, unknown
from kerastrain.hub import cache, handles, imagenet_weights
from kerastrain.hub.bundled import bundled
from kerastrain.hub.handles import split_pin
from kerastrain.presets import image_networks
from kerastrain.presets.text_presets import read_text
from kerastrain.recipe import language_requirements, networks, run_room, starting_run
from kerastrain.system import archives, folders, optional_imports

_FORMAT_EXTRAS = {"onnx": "onnx", "tflite_int4": "int4", "tflite_dynamic_int4": "int4"}
_INTEGER_FORMATS = ("tflite_int8", "tflite_int16x8", "tflite_int4", "tflite_dynamic_int4")
_MOST_EMBEDDING = 0.88  # Above it, a file with kernels of four bits keeps more than 90 % of its size.


def require(config: Config) -> None:
    """Checks what can be known about a run before its data are read and TensorFlow starts.

    Args:
        config: Config.

    Raises:
        MissingExtra: a format of `export.formats` needs a library that is not installed.
        InputError: the backbone cannot be exported to a format, or is no SavedModel.
        FileNotFoundError: the backbone or its weights do not exist.
        ConnectionError: ImageNet weights are not on this machine, and there is no network to download them.
    """
    tracking.require(config.tracking.to)
    if config.is_language:
        language_requirements.require(config)
        return
    require_formats(config, config.export.formats)
    if config.export.operating_point and config.evaluation.threshold is None and not config.evaluation.temperature:
        raise InputError(
            "export.operating_point needs an operating point. Received: evaluation.threshold null and evaluation.temperature "
            "false. Set one of them, or remove it."
        )
    if config.model.from_run is not None:  # The model of that run holds its backbone.
        return
    networks.check(config.data.kind, config.model.backbone, config.data.image_size)
    _require_backbone(config)
    if _is_module(config) and config.fit.trains_whole:
        _require_whole(config)
    weights = config.model.weights
    if weights == "imagenet":
        imagenet_weights.require(
            config.model.backbone.removeprefix("keras:"), config.model.alpha, config.data.image_size
        )
    elif weights not in (None, "random"):
        _require_weights_file(Path(weights))


def with_exports(config: Config, settings: Mapping[str, Any]) -> Config:
    """Changes what a finished run exports.

    Args:
        config: Config of the run.
        settings: mapping of the keys of the config section `export` that differ.

    Returns:
        Config.

    Raises:
        ConfigError: a key or value is invalid.
        InputError: a language model cannot be exported to a format.
    """
    own = config.model_dump(mode="json")
    changed = validate({**own, "export": {**own["export"], **settings}}, source="the command line")
    if changed.is_language:
        language_requirements.require_formats(changed)
    return changed


def require_formats(config: Config, formats: Iterable[str], model: Any = None) -> None:
    """Checks that the files of `export.formats` can be written by this installation for this kind of model.

    Args:
        config: Config of the run.
        formats: iterable of str as in `export.formats`.
        model: keras.Model of the run; None if it is not built yet.

    Raises:
        MissingExtra: a format needs a library that is not installed.
        InputError: the backbone cannot be exported to a format.
    """
    if wrong := [name for name in formats if name in ("adapter", "hugging_face")]:
        raise InputError(
            f"`export.formats`: {wrong[0]} is for language models. Received: data.kind={config.data.kind}. Remove it."
        )
    for name in formats:
        if name in _FORMAT_EXTRAS:
            optional_imports.require(_FORMAT_EXTRAS[name])
    integers = [name for name in formats if name in _INTEGER_FORMATS]
    if config.data.columns.numbers and integers:
        raise InputError(
            "`export.formats`: a file of integers holds its inputs beside each other with one scale, which would round the "
            f"numbers of `data.columns.numbers` away. Received: {', '.join(integers)}. Use saved_model, keras, onnx, "
            "tflite_float32, tflite_float16 or tflite_dynamic."
        )
    backbone = config.model.backbone
    without_strings = [name for name in formats if name == "onnx" or name.startswith("tflite")]
    layers = _layer_names(config, model)
    is_module = _is_module(config) if layers is None else "HubLayer" in layers
    if config.data.kind == "text" and is_module and without_strings:
        raise InputError(
            f"`export.formats` must be saved_model or keras for a Hub text module, which reads strings, and TFLite and "
            f"ONNX have none. Received: {', '.join(without_strings)}, with the backbone {backbone!r}. Remove them, or train "
            "with keras:ngrams or keras:transformer."
        )
    is_preset = presets.is_preset(backbone) if layers is None else "EncoderTokenizer" in layers
    is_encoder = config.data.kind == "text" and is_preset
    if is_encoder and "keras" in formats:
        raise InputError(
            "`export.formats`: a .keras file that opens without kerastrain cannot hold the tokenizer of a pretrained text "
            f"encoder. Received: keras, with the backbone {backbone!r}. Use saved_model; the run's own model.keras opens with "
            "kerastrain."
        )
    of_integers = [name for name in formats if name in ("tflite_int8", "tflite_int16x8")]
    if is_encoder and of_integers:
        raise InputError(
            f"`export.formats`: the activations of a pretrained text encoder do not fit into integers, and such a file would "
            f"answer differently. Received: {', '.join(of_integers)}, with the backbone {backbone!r}. Use tflite_dynamic, which "
            "is as small."
        )
    if reason := image_networks.without_integers(image_networks.kind_of_layers(layers or ()), of_integers):
        raise InputError(f"`export.formats`: {reason}, with the backbone {backbone!r}.")
    four_bits = [name for name in formats if _FORMAT_EXTRAS.get(name) == "int4"]
    if four_bits and config.data.kind == "text" and _embedding_fraction(config, model) > _MOST_EMBEDDING:
        raise InputError(
            f"`export.formats`: four bits would not make this model smaller, because its weights are nearly all embeddings, "
            f"which ai-edge-quantizer does not quantize. Received: {', '.join(four_bits)}. Use tflite_int8 or "
            "tflite_dynamic."
        )


def _layer_names(config: Config, model: Any) -> frozenset[str] | None:
    """Returns the names of the classes of a model's layers; None before there is one.

    The model decides rather than its backbone's handle, because the folder of a finished run's backbone may be gone.
    """
    if model is None:
        run = config.model.from_run
        return starting_run.read_start(Path(run)).layers if run is not None and Path(run).is_dir() else None
    from kerastrain.keras_internals.layers import every_layer

    return frozenset(type(layer).__name__ for layer in every_layer(model))


def _embedding_fraction(config: Config, model: Any) -> float:
    """Returns the fraction of the weights that are embeddings; before the model is built, what is certain of it."""
    if model is None:
        return float(config.model.backbone == "keras:embedding" and not config.model.hidden_units)
    embeddings = [weight for weight in model.weights if weight.path.endswith("/embeddings")]
    return run_room.weight_bytes(embeddings) / max(run_room.weight_bytes(model.weights), 1)


def _is_module(config: Config) -> bool:
    """Whether the backbone is a TF Hub module or SavedModel, which has no layers."""
    backbone = config.model.backbone
    return not backbone.startswith("keras:") and not backbone.endswith(".keras") and not presets.is_preset(backbone)


def _require_whole(config: Config) -> None:
    """Raises an error if a Hub module would be fine-tuned in part, or by a signature."""
    tuning, backbone = config.fine_tune, config.model.backbone
    in_part = {
        "fine_tune.last": tuning.last,
        "fine_tune.from_layer": tuning.from_layer,
        "fine_tune.timetable": [last for last in tuning.timetable.values() if last],
    }
    for key, value in in_part.items():
        if value:
            raise InputError(
                f"`{key}` needs a backbone of layers. Received: {backbone!r}, one Hub module, which trains as a whole or not "
                f"at all. Remove {key}."
            )
    if tuning.lora_rank is not None:
        raise InputError(
            f"`fine_tune.lora_rank` needs a backbone with layers to adapt. Received: {backbone!r}. A Hub module is opaque: "
            "unfreeze it instead, without fine_tune.lora_rank."
        )
    if config.memory.remat_blocks is not None:
        raise InputError(
            f"`memory.remat_blocks`: a HubLayer cannot be split into blocks. Received: the Hub module {backbone!r}. Use a "
            "backbone `keras:NAME` or a .keras file, or memory.micro_batches."
        )
    if config.model.signature is not None and config.model.output_key is not None:
        raise InputError(
            f"a signature cannot be trained: it has no `training` argument and no losses. Received: model.signature="
            f"{config.model.signature}, and fit.epochs is not 0. Set fit.epochs=0 to train only the head."
        )


def _require_backbone(config: Config) -> None:
    """Raises an error if a backbone is not on this machine and cannot be downloaded either."""
    handle = config.model.backbone
    if presets.is_preset(handle):
        preset = presets.read(handle, kind=config.data.kind)
        if preset.kind == "images":
            image_networks.check(preset, config.data.image_size, config.model.value_range)
            image_networks.check_formats(preset, config.export.formats)
        else:
            read_text(handle)
        return
    location, _ = split_pin(handle)
    if location == AUTO_BACKBONE:
        return
    if location.startswith("kerastrain:"):
        if (name := location.removeprefix("kerastrain:")) not in bundled():
            raise InputError(unknown("bundled backbone", name, bundled()))
        return
    handles.refuse_page(location)
    if location.startswith("keras:"):
        return
    if "://" in (address := cache.address(location)):
        if address.startswith(("http://", "https://")):
            cache.require(address)
        return
    place = Path(location).expanduser()
    if not place.exists():
        known = [AUTO_BACKBONE, *(f"kerastrain:{name}" for name in bundled()), *networks.HANDLES]
        if meant := next((name for name in known if _folded(name.rpartition(":")[2]) == _folded(location)), None):
            raise FileNotFoundError(f"no SavedModel at {location!r}: the path does not exist. Did you mean {meant}?")
    if location.endswith((".keras", *handles.ARCHIVES)):
        if not place.is_file():
            raise FileNotFoundError(f"no model at {location!r}: the path does not exist. Set `model.backbone`.")
        if location.endswith(".keras"):
            archives.check_zip(place)
        return
    handles.check_saved_model(place, location)


def _require_weights_file(path: Path) -> None:
    """Raises an error if a file holds no weights of Keras; whether they fit the network shows when it is built."""
    if not path.is_file():
        raise FileNotFoundError(
            f"no weights file at {str(path)!r}: the path does not exist. `model.weights` must be imagenet, random, or a file."
        )
    if not (zipfile.is_zipfile(path) if path.suffix == ".keras" else imagenet_weights.is_whole(path)):
        raise InputError(
            f"`model.weights` must be a .h5, .weights.h5 or .keras file of Keras. Received: {str(path)!r}, which is none, or "
            "cut off. Weights in another format are read as `model.backbone`, from the folder of their network."
        )


def _folded(name: str) -> str:
    return name.lower().translate(str.maketrans("", "", "-_ "))


def require_folder(directory: Path, *, resumes: bool) -> None:
    """Checks that a run can write its folder.

    Args:
        directory: Path of the run.
        resumes: bool, whether the run continues in an existing folder.

    Raises:
        FileExistsError: a new run would replace something.
        InputError: nothing can be written there.
    """
    if resumes:
        folders.require_writable(directory)
    else:
        folders.refuse_existing(directory)
