"""Files for servers and phones, each re-opened in its own runtime and compared with `predict` before it is kept.

`saved_model` writes for TensorFlow Serving, `tflite` for LiteRT, `onnx` for ONNX Runtime, `keras_file` for Keras. Each
takes a keras.Model and real inputs and returns a `Parity`; if the file's outputs differ from the model's, the file is
removed and `ParityError` raised. `Session` writes several files of one model in less time. `language_models` holds the
exports of models that write text. `tokenize` makes the token ids that a TFLite or ONNX file of a model of texts takes.
`costs` measures the time and memory of TFLite files. Must not train.
"""

from kerastrain.export import language_models
from kerastrain.export.benchmark import Cost, costs
from kerastrain.export.keras_files import keras_file
from kerastrain.export.litert import tflite
from kerastrain.export.onnx_files import onnx
from kerastrain.export.parity import TOLERANCES, Parity, ParityError, Tolerance
from kerastrain.export.serving import saved_model
from kerastrain.export.serving_process import ServingProcess
from kerastrain.export.session import Pending, Session
from kerastrain.export.tokenizing import tokenize

__all__ = [
    "TOLERANCES",
    "Cost",
    "Parity",
    "ParityError",
    "Pending",
    "ServingProcess",
    "Session",
    "Tolerance",
    "costs",
    "keras_file",
    "language_models",
    "onnx",
    "saved_model",
    "tflite",
    "tokenize",
]
