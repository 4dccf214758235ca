"""The MobileNets of timm, version 3: their sizes, and under which names their weights are stored.

Takes a `Preset`; returns a `MobileNet`, or refuses what does not fit in one sentence. Must not import TensorFlow.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kerastrain.errors import InputError
from kerastrain.presets.fitting import check_tensors, missing
from kerastrain.presets.preset import Preset

_STRIDES = {"small": (2, 2, 2, 1, 2, 1), "large": (1, 2, 2, 2, 1, 2, 1)}  # of the first block of each stage
_RELU_STAGES = {"small": 2, "large": 3}  # the others have hard swish
_ORDERS = (  # the convolutions of each kind of block, with their normalizations
    (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3")),
    (("conv_dw", "bn1"), ("conv_pw", "bn2")),
    (("conv", "bn1"),),
)
_SQUEEZE = ("se.conv_reduce", "se.conv_expand")


@dataclass(frozen=True)
class MobileNetConvolution:
    """A convolution and the batch normalization after it.

    Args:
        name: str, the tensor of the convolution without ".weight".
        norm: str, the tensors of the normalization without ".weight" and the like.
        filters: int.
        inputs: int, channels.
        kernel: int, pixels of its side.
        strides: int.
        is_depthwise: bool.
        is_active: bool, whether an activation follows.
        squeeze: int, channels inside the squeeze-and-excite after it; 0 for none.
    """

    name: str
    norm: str
    filters: int
    inputs: int
    kernel: int
    strides: int
    is_depthwise: bool
    is_active: bool
    squeeze: int = 0


@dataclass(frozen=True)
class MobileNetBlock:
    """A block of convolutions.

    Args:
        name: str, what the names of its tensors begin with.
        convolutions: tuple of MobileNetConvolution, in order.
        activation: "relu" or "hard_silu".
        has_skip: bool, whether the input is added.
    """

    name: str
    convolutions: tuple[MobileNetConvolution, ...]
    activation: str
    has_skip: bool


@dataclass(frozen=True)
class MobileNet:
    """A MobileNet of version 3.

    Args:
        blocks: tuple of MobileNetBlock, the first convolution among them.
        head: (int, int), channels and features of the dense layer after the pooling.
    """

    blocks: tuple[MobileNetBlock, ...]
    head: tuple[int, int]

    def shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """The tensors that it has.

        Yields:
            (str, tuple of int): name and shape.
        """
        for block in self.blocks:
            for part in block.convolutions:
                inputs = 1 if part.is_depthwise else part.inputs
                yield f"{part.name}.weight", (part.filters, inputs, part.kernel, part.kernel)
                for kind in ("weight", "bias", "running_mean", "running_var"):
                    yield f"{part.norm}.{kind}", (part.filters,)
                if part.squeeze:
                    sizes = (part.squeeze, part.filters), (part.filters, part.squeeze)
                    for name, (outputs, channels) in zip(_SQUEEZE, sizes, strict=True):
                        yield f"{block.name}.{name}.weight", (outputs, channels, 1, 1)
                        yield f"{block.name}.{name}.bias", (outputs,)
        yield "conv_head.weight", (*reversed(self.head), 1, 1)
        yield "conv_head.bias", (self.head[1],)


def read(preset: Preset) -> MobileNet:
    """The sizes of a MobileNet and the names of its tensors.

    Args:
        preset: Preset of the family "mobilenet" of timm, with its weights.

    Returns:
        MobileNet, whose tensors are all there and have the right shapes.

    Raises:
        InputError: the weights are those of a variant that is not built here.
    """
    tensors = preset.tensors
    size = "small" if "_small" in preset.architecture else "large"
    for name in ("conv_stem.weight", "conv_head.weight"):
        if len(tensors.get(name, ())) != 4:
            raise InputError(missing(preset, name))
    stem = _convolution(preset, "conv_stem", "bn1", strides=2, is_active=True)
    blocks = [MobileNetBlock("", (stem,), "hard_silu", has_skip=False)]
    for stage, strides in enumerate(_STRIDES[size]):
        activation = "relu" if stage < _RELU_STAGES[size] else "hard_silu"
        for index in range(_depth(preset, stage)):
            blocks.append(_block(preset, f"blocks.{stage}.{index}", strides if index == 0 else 1, activation))
    network = MobileNet(tuple(blocks), (tensors["conv_head.weight"][1], tensors["conv_head.weight"][0]))
    check_tensors(
        preset, dict(network.shapes()), lambda name: name.startswith("classifier.") or "num_batches_tracked" in name
    )
    return network


def _block(preset: Preset, name: str, strides: int, activation: str) -> MobileNetBlock:
    tensors = preset.tensors
    order = next(order for order in _ORDERS if f"{name}.{order[-1][0]}.weight" in tensors or len(order) == 1)
    parts = []
    for convolution, norm in order:
        is_depthwise = convolution == "conv_dw"
        squeeze = tensors.get(f"{name}.{_SQUEEZE[0]}.weight", (0,))[0] if is_depthwise else 0
        parts.append(
            _convolution(
                preset,
                f"{name}.{convolution}",
                f"{name}.{norm}",
                strides=strides if is_depthwise else 1,
                is_depthwise=is_depthwise,
                # The last convolution of a block is linear, unless it is the only one.
                is_active=(convolution, norm) != order[-1] or len(order) == 1,
                squeeze=squeeze,
            )
        )
    has_skip = strides == 1 and len(order) > 1 and parts[0].inputs == parts[-1].filters
    return MobileNetBlock(name, tuple(parts), activation, has_skip)


def _convolution(preset: Preset, name: str, norm: str, *, is_depthwise: bool = False, **facts) -> MobileNetConvolution:
    shape = preset.tensors.get(f"{name}.weight", ())
    if len(shape) != 4:
        raise InputError(missing(preset, f"{name}.weight"))
    inputs = shape[0] if is_depthwise else shape[1]
    return MobileNetConvolution(name, norm, shape[0], inputs, shape[-1], is_depthwise=is_depthwise, **facts)


def _depth(preset: Preset, stage: int) -> int:
    pattern = re.compile(rf"blocks\.{stage}\.(\d+)\.")
    count = 1 + max((int(match[1]) for name in preset.tensors if (match := pattern.match(name))), default=-1)
    if not count:
        raise InputError(missing(preset, f"blocks.{stage}.0"))
    return count
