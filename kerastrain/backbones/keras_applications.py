"""The networks of keras.applications as backbones, each with the preprocessing that it was trained with.

Takes a network's name; returns its image size, its preprocessing layers, and the network without its top. Must not
download anything except requested weights.
"""

import http.client
import logging
import os
import warnings
from pathlib import Path

import h5py
import keras
import numpy as np

from kerastrain.errors import InputError
from kerastrain.hub import imagenet_weights
from kerastrain.layers.preprocessing import ReverseChannels

logger = logging.getLogger("kerastrain")

# Preprocessing mode, image size in pixels, smallest side in pixels. The modes are those of
# keras.applications.imagenet_utils ("tf", "torch" and "caffe"); networks marked "inside" scale pixels themselves.
_FAMILIES = {
    "ConvNeXt": ("inside", 224, 32),
    "DenseNet": ("torch", 224, 32),
    "EfficientNetB": ("inside", 224, 32),
    "EfficientNetV2": ("inside", 224, 32),
    "InceptionResNetV2": ("tf", 299, 75),
    "InceptionV3": ("tf", 299, 75),
    "MobileNet": ("tf", 224, 32),
    "MobileNetV3": ("inside", 224, 32),
    "NASNet": ("tf", 224, 32),
    "ResNet": ("caffe", 224, 32),
    "ResNetV2": ("tf", 224, 32),
    "VGG": ("caffe", 224, 32),
    "Xception": ("tf", 299, 71),
}
_SIZES = {
    "EfficientNetB1": 240, "EfficientNetB2": 260, "EfficientNetB3": 300, "EfficientNetB4": 380, "EfficientNetB5": 456,
    "EfficientNetB6": 528, "EfficientNetB7": 600, "EfficientNetV2B1": 240, "EfficientNetV2B2": 260,
    "EfficientNetV2B3": 300, "EfficientNetV2S": 384, "EfficientNetV2M": 480, "EfficientNetV2L": 480,
    "NASNetLarge": 331,
}  # fmt: skip

NETWORKS = tuple(
    sorted(name for name, value in vars(keras.applications).items() if name[0].isupper() and callable(value))
)
"""The names of all networks of keras.applications."""

_KERAS_STOCHASTIC_DEPTH = 0.2
_RGB_MEAN = np.array([0.485, 0.456, 0.406])
_RGB_STDDEV = np.array([0.229, 0.224, 0.225])
_BGR_MEAN = (103.939, 116.779, 123.68)


def image_size(name: str, requested: tuple[int, int] | None = None) -> tuple[int, int]:
    """The image size of a network.

    Args:
        name: str out of `NETWORKS`.
        requested: (height, width) in pixels, or None for the size that the network was trained on.

    Returns:
        (height, width) in pixels.

    Raises:
        InputError: the requested size is too small for the network.
    """
    _, side, smallest = _family(name)
    size = tuple(requested or (side, side))
    if min(size) < smallest:
        raise InputError(
            f"{name} takes images of at least {smallest} by {smallest} pixels. Received: image_size={size}."
        )
    return size


def value_range(name: str) -> tuple[float, float] | None:
    """The range of pixel values that a network takes.

    Args:
        name: str out of `NETWORKS`.

    Returns:
        (low, high), or None where each colour channel has its own scale.
    """
    return {"tf": (-1.0, 1.0), "inside": (0.0, 255.0)}.get(_family(name)[0])


def preprocessing(name: str) -> tuple[keras.Layer, ...]:
    """A network's `preprocess_input` as layers.

    Args:
        name: str out of `NETWORKS`.

    Returns:
        tuple of keras.Layer, from pixels in [0, 255] to the network's input; empty where the network scales them itself.
    """
    mode = _family(name)[0]
    if mode == "tf":
        return (keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="preprocessing"),)
    if mode == "torch":
        scale, offset = 1 / (255 * _RGB_STDDEV), -_RGB_MEAN / _RGB_STDDEV
        return (keras.layers.Rescaling(scale.tolist(), offset=offset.tolist(), name="preprocessing"),)
    if mode == "caffe":
        offset = [-mean for mean in _BGR_MEAN]
        return (ReverseChannels(name="channels"), keras.layers.Rescaling(1.0, offset=offset, name="preprocessing"))
    return ()


