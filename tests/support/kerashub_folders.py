"""Writes folders of tiny image networks as KerasHub's `save_to_preset` does, with weights that make a difference."""

import numpy as np

IMAGE_FAMILIES = ("vit", "deit", "dinov2", "dinov3", "siglip", "resnet", "efficientnet")
"""The families that `write_image_preset` writes."""

_SIZES = {"patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 8}
_SHAPE = (32, 32, 3)


def write_image_preset(folder, family):
    """Writes the folder of a network for images of 32 by 32 pixels."""
    import keras_hub

    network = _network(keras_hub.models, family)
    random = np.random.default_rng(0)
    for weight in network.weights:
        if "int" in weight.dtype:
            continue
        is_large = len(weight.shape) < 2 or weight.path.endswith(
            ("token", "tokens", "embeddings", "position_embedding")
        )
        stddev = 0.4 if is_large else np.prod(weight.shape[:-1]) ** -0.5
        value = random.normal(0, stddev, weight.shape)
        value = 1 + np.abs(value) if weight.path.endswith(("gamma", "variance", "lambda1")) else value
        # Many large features would make the rounding of a step large.
        weight.assign(0.05 * value if weight.path == "top_bn/gamma" else value)
    network.save_to_preset(str(folder))
    kinds = {"vit": "ViT", "deit": "DeiT", "dinov2": "DINOV2", "dinov3": "DINOV3", "siglip": "SigLIP"}
    kind = {**kinds, "resnet": "ResNet", "efficientnet": "EfficientNet"}[family]
    converter = getattr(keras_hub.layers, f"{kind}ImageConverter")
    scaling = {"scale": [1 / 64, 1 / 128, 1 / 128], "offset": [-2.0, -1.0, -0.8]}
    converter(image_size=_SHAPE[:2], **scaling, crop_to_aspect_ratio=False).save_to_preset(str(folder))
    return folder


def _network(classes, family):
    sizes = {**_SIZES, "intermediate_dim": 16}
    if family == "vit":
        return classes.ViTBackbone(**_SIZES, mlp_dim=16, image_shape=_SHAPE)
    if family == "deit":
        return classes.DeiTBackbone(**sizes, image_shape=_SHAPE)
    if family == "dinov2":
        place = {"image_shape": _SHAPE, "position_embedding_shape": _SHAPE}
        return classes.DINOV2Backbone(**sizes, **place, num_register_tokens=2)
    if family == "dinov3":
        return classes.DINOV3Backbone(**sizes, image_shape=_SHAPE, num_register_tokens=2)
    if family == "siglip":
        texts = {"vocabulary_size": 20, "embedding_dim": 8, "max_sequence_length": 4, **sizes}
        del texts["patch_size"]
        return classes.SigLIPBackbone(
            classes.SigLIPVisionEncoder(**sizes, image_shape=_SHAPE), classes.SigLIPTextEncoder(**texts)
        )
    if family == "resnet":
        stem = {"input_conv_filters": [4, 4, 64], "input_conv_kernel_sizes": [3, 3, 3]}
        stages = {"stackwise_num_filters": [64, 8], "stackwise_num_blocks": [1, 1], "stackwise_num_strides": [1, 2]}
        return classes.ResNetBackbone(**stem, **stages, block_type="basic_block_vd", image_shape=(None, None, 3))
    return classes.EfficientNetBackbone(
        stackwise_kernel_sizes=[3, 5],
        stackwise_num_repeats=[1, 2],
        stackwise_input_filters=[8, 8],
        stackwise_output_filters=[8, 16],
        stackwise_expansion_ratios=[1, 4],
        stackwise_squeeze_and_excite_ratios=[0.25, 0.25],
        stackwise_strides=[1, 2],
        stackwise_block_types=["v1", "v1"],
        width_coefficient=1.0,
        depth_coefficient=1.0,
        stackwise_force_input_filters=[0, 0],
        stackwise_nores_option=[False, False],
        dropout=0.0,  # of whole blocks, whose masks differ between devices
    )
