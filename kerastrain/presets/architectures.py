"""Which pretrained networks kerastrain builds, from which formats, and what the others of KerasHub are for.

Takes names; returns facts. Compared with KerasHub 0.32 by `tests/presets/test_architectures.py`. Must not import KerasHub.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """A family of networks.

    Args:
        kind: "images", "text" (encoders that are built), "encoder" (other encoders of texts), "language" (decoders and pairs
            of both) or "other".
        classes: tuple of str, the KerasHub classes of its backbones.
        model_types: tuple of str, the `model_type` in Hugging Face's config.json.
        origins: tuple of str, the formats from which kerastrain builds them: "kerashub", "transformers", "timm".
    """

    kind: str
    classes: tuple[str, ...]
    model_types: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()


FAMILIES = {
    "clip": Family("images", ("CLIPBackbone", "CLIPVisionEncoder")),
    "convnext": Family("images", (), ("convnext", "convnextv2", "dinov3_convnext"), ("transformers", "timm")),
    "cspnet": Family("images", ("CSPNetBackbone",)),
    "deit": Family("images", ("DeiTBackbone",), ("deit",), ("kerashub", "transformers")),
    "densenet": Family("images", ("DenseNetBackbone",)),
    "dinov2": Family("images", ("DINOV2Backbone",), ("dinov2", "dinov2_with_registers"), ("kerashub", "transformers")),
    "dinov3": Family("images", ("DINOV3Backbone",), ("dinov3_vit",), ("kerashub", "transformers")),
    "efficientnet": Family("images", ("EfficientNetBackbone",), (), ("kerashub", "timm")),
    "hgnetv2": Family("images", ("HGNetV2Backbone",)),
    "mit": Family("images", ("MiTBackbone",)),
    "mobilenet": Family("images", ("MobileNetBackbone",), (), ("timm",)),
    "mobilenetv5": Family("images", ("MobileNetV5Backbone",)),
    "resnet": Family("images", ("ResNetBackbone",), ("resnet",), ("kerashub", "timm", "transformers")),
    "siglip": Family(
        "images",
        ("SigLIPBackbone", "SigLIPVisionEncoder"),
        ("siglip", "siglip_vision_model"),
        ("kerashub", "transformers"),
    ),
    "swin_transformer": Family("images", ("SwinTransformerBackbone",), ("swin",)),
    "vgg": Family("images", ("VGGBackbone",)),
    "vit": Family("images", ("ViTBackbone",), ("vit",), ("kerashub", "transformers", "timm")),
    "xception": Family("images", ("XceptionBackbone",)),
    "albert": Family("encoder", ("AlbertBackbone",), ("albert",), ("kerashub", "transformers")),
    "bert": Family("text", ("BertBackbone",), ("bert",), ("kerashub", "transformers")),
    "deberta_v3": Family("text", ("DebertaV3Backbone",), ("deberta-v2",), ("kerashub", "transformers")),
    "distil_bert": Family("text", ("DistilBertBackbone",), ("distilbert",), ("kerashub", "transformers")),
    "electra": Family("text", ("ElectraBackbone",), ("electra",), ("kerashub", "transformers")),
    "f_net": Family("encoder", ("FNetBackbone",), (), ("kerashub",)),
    "mpnet": Family("text", (), ("mpnet",), ("transformers",)),
    "roberta": Family("text", ("RobertaBackbone",), ("roberta",), ("kerashub", "transformers")),
    "xlm_roberta": Family("text", ("XLMRobertaBackbone",), ("xlm-roberta",), ("kerashub", "transformers")),
    "bart": Family("language", ("BartBackbone",), ("bart",)),
    "bloom": Family("language", ("BloomBackbone",)),
    "falcon": Family("language", ("FalconBackbone",)),
    "gemma": Family("language", ("GemmaBackbone",), ("gemma", "gemma2"), ("kerashub", "transformers")),
    "gemma3": Family("language", ("Gemma3Backbone",), ("gemma3", "gemma3_text"), ("kerashub", "transformers")),
    "gemma3n": Family("language", ("Gemma3nBackbone",), ("gemma3n",)),
    "gemma4": Family("language", ("Gemma4Backbone",), ("gemma4", "gemma4_text", "gemma4_assistant")),
    "gpt2": Family("language", ("GPT2Backbone",), ("gpt2",)),
    "gpt_oss": Family("language", ("GptOssBackbone",), ("gpt_oss",)),
    "llama": Family("language", ("LlamaBackbone",), (), ("kerashub",)),
    "llama3": Family("language", ("Llama3Backbone",), ("llama",), ("kerashub", "transformers")),
    "mistral": Family("language", ("MistralBackbone",), ("mistral",), ("kerashub", "transformers")),
    "mixtral": Family("language", ("MixtralBackbone",), ("mixtral",)),
    "opt": Family("language", ("OPTBackbone",)),
    "phi3": Family("language", ("Phi3Backbone",)),
    "qwen": Family("language", ("QwenBackbone",), ("qwen2",), ("kerashub", "transformers")),
    "qwen3": Family("language", ("Qwen3Backbone",), ("qwen3",), ("kerashub", "transformers")),
    "qwen3_5": Family("language", ("Qwen3_5Backbone",), ("qwen3_5",)),
    "qwen3_5_moe": Family("language", ("Qwen3_5MoeBackbone",), ("qwen3_5_moe",)),
    "qwen3_moe": Family("language", ("Qwen3MoeBackbone",), ("qwen3_moe",)),
    "qwen_moe": Family("language", ("QwenMoeBackbone",), ("qwen2_moe",)),
    "rwkv7": Family("language", ("RWKV7Backbone",)),
    "smollm3": Family("language", ("SmolLM3Backbone",), ("smollm3",), ("kerashub", "transformers")),
    "t5": Family("language", ("T5Backbone",)),
    "t5gemma": Family("language", ("T5GemmaBackbone",), ("t5gemma",)),
    "t5gemma2": Family("language", ("T5Gemma2Backbone",), ("t5gemma2",)),
    # Networks that answer other questions than "what is this image or text".
    "basnet": Family("other", ("BASNetBackbone",)),
    "blip2": Family("other", ("BLIP2Backbone",), ("blip-2",)),
    "d_fine": Family("other", ("DFineBackbone",)),
    "deeplab_v3": Family("other", ("DeepLabV3Backbone",)),
    "depth_anything": Family("other", ("DepthAnythingBackbone",)),
    "esm": Family("other", ("ESMBackbone",), ("esm",)),
    "metaclip_2": Family("other", ("MetaCLIP2Backbone",), ("metaclip_2",)),
    "moonshine": Family("other", ("MoonshineBackbone",)),
    "pali_gemma": Family("other", ("PaliGemmaBackbone",), ("paligemma",)),
    "parseq": Family("other", ("PARSeqBackbone",)),
    "retinanet": Family("other", ("RetinaNetBackbone",)),
    "sam": Family("other", ("SAMBackbone",)),
    "sam3": Family("other", ("SAM3PromptableConceptBackbone",), ("sam3_video",)),
    "segformer": Family("other", ("SegFormerBackbone",)),
    "stable_diffusion_3": Family("other", ("StableDiffusion3Backbone",)),
    "video_prism": Family("other", ("VideoPrismBackbone",)),
    "whisper": Family("other", ("WhisperBackbone",)),
}
"""The families by the name of their folder in KerasHub; those without origins are only known, to be refused by name."""

TIMM = {
    **{f"efficientnet_{name}": "efficientnet" for name in ("b0", "b1", "b2", "b3", "b4", "b5", "lite0")},
    **{f"resnet{depth}": "resnet" for depth in (18, 26, 34, 50, 101, 152)},
}
"""The convolutional architectures of timm that are built, and their families."""

_TIMM_FAMILIES = {
    "vit": re.compile(r"(vit|deit|deit3)_(tiny|small|base|large)_patch\d+(_reg\d+)?(_[a-z]\w*)?(_\d+)?"),
    "mobilenet": re.compile(r"mobilenetv3_(small_(050|075|100)|large_(075|100))"),
    "convnext": re.compile(r"convnext(v2)?_(atto|femto|pico|nano|tiny(_hnf)?|small|base|large|xlarge|xxlarge|huge)"),
}


def timm_family(architecture: str) -> str | None:
    """The family of an architecture of timm.

    Args:
        architecture: str, such as "resnet50" or "vit_base_patch16_224".

    Returns:
        str, a key of `FAMILIES`, or None if it is not known.
    """
    matches = (family for family, pattern in _TIMM_FAMILIES.items() if pattern.fullmatch(architecture))
    return next(matches, TIMM.get(architecture))


LANGUAGE_MODELS = ("gemma", "gemma2", "gemma3", "gemma3_text", "llama", "mistral", "qwen2", "qwen3", "smollm3")
"""The model types of Hugging Face of the language models that are built; of gemma3 the part for texts."""

MODEL_TYPES = {name: family for family, facts in FAMILIES.items() for name in facts.model_types}
"""The model types of Hugging Face, and their families."""

CLASSES = {name: family for family, facts in FAMILIES.items() for name in facts.classes}
"""The classes of KerasHub, and their families."""

SIMILAR = {
    "efficientnet": "keras:EfficientNetB0",
    "mobilenet_v2": "keras:MobileNetV2",
}
"""What to give instead of a Hugging Face folder of a network that is not built from there."""


def is_built(origin: str, name: str, family: str) -> bool:
    """Whether kerastrain builds a network.

    Args:
        origin: "kerashub", "transformers" or "timm", the format of its files.
        name: str, the architecture, as its config.json names it.
        family: str, a key of `FAMILIES`.

    Returns:
        bool.

    Example:
        >>> is_built("transformers", "llama", "llama3"), is_built("kerashub", "GPT2Backbone", "gpt2")
        (True, False)
    """
    if FAMILIES[family].kind == "language" and origin == "transformers":
        return name in LANGUAGE_MODELS
    return origin in FAMILIES[family].origins


def known(origin: str, kind: str) -> list[str]:
    """The networks of a kind that can be read from an origin: families for KerasHub, else architectures.

    Args:
        origin: "kerashub", "transformers" or "timm".
        kind: "images", "text" or "language".

    Returns:
        list of str, sorted.
    """
    if kind == "language" and origin == "transformers":
        return list(LANGUAGE_MODELS)
    names = {"kerashub": {family: family for family in FAMILIES}, "transformers": MODEL_TYPES, "timm": TIMM}[origin]
    built = [
        name for name, family in names.items() if FAMILIES[family].kind == kind and origin in FAMILIES[family].origins
    ]
    if origin == "timm" and kind == "images":
        built += [
            "convnext_tiny and the like",
            "mobilenetv3_large_100 and the like",
            "vit_base_patch16_224 and the like",
        ]
    return sorted(built)
