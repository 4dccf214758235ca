"""Files for servers and phones, each re-opened in its own runtime and held against `predict` before it is believed.

`saved_model` writes for TensorFlow Serving, `tflite` for LiteRT. Both take a keras.Model and real inputs, give a
`Parity`, and leave nothing behind when the file does not answer as the model does. `tokenize` makes the token ids that a
TFLite file of a model of texts takes.
"""

from kerastrain.export.litert import tflite
from kerastrain.export.parity import TOLERANCES, Parity, ParityError, Tolerance
from kerastrain.export.serving import saved_model
from kerastrain.export.tokens import tokenize

__all__ = ["TOLERANCES", "Parity", "ParityError", "Tolerance", "saved_model", "tflite", "tokenize"]
