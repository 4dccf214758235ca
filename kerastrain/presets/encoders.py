"""Pretrained text encoders: their sizes, and the names of their weights in the files of Hugging Face.

Takes a `Preset` of a text encoder; returns an `EncoderNetwork` and arrays. Must not import TensorFlow or KerasHub.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from kerastrain.errors import InputError, unknown
from kerastrain.presets import encoder_names as names
from kerastrain.presets.preset import Preset
from kerastrain.presets.safetensors import Tensors

_ACTIVATIONS = {
    "gelu": "gelu",
    **dict.fromkeys(("gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu_accurate"), "gelu_tanh"),
    "relu": "relu",
    **dict.fromkeys(("silu", "swish"), "silu"),
}
_WORDS = "embeddings.word_embeddings.weight"
_OLD_NAMES = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
_OFFSET_FAMILIES = ("roberta", "xlm_roberta", "mpnet")  # whose first rows of places are those of the padding
_EPSILONS = {"roberta": 1e-5, "xlm_roberta": 1e-5, "deberta_v3": 1e-7}
_TANH_FAMILIES = ("bert", "electra")  # that KerasHub builds with the approximation of GELU
_DEBERTA = {  # what DeBERTa's blocks are built for here, the choices of DeBERTa v3
    "relative_attention": True,
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
    "position_biased_input": False,
    "type_vocab_size": 0,
    "conv_kernel_size": 0,
}


@dataclass(frozen=True)
class EncoderNetwork:
    """The sizes of a text encoder, whose blocks are those of BERT, MPNet or DeBERTa.

    Args:
        vocabulary_size: int.
        positions: int, the largest number of tokens of a text.
        width: int, the size of a token's vector.
        embedding_width: int, the size of its embedding, which is projected to `width` if it differs.
        num_layers: int.
        num_heads: int.
        intermediate: int, the units between the dense layers of a block.
        activation: str, a key of `layers.encoder.ACTIVATIONS`.
        epsilon: float > 0, of the normalizations.
        dropout: float in [0, 1).
        attention_dropout: float in [0, 1).
        distances: "none" for embeddings of places; "bias" for these and MPNet's biases of distances; "disentangled" for
            DeBERTa's vectors of distances, without embeddings of places.
        buckets: int, how many distances the encoder tells apart; 0 for "none".
        most_distance: int, the distance of the last bucket; for "disentangled".
    """

    vocabulary_size: int
    positions: int
    width: int
    embedding_width: int
    num_layers: int
    num_heads: int
    intermediate: int
    activation: str
    epsilon: float
    dropout: float
    attention_dropout: float
    distances: Literal["none", "bias", "disentangled"] = "none"
    buckets: int = 0
    most_distance: int = 0


def network(preset: Preset) -> EncoderNetwork:
    """Reads the sizes of an encoder, and checks that its weights have them.

    Args:
        preset: Preset for texts.

    Returns:
        EncoderNetwork.

    Raises:
        InputError: config.json lacks a size or asks for something else than BERT's blocks, or weights are missing or
            have other shapes.
    """
    is_kerashub = preset.origin == "kerashub"
    content = preset.config["config"] if is_kerashub else preset.config
    sizes = {field: _size(preset, content, keys) for field, keys in names.KEYS[preset.origin].items()}
    dropout = _first(content, ("hidden_dropout_prob", "dropout"), 0.1)
    facts = {
        "embedding_width": content.get("embedding_size") or content.get("embedding_dim") or sizes["width"],
        "dropout": dropout,
        "attention_dropout": _first(content, ("attention_probs_dropout_prob", "attention_dropout"), dropout),
    }
    if is_kerashub:
        facts["activation"] = "gelu_tanh" if preset.family in _TANH_FAMILIES else "gelu"
        facts["epsilon"] = _EPSILONS.get(preset.family, 1e-12)
    else:
        facts["activation"] = _activation(preset, content)
        facts["epsilon"] = content.get("layer_norm_eps", _EPSILONS.get(preset.family, 1e-12))
        if preset.family in _OFFSET_FAMILIES:
            sizes["positions"] -= _places_of_padding(content)
        _check_kind(preset, content)
    if sizes["width"] % sizes["num_heads"]:
        raise InputError(
            f"{preset.handle!r}: the width in config.json must be a multiple of the number of attention heads. Received: "
            f"{sizes['width']} and {sizes['num_heads']}."
        )
    result = EncoderNetwork(**sizes, **facts, **_distances(preset, content, sizes["positions"]))
    if preset.origin == "transformers" and preset.is_fetched:
        _sources(preset, result)
    return result


def _distances(preset: Preset, content: Mapping[str, Any], positions: int) -> dict:
    """How an encoder knows the distance between two tokens."""
    if preset.family == "mpnet":
        return {"distances": "bias", "buckets": content.get("relative_attention_num_buckets", 32)}
    if preset.family != "deberta_v3":
        return {}
    buckets = _size(preset, content, ("position_buckets", "bucket_size"))
    most = content.get("max_relative_positions", -1)
    return {"distances": "disentangled", "buckets": buckets, "most_distance": most if most > 0 else positions}


def weights(preset: Preset, encoder: EncoderNetwork) -> Iterator[tuple[str, np.ndarray]]:
    """Reads the weights of an encoder from safetensors files.

    Args:
        preset: Preset of Hugging Face, fetched.
        encoder: EncoderNetwork from `network`.

    Yields:
        (str, float32 array): the path of a variable of `layers.encoder`, such as "block_0/query/kernel", and its value.
    """
    found = Tensors(Path(preset.location))
    types = next((name for name in found if name.endswith("embeddings.token_type_embeddings.weight")), None)
    for path, name in _sources(preset, encoder).items():
        value = found[name]
        if path == "embedding/places/embeddings":
            value = value[len(value) - encoder.positions :]
            if types is not None:  # A text by itself has the type 0 at all its places.
                value = value + found[types][0]
        yield path, np.ascontiguousarray(value.T if path.endswith("/kernel") else value)


def converted(variables: Mapping[str, np.ndarray], encoder: EncoderNetwork) -> dict[str, np.ndarray]:
    """Renames the variables of an encoder of KerasHub.

    Args:
        variables: mapping from the path of each variable to its value.
        encoder: EncoderNetwork from `network`.

    Returns:
        dict, as `weights` yields them.
    """
    result, added = {}, {}
    for path, value in variables.items():
        layer, _, name = path.rpartition("/")
        place = next((ours for end, ours in names.KERASHUB.items() if f"/{layer}".endswith(f"/{end}")), None)
        block = re.search(r"(?:transformer|encoder)_layer_(\d+)/", path)
        if place is None:
            added[layer.rpartition("/")[2]] = value
            continue
        if name == "bias":
            value = value.ravel()
        elif value.ndim == 3:  # The attention of Keras keeps its heads apart.
            value = value.reshape((-1, encoder.width) if place == "attention_output" else (encoder.width, -1))
        result[(f"block_{block[1]}/" if block else "") + f"{place}/{name}"] = value
    if encoder.distances == "disentangled":
        return {**result, "positions/embeddings": added["rel_embedding"]}
    places = added["position_embedding"]
    if "segment_embedding" in added:
        places = places + added["segment_embedding"][0]
    return {**result, "embedding/places/embeddings": places}


def _sources(preset: Preset, encoder: EncoderNetwork) -> dict[str, str]:
    """The name of the tensor of each variable, whose shape has been checked."""
    found = preset.tensors
    words = next((name for name in found if name.endswith(_WORDS)), None)
    if words is None:
        raise InputError(
            f"{preset.handle!r}: the weights hold no {_WORDS!r}, so they are not those of a {preset.architecture} network. "
            f"They begin with {next(iter(found), 'nothing')!r}."
        )
    prefix = words.removesuffix(_WORDS)
    width = encoder.embedding_width
    sources = {
        "embedding/tokens/embeddings": (words, (encoder.vocabulary_size, width)),
        **_norm("embedding/norm", f"{prefix}embeddings.LayerNorm", width),
        **_position_sources(preset, encoder, prefix),
    }
    if encoder.embedding_width != encoder.width:
        sources |= _dense("projection", f"{prefix}embeddings_project", (encoder.width, width))
    layers = names.BLOCKS.get(preset.family, names.BERT)
    blocks = "transformer.layer" if preset.family == "distil_bert" else "encoder.layer"
    width, between = encoder.width, encoder.intermediate
    shapes = {"intermediate": (between, width), "output": (width, between)}
    for index in range(encoder.num_layers):
        for layer, name in layers.items():
            path, source = f"block_{index}/{layer}", f"{prefix}{blocks}.{index}.{name}"
            is_norm = layer.endswith("norm")
            sources |= (
                _norm(path, source, width) if is_norm else _dense(path, source, shapes.get(layer, (width, width)))
            )
    return {path: _checked(preset, *source) for path, source in sources.items()}


def _position_sources(preset: Preset, encoder: EncoderNetwork, prefix: str) -> dict:
    if encoder.distances == "disentangled":
        vectors = f"{prefix}encoder.rel_embeddings.weight", (2 * encoder.buckets, encoder.width)
        return {
            "positions/embeddings": vectors,
            **_norm("positions/norm", f"{prefix}encoder.LayerNorm", encoder.width),
        }
    rows = encoder.positions + (_places_of_padding(preset.config) if preset.family in _OFFSET_FAMILIES else 0)
    sources = {
        "embedding/places/embeddings": (
            f"{prefix}embeddings.position_embeddings.weight",
            (rows, encoder.embedding_width),
        )
    }
    if encoder.distances == "bias":
        shape = (encoder.buckets, encoder.num_heads)
        sources["positions/bias"] = (f"{prefix}encoder.relative_attention_bias.weight", shape)
    return sources


def _norm(path: str, name: str, width: int) -> dict:
    return {f"{path}/gamma": (f"{name}.weight", (width,)), f"{path}/beta": (f"{name}.bias", (width,))}


def _dense(path: str, name: str, shape: tuple[int, int]) -> dict:
    return {f"{path}/kernel": (f"{name}.weight", shape), f"{path}/bias": (f"{name}.bias", shape[:1])}


def _checked(preset: Preset, name: str, shape: tuple[int, ...]) -> str:
    for new, old in _OLD_NAMES.items():
        if name not in preset.tensors and name.endswith(new):
            name = name.removesuffix(new) + old
    if name not in preset.tensors:
        raise InputError(
            f"{preset.handle!r}: the weights lack {name!r}, which a {preset.architecture} network of config.json's sizes has. "
            "Download the folder again, or give the folder of the whole network."
        )
    if tuple(preset.tensors[name]) != shape:
        raise InputError(
            f"{preset.handle!r}: config.json and the weights do not belong together: {name!r} must have the shape {shape}. "
            f"Received: {tuple(preset.tensors[name])}."
        )
    return name


def _check_kind(preset: Preset, content: Mapping[str, Any]) -> None:
    is_deberta = preset.family == "deberta_v3"
    for key, value in (
        _DEBERTA if is_deberta else {"position_embedding_type": "absolute", "is_decoder": False}
    ).items():
        received = content.get(key, value)
        if received != value:
            raise InputError(
                f"{preset.handle!r}: kerastrain reads {preset.architecture} networks with {key}={value!r}. Received: "
                f"{received!r} in config.json."
            )
    types = content.get("pos_att_type") or ()
    types = sorted(types.split("|") if isinstance(types, str) else types)
    if is_deberta and types != ["c2p", "p2c"]:
        raise InputError(
            f"{preset.handle!r}: kerastrain reads {preset.architecture} networks with pos_att_type 'p2c|c2p'. Received: "
            f"{'|'.join(types) or 'none'} in config.json."
        )


def _size(preset: Preset, content: Mapping[str, Any], keys: tuple[str, ...]) -> int:
    value = _first(content, keys, None)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        received = "nothing" if value is None else repr(value)
        raise InputError(
            f"{preset.handle!r}: config.json must hold {' or '.join(keys)}, a whole number above 0. Received: {received}."
        )
    return value


def _activation(preset: Preset, content: Mapping[str, Any]) -> str:
    name = _first(content, ("hidden_act", "activation"), "gelu")
    if name not in _ACTIVATIONS:
        raise InputError(f"{preset.handle!r}: {unknown('activation in config.json', name, _ACTIVATIONS)}")
    return _ACTIVATIONS[name]


def _places_of_padding(content: Mapping[str, Any]) -> int:
    return (1 if content.get("pad_token_id") is None else content["pad_token_id"]) + 1


def _first(content: Mapping[str, Any], keys: tuple[str, ...], default: Any) -> Any:
    return next((content[key] for key in keys if content.get(key) is not None), default)
