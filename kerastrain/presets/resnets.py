"""The ResNets of Hugging Face and timm: their sizes, and under which names their weights are stored.

Takes a `Preset`; returns a `ResNet`, or refuses what does not fit in one sentence. Must not import TensorFlow.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kerastrain.errors import InputError
from kerastrain.presets.fitting import check_tensors
from kerastrain.presets.preset import Preset

_DEPTHS = {  # of timm: whether the blocks are bottlenecks, and the number of blocks of each stage
    "resnet18": (False, (2, 2, 2, 2)),
    "resnet26": (True, (2, 2, 2, 2)),
    "resnet34": (False, (3, 4, 6, 3)),
    "resnet50": (True, (3, 4, 6, 3)),
    "resnet101": (True, (3, 4, 23, 3)),
    "resnet152": (True, (3, 8, 36, 3)),
}
_REDUCTION = 4  # of the channels inside a bottleneck


@dataclass(frozen=True)
class Convolution:
    """A convolution and the batch normalization after it.

    Args:
        layer: str, the name of the layer, such as "stage_0_block_1_conv_2".
        filters: int.
        inputs: int, channels.
        kernel: int, pixels of its side.
        strides: int.
        names: (str, str), the tensors of the convolution and of the normalization without ".weight" and the like.
    """

    layer: str
    filters: int
    inputs: int
    kernel: int
    strides: int
    names: tuple[str, str]


@dataclass(frozen=True)
class Block:
    """A residual block.

    Args:
        layer: str, what the names of its layers begin with.
        convolutions: tuple of Convolution, in order.
        shortcut: Convolution beside them; None where the input is added as it is.
    """

    layer: str
    convolutions: tuple[Convolution, ...]
    shortcut: Convolution | None


@dataclass(frozen=True)
class ResNet:
    """A residual network.

    Args:
        stem: Convolution, before the pooling.
        blocks: tuple of Block, in order.
    """

    stem: Convolution
    blocks: tuple[Block, ...]

    def convolutions(self) -> Iterator[Convolution]:
        """All its convolutions.

        Yields:
            Convolution.
        """
        yield self.stem
        for block in self.blocks:
            yield from block.convolutions
            if block.shortcut is not None:
                yield block.shortcut


def read(preset: Preset) -> ResNet:
    """The sizes of a ResNet and the names of its tensors.

    Args:
        preset: Preset of the family "resnet" from Hugging Face or timm, with its weights.

    Returns:
        ResNet, whose tensors are all there and have the right shapes.

    Raises:
        InputError: its config.json asks for something that is not built here, or does not fit the weights.
    """
    if preset.origin == "timm":
        is_bottleneck, depths = _DEPTHS[preset.architecture]
        widths = [width * (_REDUCTION if is_bottleneck else 1) for width in (64, 128, 256, 512)]
        network = _network(64, widths, depths, is_bottleneck, "", is_timm=True)
    else:
        is_bottleneck, stem, widths, depths = _sizes(preset)
        base = "resnet." if any(name.startswith("resnet.") for name in preset.tensors) else ""
        network = _network(stem, widths, depths, is_bottleneck, base, is_timm=False)
    _check_tensors(preset, network)
    return network


def _sizes(preset: Preset) -> tuple[bool, int, list[int], list[int]]:
    config = preset.config
    for key, accepted in (
        ("layer_type", ("bottleneck", "basic")),
        ("hidden_act", ("relu",)),
        ("num_channels", (3,)),
        ("downsample_in_first_stage", (False,)),
        ("downsample_in_bottleneck", (False,)),
    ):
        if config.get(key, accepted[0]) not in accepted:
            raise InputError(
                f"config.json of {preset.handle!r} has {key}={config[key]!r}, which is not built here: it must be "
                f"{' or '.join(map(repr, accepted))}."
            )
    widths, depths = config.get("hidden_sizes", [256, 512, 1024, 2048]), config.get("depths", [3, 4, 6, 3])
    stem, is_bottleneck = config.get("embedding_size", 64), config.get("layer_type", "bottleneck") == "bottleneck"
    are_lists = isinstance(widths, list) and isinstance(depths, list)
    numbers = [stem, *widths, *depths] if are_lists else [0]
    if not all(isinstance(number, int) and number > 0 for number in numbers) or len(widths) != len(depths):
        raise InputError(
            f"config.json of {preset.handle!r} must have whole numbers as embedding_size, hidden_sizes and depths, as many "
            f"of the last two. Received: {stem}, {widths} and {depths}."
        )
    return is_bottleneck, stem, widths, depths


def _network(stem, widths, depths, is_bottleneck: bool, base: str, *, is_timm: bool) -> ResNet:
    def convolution(layer: str, filters: int, inputs: int, kernel: int, strides: int, name: str) -> Convolution:
        names = (name, _normalization(name)) if is_timm else _of_hugging_face(name)
        return Convolution(layer, filters, inputs, kernel, strides, tuple(base + each for each in names))

    blocks, inputs = [], stem
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        for number in range(depth):
            strides = 2 if number == 0 and stage else 1
            inner = width // _REDUCTION
            shapes = [(inner, inputs, 1, 1), (inner, inner, 3, strides), (width, inner, 1, 1)]
            if not is_bottleneck:
                shapes = [(width, inputs, 3, strides), (width, width, 3, 1)]
            layer, name = f"stage_{stage}_block_{number}", f"layer{stage + 1}.{number}"
            convolutions = tuple(
                convolution(f"{layer}_conv_{index}", *shape, f"{name}.conv{index}")
                for index, shape in enumerate(shapes, 1)
            )
            shortcut = None
            if strides != 1 or inputs != width:
                shortcut = convolution(f"{layer}_shortcut", width, inputs, 1, strides, f"{name}.downsample.0")
            blocks.append(Block(layer, convolutions, shortcut))
            inputs = width
    return ResNet(convolution("stem", stem, 3, 7, 2, "conv1"), tuple(blocks))


def _normalization(name: str) -> str:
    """The normalization in timm after a convolution: bn2 after conv2, downsample.1 after downsample.0."""
    return f"{name[:-1]}1" if name.endswith("downsample.0") else name.replace("conv", "bn")


def _of_hugging_face(name: str) -> tuple[str, str]:
    """The names in Hugging Face's ResNet of a convolution of timm's, and of the normalization after it."""
    match = re.fullmatch(r"layer(\d+)\.(\d+)\.(?:conv(\d)|downsample\.0)", name)
    if match is None:
        start = "embedder.embedder"
    else:
        inner = f"layer.{int(match[3]) - 1}" if match[3] else "shortcut"
        start = f"encoder.stages.{int(match[1]) - 1}.layers.{match[2]}.{inner}"
    return f"{start}.convolution", f"{start}.normalization"


def _check_tensors(preset: Preset, network: ResNet) -> None:
    expected = {}
    for part in network.convolutions():
        expected[f"{part.names[0]}.weight"] = (part.filters, part.inputs, part.kernel, part.kernel)
        for kind in ("weight", "bias", "running_mean", "running_var"):
            expected[f"{part.names[1]}.{kind}"] = (part.filters,)
    check_tensors(
        preset, expected, lambda name: name.startswith(("fc.", "classifier.")) or name.endswith("num_batches_tracked")
    )
