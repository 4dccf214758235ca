"""The names that the weights of vision transformers have in the files of Hugging Face and timm.

From a role, such as "query", to a name without ".weight", with {} for the block. Must not read files.
"""

from collections.abc import Iterable

TRANSFORMERS = {
    "patches": "embeddings.patch_embeddings.projection",
    "positions": "embeddings.position_embeddings",
    "norm_1": "encoder.layer.{}.layernorm_before",
    "query": "encoder.layer.{}.attention.attention.query",
    "key": "encoder.layer.{}.attention.attention.key",
    "value": "encoder.layer.{}.attention.attention.value",
    "output": "encoder.layer.{}.attention.output.dense",
    "norm_2": "encoder.layer.{}.layernorm_after",
    "dense_1": "encoder.layer.{}.intermediate.dense",
    "dense_2": "encoder.layer.{}.output.dense",
    "norm": "layernorm",
}
DINOV2 = {
    **TRANSFORMERS,
    "norm_1": "encoder.layer.{}.norm1",
    "norm_2": "encoder.layer.{}.norm2",
    "dense_1": "encoder.layer.{}.mlp.fc1",
    "dense_2": "encoder.layer.{}.mlp.fc2",
    "scale_1": "encoder.layer.{}.layer_scale1.lambda1",
    "scale_2": "encoder.layer.{}.layer_scale2.lambda1",
}
DINOV3 = {
    "patches": "embeddings.patch_embeddings",
    "norm_1": "layer.{}.norm1",
    "query": "layer.{}.attention.q_proj",
    "key": "layer.{}.attention.k_proj",
    "value": "layer.{}.attention.v_proj",
    "output": "layer.{}.attention.o_proj",
    "scale_1": "layer.{}.layer_scale1.lambda1",
    "norm_2": "layer.{}.norm2",
    "dense_1": "layer.{}.mlp.up_proj",
    "dense_2": "layer.{}.mlp.down_proj",
    "scale_2": "layer.{}.layer_scale2.lambda1",
    "norm": "norm",
}
SIGLIP = {
    "patches": "embeddings.patch_embedding",
    "positions": "embeddings.position_embedding.weight",
    "norm_1": "encoder.layers.{}.layer_norm1",
    "query": "encoder.layers.{}.self_attn.q_proj",
    "key": "encoder.layers.{}.self_attn.k_proj",
    "value": "encoder.layers.{}.self_attn.v_proj",
    "output": "encoder.layers.{}.self_attn.out_proj",
    "norm_2": "encoder.layers.{}.layer_norm2",
    "dense_1": "encoder.layers.{}.mlp.fc1",
    "dense_2": "encoder.layers.{}.mlp.fc2",
    "norm": "post_layernorm",
}
TIMM = {
    "patches": "patch_embed.proj",
    "positions": "pos_embed",
    "norm_1": "blocks.{}.norm1",
    "qkv": "blocks.{}.attn.qkv",
    "output": "blocks.{}.attn.proj",
    "norm_2": "blocks.{}.norm2",
    "dense_1": "blocks.{}.mlp.fc1",
    "dense_2": "blocks.{}.mlp.fc2",
}
TIMM_SCALES = {"scale_1": "blocks.{}.ls1.gamma", "scale_2": "blocks.{}.ls2.gamma"}


def dinov3_names(tensors: Iterable[str]) -> dict[str, str]:
    """The names of DINOv3 in Hugging Face, whose blocks have a model around them in some files.

    Args:
        tensors: iterable of str, the names of the weights.

    Returns:
        dict as above.
    """
    around = "model." if any(name.startswith("model.layer.") for name in tensors) else ""
    return {role: around + name if name.startswith("layer.") else name for role, name in DINOV3.items()}