def network(
    name: str,
    *,
    image_size: tuple[int, int],
    weights: str | os.PathLike | None = None,
    alpha: float | None = None,
    stochastic_depth: float | None = None,
) -> keras.Model:
    """A network of keras.applications without its top, frozen, named "backbone".

    Args:
        name: str out of `NETWORKS`.
        image_size: (height, width) in pixels.
        weights: "imagenet" (downloaded once), "random", or the path of a weights file with or without the top; None for
            "imagenet".
        alpha: float > 0, width multiplier of a MobileNet; None for 1.0.
        stochastic_depth: float in [0, 1), probability that the last block of an EfficientNet is skipped for an example in
            training; it decreases linearly to 0 before the first block. None for Keras's 0.2.

    Returns:
        keras.Model, float32 preprocessed pixels (batch, height, width, 3) to float32 features (batch, features).

    Raises:
        InputError: the network has no `alpha`, no ImageNet weights of this width or no stochastic depth, or the weights file
            belongs to another network.
        FileNotFoundError: there is no weights file at the path.
        ConnectionError: the ImageNet weights could not be downloaded; the message names the file and where to put it.

    Reference: Huang et al. 2016, https://arxiv.org/abs/1603.09382 (stochastic depth).
    """
    if alpha is not None and not name.startswith("MobileNet"):
        raise InputError(
            f"`alpha` is an option of the MobileNets only. Received: alpha={alpha} for {name}. Leave it out."
        )
    if stochastic_depth is not None:
        _check_stochastic_depth(name, stochastic_depth)
    build = getattr(keras.applications, name)
    # Keras looks up an EfficientNetV2's blocks by the network's name, so it is renamed after it is built.
    options = {"input_shape": (*image_size, 3), "pooling": "avg"}
    if alpha is not None:
        options["alpha"] = alpha
    if weights is None or weights == "imagenet":
        model = _with_imagenet(build, name, options)
    else:
        model = build(include_top=False, weights=None, **options)
        if weights != "random":
            _load(model, Path(weights))
    if stochastic_depth is not None:
        for layer in _branch_dropouts(model):
            layer.rate *= stochastic_depth / _KERAS_STOCHASTIC_DEPTH
    model.name = "backbone"
    model.trainable = False
    return model


def _check_stochastic_depth(name: str, stochastic_depth: float) -> None:
    if not name.startswith("EfficientNet"):
        raise InputError(
            f"`stochastic_depth` is an option of the EfficientNets only, the networks of keras.applications that have it. "
            f"Received: stochastic_depth={stochastic_depth} for {name}. Leave it out."
        )
    if not 0 <= stochastic_depth < 1:
        raise InputError(f"`stochastic_depth` must lie in [0, 1). Received: stochastic_depth={stochastic_depth}.")


def _branch_dropouts(model: keras.Model) -> list[keras.layers.Dropout]:
    """The layers that drop a block's whole branch for an example; their rates rise to the network's 0.2."""
    return [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.Dropout) and layer.noise_shape == (None, 1, 1, 1)
    ]


def _with_imagenet(build, name: str, options: dict) -> keras.Model:
    place = {"alpha": options.get("alpha"), "image_size": options["input_shape"][:2]}
    imagenet_weights.require(name, **place)
    address, copy = imagenet_weights.location(name, **place)
    if copy.is_file() and not imagenet_weights.is_whole(copy):
        copy.unlink()  # Keras checks the content of some files only.
    was_there = copy.is_file()
    if not was_there:
        logger.info("downloading the ImageNet weights of %s from %s", name, address)
    try:
        with warnings.catch_warnings():
            # The weights of 224 by 224 pixels suit every size; the network is convolutional.
            warnings.filterwarnings("ignore", message="`input_shape` is undefined or non-square")
            return build(include_top=False, weights="imagenet", **options)
    except Exception as error:  # keras.utils.get_file raises a bare Exception when a download fails
        reason = _download_failure(error)
        if reason is None:
            raise
        if not imagenet_weights.is_whole(copy):
            copy.unlink(missing_ok=True)
        if was_there:
            reason += f"; the copy {str(copy)!r} did not have the checksum that Keras expects, and Keras removed it"
        raise ConnectionError(
            f"the ImageNet weights of {name} could not be downloaded: {reason}. {imagenet_weights.advice(address, copy)}"
        ) from error


def _download_failure(error: Exception) -> str | None:
    """Why the download of a file failed; None if it did not."""
    text = " ".join(str(error).split()).rstrip(".")
    if "URL fetch failure" in text:
        return text.rpartition(" -- ")[2]
    if "Incomplete or corrupted file" in text:
        return "what arrived does not have the checksum that Keras expects"
    return text if isinstance(error, OSError | http.client.HTTPException) else None


def _load(model: keras.Model, path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"no weights file at {str(path)!r}: the path does not exist.")
    try:
        if str(path).endswith((".weights.h5", ".keras")):
            model.load_weights(path)
        else:
            # A file of the whole network also holds its top: match layers by name, and require all of them.
            with h5py.File(path, "r") as file:
                saved = set(file["model_weights" if "model_weights" in file else "/"])
            missing = [layer.name for layer in model.layers if layer.weights and layer.name not in saved]
            if missing:
                raise ValueError(f"the file has no layer {missing[0]!r}")
            model.load_weights(path, by_name=True)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"the weights file {str(path)!r} does not fit this network: {' '.join(str(error).split())[:200]}. Check "
            "the network's name and `alpha`."
        ) from error


def _family(name: str) -> tuple[str, int, int]:
    """Preprocessing mode, image size and smallest side of a network."""
    family = "ResNetV2" if name.startswith("ResNet") and name.endswith("V2") else name
    prefix = max((prefix for prefix in _FAMILIES if family.startswith(prefix)), key=len)
    mode, side, smallest = _FAMILIES[prefix]
    return mode, _SIZES.get(name, side), smallest
