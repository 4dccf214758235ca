"""Opens the networks of KerasHub from their folders. Must not know of heads or labels."""

import keras

from kerastrain.errors import InputError
from kerastrain.presets import Preset
from kerastrain.system import optional_imports


def opened(preset: Preset) -> keras.Model:
    """The network of a folder of KerasHub, as KerasHub builds it.

    Args:
        preset: Preset of the origin "kerashub", fetched.

    Returns:
        keras.Model with its weights.

    Raises:
        InputError: its config.json and its weights do not fit each other.
        MissingExtra: KerasHub is not installed.
    """
    keras_hub = optional_imports.need("keras_hub", extra="kerashub", to="open a preset of KerasHub")
    try:
        return keras_hub.models.Backbone.from_preset(preset.location)
    except (ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{preset.handle!r}: KerasHub cannot open it: {reason}") from error
