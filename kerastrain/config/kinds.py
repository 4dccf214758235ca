"""Which settings are for networks that classify, and which for language models. Must not import TensorFlow."""

import operator

from kerastrain.config.expectations import shown
from kerastrain.config.values import Section

_HEAD = "a language model has no new head"
_OF_CLASSIFIERS = {  # key -> why a language model does not have it
    "model.hidden_units": _HEAD,
    "model.dropout": f"{_HEAD}; for LoRA, fine_tune.lora_dropout",
    "model.batch_norm": _HEAD,
    "model.l1": _HEAD,
    "model.l2": _HEAD,
    "fit.head_epochs": _HEAD,
    "fit.head_stop_epoch": _HEAD,
    "fit.head_views": _HEAD,
    "fit.label_smoothing": "the loss of a language model is that of the tokens as they are",
    "optimizer.fine_tune_fraction": "a language model has one phase, with optimizer.learning_rate",
    "fine_tune.batch_norm": "a language model has no batch normalization",
    "fine_tune.from_layer": "fine_tune.last names the number of blocks that train",
    "fine_tune.timetable": "the same blocks train in all epochs, the number of fine_tune.last",
    "fine_tune.layer_rate_decay": "optimizer.layer_rates has factors by the paths of weights",
    "evaluation.threshold": "a language model has no probabilities of classes",
    "evaluation.positive": "a language model has no classes",
    "evaluation.temperature": "the temperature of its answers is an option of `kerastrain generate`",
    "export.operating_point": "a language model has no thresholds",
    "export.probabilities": "files of language models return logits or tokens",
    "export.samples": "files of language models are compared on a few prompts",
    "export.score_loss_fraction": "files of language models are compared by logits and greedy tokens",
    "export.representative_samples": "files of language models have no int8 ranges to calibrate",
}
_OF_LANGUAGE_MODELS = (
    "evaluation.answers",
    "evaluation.answer_tokens",
    "fine_tune.lora_dropout",
    "fine_tune.lora_rank_stabilized",
    "fine_tune.quantize",
)


def check(config: Section, *, is_language: bool) -> None:
    """Raises an error if a setting is given that a run of this kind would ignore.

    Args:
        config: Config.
        is_language: bool, whether it is of a language model.

    Raises:
        ValueError: a setting is for the other kind.
    """
    for path in _OF_CLASSIFIERS if is_language else _OF_LANGUAGE_MODELS:
        section, key = path.split(".")
        value = operator.attrgetter(path)(config)
        if value == type(getattr(config, section)).model_fields[key].default:
            continue
        if is_language:
            raise ValueError(
                f"{path} is for networks that classify; {_OF_CLASSIFIERS[path]}. Received: {shown(value)}. Remove it."
            )
        raise ValueError(
            f"{path} is for language models. Received: {shown(value)}, and data.kind={config.data.kind}. Remove it."
        )
    if is_language and config.fit.epochs == 0:
        raise ValueError("fit.epochs must be above 0 for a language model, which has no other phase. Received: 0.")
    if is_language and config.runtime.precision == "mixed_float16":
        raise ValueError(
            "runtime.precision of a language model must be float32 or mixed_bfloat16, because what its blocks compute exceeds "
            "the 65,504 up to which float16 reaches. Received: mixed_float16. Set runtime.precision=mixed_bfloat16."
        )
    for key in ("precision", "jit_compile"):
        if is_language and getattr(config.runtime, key) == "measure":
            raise ValueError(
                f"runtime.{key}=measure is for networks that classify: nothing is measured for a language model. Set "
                f"runtime.{key} to the value that you want."
            )
