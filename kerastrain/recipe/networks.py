"""The names of the networks behind `keras:NAME`, and what is known of them without TensorFlow or Keras.

Takes names and sizes; raises errors. Must not import TensorFlow.
"""

from kerastrain.errors import InputError, unknown

IMAGE_NETWORKS = (
    *("ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtSmall", "ConvNeXtTiny", "ConvNeXtXLarge"),
    *("DenseNet121", "DenseNet169", "DenseNet201"),
    *("EfficientNetB0", "EfficientNetB1", "EfficientNetB2", "EfficientNetB3"),
    *("EfficientNetB4", "EfficientNetB5", "EfficientNetB6", "EfficientNetB7"),
    *("EfficientNetV2B0", "EfficientNetV2B1", "EfficientNetV2B2", "EfficientNetV2B3"),
    *("EfficientNetV2L", "EfficientNetV2M", "EfficientNetV2S"),
    *("InceptionResNetV2", "InceptionV3"),
    *("MobileNet", "MobileNetV2", "MobileNetV3Large", "MobileNetV3Small"),
    *("NASNetLarge", "NASNetMobile"),
    *("ResNet101", "ResNet101V2", "ResNet152", "ResNet152V2", "ResNet50", "ResNet50V2"),
    *("VGG16", "VGG19", "Xception"),
)
TEXT_NETWORKS = ("ngrams", "embedding", "transformer")
HANDLES = tuple(f"keras:{name}" for name in (*IMAGE_NETWORKS, *TEXT_NETWORKS))
"""The handles of these networks, as in `model.backbone`."""
SMALLEST_SIDES = {"InceptionResNetV2": 75, "InceptionV3": 75, "Xception": 71}
"""The smallest image side of a network in pixels, where it is not 32."""

MILLIONS_OF_PARAMETERS = {
    **{
        "ConvNeXtTiny": 27.8,
        "ConvNeXtSmall": 49.5,
        "ConvNeXtBase": 87.6,
        "ConvNeXtLarge": 196.2,
        "ConvNeXtXLarge": 348.1,
    },
    **{"DenseNet121": 7.0, "DenseNet169": 12.6, "DenseNet201": 18.3},
    **{"EfficientNetB0": 4.0, "EfficientNetB1": 6.6, "EfficientNetB2": 7.8, "EfficientNetB3": 10.8},
    **{"EfficientNetB4": 17.7, "EfficientNetB5": 28.5, "EfficientNetB6": 41.0, "EfficientNetB7": 64.1},
    **{"EfficientNetV2B0": 5.9, "EfficientNetV2B1": 6.9, "EfficientNetV2B2": 8.8, "EfficientNetV2B3": 12.9},
    **{"EfficientNetV2S": 20.3, "EfficientNetV2M": 53.2, "EfficientNetV2L": 117.7},
    **{"InceptionResNetV2": 54.3, "InceptionV3": 21.8, "Xception": 20.9},
    **{"MobileNet": 3.2, "MobileNetV2": 2.3, "MobileNetV3Large": 3.0, "MobileNetV3Small": 0.9},
    **{"NASNetLarge": 84.9, "NASNetMobile": 4.3},
    **{
        "ResNet50": 23.6,
        "ResNet101": 42.7,
        "ResNet152": 58.4,
        "ResNet50V2": 23.6,
        "ResNet101V2": 42.6,
        "ResNet152V2": 58.3,
    },
    **{"VGG16": 14.7, "VGG19": 20.0},
}
"""The sizes of the networks of images without their top, at their usual width."""


def check(kind: str, backbone: str, image_size: tuple[int, int] | None) -> None:
    """Raises an error if a backbone's name shows that it cannot be used.

    Args:
        kind: "images" or "text".
        backbone: str, as in `model.backbone`.
        image_size: (height, width) in pixels, or None for the backbone's own.

    Raises:
        InputError: the network is unknown, is for the other kind of data, or takes only larger images.
    """
    if kind == "text" and backbone.startswith("kerastrain:"):
        raise InputError(
            f"`model.backbone` must be for texts, such as keras:ngrams. Received: {backbone!r}, which is for images."
        )
    if not backbone.startswith("keras:"):
        return
    name, known = backbone.removeprefix("keras:"), IMAGE_NETWORKS if kind == "images" else TEXT_NETWORKS
    if name not in known:
        other = name in (*IMAGE_NETWORKS, *TEXT_NETWORKS)
        hint = f" {name} is for {'texts' if kind == 'images' else 'images'}: set data.kind." if other else ""
        raise InputError(f"`model.backbone`: {unknown('network', name, known)}{hint}")
    smallest = SMALLEST_SIDES.get(name, 32)
    if image_size is not None and min(image_size) < smallest:
        raise InputError(
            f"`data.image_size` must be at least {smallest} by {smallest} pixels for {name}. Received: {list(image_size)}."
        )
