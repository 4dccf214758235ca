"""How a pretrained network wants its pixels, as the file beside it says.

Takes a `Preset`; returns the scale and the offset of each channel, and what differs from the origin. Must not import
TensorFlow.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kerastrain.errors import InputError
from kerastrain.presets.preset import Preset

_FILES = {"transformers": "preprocessor_config.json", "timm": "config.json", "kerashub": "image_converter.json"}
_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}  # of Pillow


@dataclass(frozen=True)
class ImageScaling:
    """What happens to pixels in [0, 255] before a network sees them: `pixel * scale + offset`.

    Args:
        scale: tuple of three float, for red, green and blue.
        offset: tuple of three float.
        source: str, where that was read.
        resampling: str or None, how the origin resizes images, such as "bicubic".
        crops: bool, whether the origin cuts out the middle of an image.
        pads: bool, whether the origin adds a border instead of distorting an image.
    """

    scale: tuple[float, float, float]
    offset: tuple[float, float, float]
    source: str
    resampling: str | None = None
    crops: bool = False
    pads: bool = False

    def value_range(self) -> tuple[float, float] | None:
        """The range of the scaled pixels; None where each channel has its own."""
        if len(set(self.scale)) > 1 or len(set(self.offset)) > 1:
            return None
        return self.offset[0], 255 * self.scale[0] + self.offset[0]

    def notes(self, resize: str = "stretch") -> tuple[str, ...]:
        """What was read, and what the origin does otherwise.

        Args:
            resize: str, as in `data.resize`.

        Returns:
            tuple of str, a sentence each.
        """
        shown = self.value_range()
        if shown is not None:
            scaled = f"pixels scaled to [{shown[0]:g}, {shown[1]:g}]"
        else:
            means = ", ".join(
                f"{-offset / scale / 255:.3g}" for scale, offset in zip(self.scale, self.offset, strict=True)
            )
            stddevs = ", ".join(f"{1 / scale / 255:.3g}" for scale in self.scale)
            scaled = f"pixels scaled by the means ({means}) and standard deviations ({stddevs}) of [0, 1]"
        notes = [f"{scaled}, as {self.source} says"]
        if self.resampling not in (None, "bilinear"):
            notes.append(
                f"its origin resizes images with {self.resampling} resampling, kerastrain with antialiased bilinear"
            )
        if self.crops and resize != "crop":
            notes.append(
                "its origin cuts out the middle of an image instead of distorting it: data.resize=crop does so too"
            )
        if self.pads and resize != "pad":
            notes.append("its origin adds a border instead of distorting an image: data.resize=pad does so too")
        return tuple(notes)


def image_scaling(preset: Preset, value_range: tuple[float, float] | None = None) -> ImageScaling:
    """How a network wants its pixels.

    Args:
        preset: Preset of images.
        value_range: (low, high) that pixels are scaled to, where the folder does not say it.

    Returns:
        ImageScaling.

    Raises:
        InputError: the folder does not say it and there is no `value_range`, or both, or what it says is incomplete.
    """
    values, file = preset.preprocessing, _FILES[preset.origin]
    is_known = {"transformers": bool(values), "timm": "mean" in values, "kerashub": "scale" in values}[preset.origin]
    if value_range is not None:
        if is_known:
            raise InputError(
                f"`model.value_range` is fixed by {file} of {preset.handle!r}. Received: "
                f"[{value_range[0]:g}, {value_range[1]:g}]. Remove it, or change {file}."
            )
        low, high = map(float, value_range)
        return ImageScaling(((high - low) / 255,) * 3, (low,) * 3, "model.value_range")
    if not is_known:
        raise InputError(
            f"{preset.handle!r} does not say how its pixels are scaled: {_lack(preset.origin, file)}. Copy that file from "
            "where the network comes from, or set model.value_range, such as [-1, 1]."
        )
    return {"transformers": _transformers, "timm": _timm, "kerashub": _kerashub}[preset.origin](preset, values, file)


def _lack(origin: str, file: str) -> str:
    if origin == "timm":
        return f"its {file} has no mean in pretrained_cfg"
    return f"it holds no {file}" if origin == "transformers" else f"its {file} is missing or has no scale"


def _transformers(preset: Preset, values: Mapping[str, Any], file: str) -> ImageScaling:
    if values.get("rescale_offset"):
        raise InputError(
            f"{file} of {preset.handle!r} has rescale_offset={values['rescale_offset']}, which is not known here."
        )
    factor = values.get("rescale_factor", 1 / 255) if values.get("do_rescale", True) else 1.0
    if not _is_number(factor) or factor <= 0:
        raise InputError(f"rescale_factor in {file} of {preset.handle!r} must be above 0. Received: {factor!r}.")
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if values.get("do_normalize", True):
        mean = _three(preset, file, "image_mean", values.get("image_mean"))
        std = _three(preset, file, "image_std", values.get("image_std"), above=0)
    return ImageScaling(
        tuple(factor / each for each in std),
        tuple(-a / b for a, b in zip(mean, std, strict=True)),
        file,
        _RESAMPLING.get(values.get("resample")),
        bool(values.get("do_center_crop") or values.get("crop_pct")),
    )


def _timm(preset: Preset, values: Mapping[str, Any], file: str) -> ImageScaling:
    mean = _three(preset, file, "pretrained_cfg.mean", values.get("mean"))
    std = _three(preset, file, "pretrained_cfg.std", values.get("std"), above=0)
    return ImageScaling(
        tuple(1 / 255 / each for each in std),
        tuple(-a / b for a, b in zip(mean, std, strict=True)),
        f"pretrained_cfg in {file}",
        values.get("interpolation"),
        values.get("crop_mode", "center") == "center",
    )


def _kerashub(preset: Preset, values: Mapping[str, Any], file: str) -> ImageScaling:
    scale = 1.0 if values["scale"] is None else values["scale"]
    offset = 0.0 if values.get("offset") is None else values["offset"]
    return ImageScaling(
        _three(preset, file, "scale", [scale] * 3 if _is_number(scale) else scale, above=0),
        _three(preset, file, "offset", [offset] * 3 if _is_number(offset) else offset),
        file,
        f"{'' if values.get('antialias') else 'not antialiased '}{values.get('interpolation', 'bilinear')}",
        bool(values.get("crop_to_aspect_ratio")),
        bool(values.get("pad_to_aspect_ratio")),
    )


def _three(preset: Preset, file: str, name: str, values: Any, above: float | None = None) -> tuple[float, float, float]:
    fits = isinstance(values, list | tuple) and len(values) == 3 and all(map(_is_number, values))
    if not fits or (above is not None and min(values) <= above):
        limit = f" above {above}" if above is not None else ""
        raise InputError(
            f"{name} in {file} of {preset.handle!r} must be three numbers{limit}, for red, green and blue. Received: "
            f"{values!r}."
        )
    return tuple(map(float, values))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
