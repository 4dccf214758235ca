"""Models of texts without their first step: TFLite holds no strings, so texts become token ids outside of the file;
ONNX has strings, and no operations to take them apart.

Takes a keras.Model whose texts enter a `TextVectorization`; gives the model behind that layer, and a description by
which any program makes the same ids. Must not convert or write.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.export import metadata
from kerastrain.transfer import freezing

PUNCTUATION = "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'"
"""What `TextVectorization` strips, https://keras.io/api/layers/preprocessing_layers/text/text_vectorization/."""

_DESCRIBABLE = {
    "standardize": (None, "lower", "strip_punctuation", "lower_and_strip_punctuation"),
    "split": ("whitespace", "character"),
    "output_mode": ("int",),
    "ragged": (False,),
    "encoding": ("utf-8",),
}


@dataclasses.dataclass(frozen=True)
class Behind:
    """A model of texts from its token ids on.

    Attributes:
        model: keras.Model, int32 token ids (b, length) to what the whole model gives; its layers are the whole model's.
        layer: keras.layers.TextVectorization, from texts to these ids.
    """

    model: keras.Model
    layer: keras.layers.TextVectorization

    def ids(self, texts: np.ndarray) -> np.ndarray:
        """int32 (n, length), what the model's own layer makes of texts, and what `token_ids` must make of them too.

        Raises:
            InputError: the two differ, so that `description` cannot be trusted.
        """
        batches = [self.layer(tf.constant(texts[start : start + 1024])) for start in range(0, len(texts), 1024)]
        ids = np.concatenate(batches).astype("int32")
        texts = [text.decode() if isinstance(text, bytes) else str(text) for text in texts]
        if not np.array_equal(ids, token_ids(texts, self.description, self.vocabulary)):
            raise InputError(
                f"the layer {self.layer.name!r} makes other tokens than its settings say, so a program beside the "
                "file could not make them. Export a SavedModel."
            )
        return ids

    @property
    def files(self) -> dict[str, str]:
        """The texts of `tokens.json` and of `vocabulary.txt`, which has the token of id n in line n, counted from 0."""
        description = json.dumps(self.description, indent=2) + "\n"
        vocabulary = "".join(f"{token}\n" for token in self.vocabulary)
        return {metadata.TOKENS_FILE: description, metadata.VOCABULARY_FILE: vocabulary}

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The token of each id."""
        return tuple(map(str, self.layer.get_vocabulary()))

    @property
    def description(self) -> dict:
        """How a text becomes ids, as JSON values; `token_ids` follows it step by step."""
        settings = self.layer.get_config()
        ngrams, standardize = settings["ngrams"] or 1, settings["standardize"] or ""
        return {
            "lower_case_ascii": standardize.startswith("lower"),
            "strip": PUNCTUATION if standardize.endswith("strip_punctuation") else "",
            "split": settings["split"],
            "ngrams": list(range(1, ngrams + 1)) if isinstance(ngrams, int) else list(ngrams),
            "length": settings["output_sequence_length"],
            "padding_id": 0,
            "unknown_id": 1,
        }


def behind(model: keras.Model) -> Behind:
    """The part of `model` behind its `TextVectorization`.

    Args:
        model: keras.Model, functional or Sequential, from strings (b,).

    Returns:
        Behind.

    Raises:
        InputError: the texts are read by anything else, such as a Hub module, or the layer's settings cannot be told
            to another program.
    """
    layers = [one for one in freezing.every_layer(model) if isinstance(one, keras.layers.TextVectorization)]
    if len(layers) != 1:
        reader = next(one for one in model.layers if not isinstance(one, keras.layers.InputLayer))
        raise InputError(
            f"model {model.name!r} cannot become a TFLite or ONNX file, which holds no strings: its texts are read by "
            f"{reader.name!r}, a {type(reader).__name__}, and not by one TextVectorization. Export a SavedModel instead, "
            "or train with the backbone keras:embedding or keras:transformer."
        )
    _check_describable(model, layers[0])
    return Behind(_behind(model, layers[0]), layers[0])


def token_ids(texts: Sequence[str], description: Mapping, vocabulary: Sequence[str]) -> np.ndarray:
    """The ids of texts by a description alone, in plain Python: what a program beside a TFLite file has to do.

    Args:
        texts: sequence of n str.
        description: dict of `tokens.json`.
        vocabulary: sequence of str, the token of each id.

    Returns:
        int32 (n, length).

    Example:
        >>> description = {"lower_case_ascii": True, "strip": "!", "split": "whitespace", "ngrams": [1, 2],
        ...                "length": 5, "padding_id": 0, "unknown_id": 1}
        >>> token_ids(["Good film!"], description, ["", "[UNK]", "film", "good film"])
        array([[1, 2, 3, 0, 0]], dtype=int32)
    """
    numbers = {token: number for number, token in enumerate(vocabulary)}
    strip, length = bytes(description["strip"], "utf-8"), description["length"]
    ids = np.full((len(texts), length), description["padding_id"], "int32")
    for row, text in zip(ids, texts, strict=True):
        content = text.encode()
        content = (content.lower() if description["lower_case_ascii"] else content).translate(None, strip)
        words = (
            [word.decode() for word in content.split()] if description["split"] == "whitespace" else content.decode()
        )
        tokens = [
            " ".join(words[start : start + width])
            for width in description["ngrams"]
            for start in range(len(words) - width + 1)
        ][:length]
        row[: len(tokens)] = [numbers.get(token, description["unknown_id"]) for token in tokens]
    return ids


def _check_describable(model: keras.Model, layer: keras.layers.TextVectorization) -> None:
    settings = layer.get_config()
    for name, known in _DESCRIBABLE.items():
        if settings[name] not in known:
            raise InputError(
                f"model {model.name!r} cannot become a TFLite or ONNX file: its TextVectorization has {name}="
                f"{settings[name]!r}, which no program beside the file could follow. Known: "
                f"{', '.join(map(repr, known))}. Export a SavedModel instead."
            )
    if settings["output_sequence_length"] is None:
        raise InputError(
            f"model {model.name!r} cannot become a TFLite or ONNX file: its texts have no fixed length. Give its "
            "TextVectorization an `output_sequence_length`."
        )
    if broken := [token for token in layer.get_vocabulary() if "\n" in token]:
        raise InputError(
            f"model {model.name!r} cannot become a TFLite or ONNX file: its vocabulary, one token a line, holds a line break in "
            f"{broken[0]!r}. Split texts at white space."
        )


def _behind(model: keras.Model, layer: keras.layers.TextVectorization) -> keras.Model:
    ids = keras.Input((layer.get_config()["output_sequence_length"],), dtype="int32")

    def call(inner, values, *arguments, **options):
        if inner is layer:
            return keras.layers.Identity(name=inner.name)(values)
        if isinstance(inner, keras.Model) and layer in freezing.every_layer(inner):
            return _behind(inner, layer)(values)
        if values is ids:
            raise InputError(
                f"model {model.name!r} cannot become a TFLite or ONNX file: its texts are read by {inner.name!r} too, beside "
                "its TextVectorization. Export a SavedModel instead."
            )
        return inner(values, *arguments, **options)

    if isinstance(model, keras.Sequential):
        values = ids
        for inner in model.layers:
            values = call(inner, values)
        return keras.Model(ids, values, name=model.name)
    return keras.models.clone_model(model, input_tensors=ids, clone_function=lambda one: one, call_function=call)
