"""The ConvNeXts of Hugging Face and timm: their sizes, and under which names their weights are stored.

Takes a `Preset`; returns a `ConvNeXt`, or refuses what does not fit in one sentence. Must not import TensorFlow.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kerastrain.errors import InputError
from kerastrain.presets.fitting import check_tensors, missing, unsupported
from kerastrain.presets.preset import Preset

_CONVNEXT = {
    "stem": "embeddings.patch_embeddings",
    "stem_norm": "embeddings.layernorm",
    "downsample_norm": "encoder.stages.{}.downsampling_layer.0",
    "downsample": "encoder.stages.{}.downsampling_layer.1",
    "depthwise": "encoder.stages.{}.layers.{}.dwconv",
    "norm": "encoder.stages.{}.layers.{}.layernorm",
    "pointwise_1": "encoder.stages.{}.layers.{}.pwconv1",
    "response": "encoder.stages.{}.layers.{}.grn",
    "pointwise_2": "encoder.stages.{}.layers.{}.pwconv2",
    "scale": "encoder.stages.{}.layers.{}.layer_scale_parameter",
    "head_norm": "layernorm",
}
_DINOV3 = {
    "stem": "stages.0.downsample_layers.0",
    "stem_norm": "stages.0.downsample_layers.1",
    "downsample_norm": "stages.{}.downsample_layers.0",
    "downsample": "stages.{}.downsample_layers.1",
    "depthwise": "stages.{}.layers.{}.depthwise_conv",
    "norm": "stages.{}.layers.{}.layer_norm",
    "pointwise_1": "stages.{}.layers.{}.pointwise_conv1",
    "response": "stages.{}.layers.{}.grn",
    "pointwise_2": "stages.{}.layers.{}.pointwise_conv2",
    "scale": "stages.{}.layers.{}.gamma",
    "head_norm": "layer_norm",
}
_TIMM = {
    "stem": "stem.0",
    "stem_norm": "stem.1",
    "downsample_norm": "stages.{}.downsample.0",
    "downsample": "stages.{}.downsample.1",
    "depthwise": "stages.{}.blocks.{}.conv_dw",
    "norm": "stages.{}.blocks.{}.norm",
    "pointwise_1": "stages.{}.blocks.{}.mlp.fc1",
    "response": "stages.{}.blocks.{}.mlp.grn",
    "pointwise_2": "stages.{}.blocks.{}.mlp.fc2",
    "scale": "stages.{}.blocks.{}.gamma",
    "head_norm": "head.norm",
}
_HEADS = ("classifier.", "head.fc.")


@dataclass(frozen=True)
class ConvNeXt:
    """A ConvNeXt.

    Args:
        patch_size: int, pixels of the side of the first convolution, and its strides.
        widths: tuple of int, channels of each stage.
        depths: tuple of int, blocks of each stage.
        kernel: int, pixels of the side of the depthwise convolutions.
        has_response: bool, whether blocks normalize the responses of their channels, as in version 2.
        has_scale: bool, whether blocks scale their channels, as in version 1.
        epsilon: float, of the layer normalizations.
        head_epsilon: float, of the one after the last stage.
        normalizes_maps: bool, whether the last normalization comes before the mean over the maps instead of after it.
        names: mapping from a role, such as "stem", to the tensor's name without ".weight", with {} for stage and block.
    """

    patch_size: int
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    kernel: int
    has_response: bool
    has_scale: bool
    epsilon: float
    head_epsilon: float
    normalizes_maps: bool
    names: Mapping[str, str]

    def name(self, role: str, *indices: int) -> str:
        """The name of a tensor.

        Args:
            role: str, a key of `names`.
            *indices: int, the stage and the block, where the role is of one.

        Returns:
            str, without ".weight" or ".bias".
        """
        return self.names[role].format(*indices)

    def shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """The tensors that it has.

        Yields:
            (str, tuple of int): name and shape.
        """

        def layer(name: str, *shape: int):
            yield f"{name}.weight", shape
            yield f"{name}.bias", shape[:1]

        yield from layer(self.name("stem"), self.widths[0], 3, self.patch_size, self.patch_size)
        yield from layer(self.name("stem_norm"), self.widths[0])
        for stage, (width, depth) in enumerate(zip(self.widths, self.depths, strict=True)):
            if stage:
                yield from layer(self.name("downsample_norm", stage), self.widths[stage - 1])
                yield from layer(self.name("downsample", stage), width, self.widths[stage - 1], 2, 2)
            for block in range(depth):
                yield from layer(self.name("depthwise", stage, block), width, 1, self.kernel, self.kernel)
                yield from layer(self.name("norm", stage, block), width)
                yield from layer(self.name("pointwise_1", stage, block), 4 * width, width)
                yield from layer(self.name("pointwise_2", stage, block), width, 4 * width)
                if self.has_response:
                    yield from layer(self.name("response", stage, block), 4 * width)
                if self.has_scale:
                    yield self.name("scale", stage, block), (width,)
        yield from layer(self.name("head_norm"), self.widths[-1])


def read(preset: Preset) -> ConvNeXt:
    """The sizes of a ConvNeXt and the names of its tensors.

    Args:
        preset: Preset of the family "convnext" from Hugging Face or timm, with its weights.

    Returns:
        ConvNeXt, whose tensors are all there and have the right shapes.

    Raises:
        InputError: its config.json asks for something that is not built here, or does not fit the weights.
    """
    tensors, config = preset.tensors, preset.config
    if preset.origin == "timm":
        names = dict(_TIMM)
        if normalizes_maps := "norm_pre.weight" in tensors:
            names["head_norm"] = "norm_pre"
        epsilon = head_epsilon = 1e-5 if "xxlarge" in preset.architecture else 1e-6
        if config.get("global_pool", "avg") != "avg":
            raise InputError(unsupported(preset, "global_pool", config["global_pool"], "it must be 'avg'"))
    else:
        for key, accepted in {"hidden_act": "gelu", "num_channels": 3}.items():
            if config.get(key, accepted) != accepted:
                raise InputError(unsupported(preset, key, config[key], f"it must be {accepted!r}"))
        is_dinov3 = preset.architecture == "dinov3_convnext"
        names, normalizes_maps = (_DINOV3 if is_dinov3 else _CONVNEXT), False
        names = {role: _around(tensors, name.partition("{")[0]) + name for role, name in names.items()}
        head_epsilon = float(config.get("layer_norm_eps", 1e-6 if is_dinov3 else 1e-12))
        epsilon = head_epsilon if is_dinov3 else 1e-6
    stem, kernel = tensors.get(f"{names['stem']}.weight", ()), tensors.get(f"{names['depthwise'].format(0, 0)}.weight")
    if len(stem) != 4 or stem[1] != 3 or kernel is None:
        lacking = names["depthwise"].format(0, 0) if len(stem) == 4 and stem[1] == 3 else names["stem"]
        raise InputError(missing(preset, f"{lacking}.weight"))
    widths = [stem[0]]
    while (shape := tensors.get(f"{names['downsample'].format(len(widths))}.weight")) is not None:
        widths.append(shape[0])
    depths = [_depth(tensors, names["depthwise"], stage) for stage in range(len(widths))]
    network = ConvNeXt(
        patch_size=stem[-1],
        widths=tuple(widths),
        depths=tuple(depths),
        kernel=kernel[-1],
        has_response=f"{names['response'].format(0, 0)}.weight" in tensors,
        has_scale=names["scale"].format(0, 0) in tensors,
        epsilon=epsilon,
        head_epsilon=head_epsilon,
        normalizes_maps=normalizes_maps,
        names=names,
    )
    _check_tensors(preset, network)
    return network


def _around(tensors: Mapping[str, tuple[int, ...]], start: str) -> str:
    """What the names of a model inside another begin with: "convnext." in a classifier, "model." around stages."""
    for around in ("", "convnext.", "convnextv2.", "model.", "model.model."):
        if any(name.startswith(around + start) for name in tensors):
            return around
    return ""


def _depth(tensors: Mapping[str, tuple[int, ...]], name: str, stage: int) -> int:
    pattern = re.compile(re.escape(name).replace(r"\{\}", "{}").format(stage, r"(\d+)") + r"\.weight")
    return 1 + max((int(match[1]) for each in tensors if (match := pattern.fullmatch(each))), default=-1)


def _check_tensors(preset: Preset, network: ConvNeXt) -> None:
    config = preset.config
    for key, found in (("hidden_sizes", network.widths), ("depths", network.depths)):
        if preset.origin == "transformers" and tuple(config.get(key) or found) != found:
            raise InputError(
                f"{preset.handle!r} does not fit its config.json, which has {key}={config[key]}: its weights have "
                f"{list(found)}. Download the folder again."
            )
    check_tensors(preset, dict(network.shapes()), lambda name: any(head in name for head in _HEADS))
