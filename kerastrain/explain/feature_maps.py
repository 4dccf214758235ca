"""Which step of a flat model computes the feature maps that class activation maps are drawn from.

Takes a model and its flat form; returns a `Step`, or says why there is none. Must not run the model.
"""

import re

import keras
import numpy as np

from kerastrain.errors import InputError, unknown
from kerastrain.explain.flattening import Step, returns_attention_scores
from kerastrain.keras_internals.graph import is_transparent
from kerastrain.keras_internals.layers import every_layer
from kerastrain.layers.tokens import TokensToMaps

_ATTENTION = re.compile(r"(Self|Multi\w*Head\w*|Window\w*|Query|Relative|Rotary|Cross)Attention")


class NoFeatureMaps(InputError):
    """A model has no feature maps that Grad-CAM could use; `reason` says why in half a sentence.

    Args:
        reason: str, such as "its backbone is opaque".
        model: str, the model's name.
    """

    def __init__(self, reason: str, model: str):
        self.reason = reason
        super().__init__(
            f"Grad-CAM needs feature maps (batch, height, width, channels), and the model {model!r} has none: {reason}. Use "
            "occlusion (`--method occlusion`), which needs none, or leave the method out."
        )


def has_attention(model: keras.Model) -> bool:
    """Whether a model has a layer of attention, also inside its layers.

    Args:
        model: keras.Model.
    """
    return any(is_attention(layer) for layer in every_layer(model))


def is_attention(layer: keras.Layer) -> bool:
    """Whether a layer is attention, by its class or by the name of its class.

    Args:
        layer: keras.Layer.
    """
    known = keras.layers.Attention | keras.layers.AdditiveAttention
    named = any(_ATTENTION.search(kind.__name__) for kind in type(layer).__mro__)
    return returns_attention_scores(layer) or isinstance(layer, known) or named


def feature_maps(model: keras.Model, flat: keras.Model, name: str | None = None) -> Step:
    """The step whose output are the feature maps.

    Args:
        model: keras.Model.
        flat: keras.Model, `flattening.flattened(model, …)`.
        name: str, name of the layer that computes them, with or without the names of the models around it; None for the last
            maps.

    Returns:
        Step of `flat`.

    Raises:
        NoFeatureMaps: there are none, or attention mixes their positions afterwards.
        InputError: no layer has this name, or several do.
    """
    steps = [step for step in flat.layers if isinstance(step, Step)]
    first = next((index for index, step in enumerate(steps) if step.has_weights), len(steps))
    # Before the first layer with weights there is only the preprocessed image.
    spatial = [step for step in steps[first:] if _is_spatial(step.output)] if is_transparent(model) else []
    if not spatial:
        raise NoFeatureMaps(_why_none(model, flat), model.name)
    if name is None:
        chosen = spatial[-1]
    else:
        matches = [step for step in spatial if step.origin == name or step.origin.endswith(f"/{name}")]
        if len(matches) != 1:
            known = {step.origin for step in spatial} | set(flat.notes.inner)
            raise InputError(unknown("feature map layer", name, known))
        chosen = matches[0]
    mixing = [step for step in steps[steps.index(chosen) + 1 :] if _mixes(step)]
    if mixing and not isinstance(chosen.of.operation, TokensToMaps):
        reason = f"attention ({mixing[0].origin!r}) mixes the positions of the last ones ({chosen.origin!r}) afterwards"
        raise NoFeatureMaps(reason, model.name)
    return chosen


def shape_text(step: Step) -> str:
    """The size of feature maps, such as "7 x 7".

    Args:
        step: Step that computes maps.
    """
    return " x ".join(str(side) for side in step.output.shape[1:3])


def is_flattened(flat: keras.Model, maps: Step) -> bool:
    """Whether the maps are not pooled but flattened, so that every position has weights of its own.

    Args:
        flat: keras.Model from `flattening.flattened`.
        maps: Step of it.
    """
    steps = [step for step in flat.layers if isinstance(step, Step)]
    return any(
        isinstance(step.of.operation, keras.layers.Flatten)
        and isinstance(step.input, keras.KerasTensor)
        and len(step.input.shape) == 4
        and np.prod([side or 2 for side in step.input.shape[1:3]]) > 1
        for step in steps[steps.index(maps) + 1 :]
    )


def _mixes(step: Step) -> bool:
    operation = step.of.operation
    return isinstance(operation, keras.Layer) and any(is_attention(layer) for layer in every_layer(operation))


def _why_none(model: keras.Model, flat: keras.Model) -> str:
    if not is_transparent(model):
        return "it overrides `call`, so that its graph is not known"
    if flat.notes.uncut:
        name, reason = flat.notes.uncut[-1]
        return f"the Hub module {name!r} cannot be cut, because {reason}"
    return "it is opaque or not convolutional, or its maps are 1 by 1"


def _is_spatial(output) -> bool:
    return (
        isinstance(output, keras.KerasTensor)
        and len(output.shape) == 4
        and "float" in output.dtype
        and tuple(output.shape[1:3]) != (1, 1)
    )
