"""Models of texts without their tokenizer, which TFLite and ONNX have no operations for.

Takes a keras.Model whose texts are read by a `TextVectorization` or an `EncoderTokenizer`. Returns the model after that
layer, and a description from which any program can make the same token ids. Must not convert or write.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.export import metadata
from kerastrain.export.encoder_models import EncoderModel
from kerastrain.keras_internals.layers import every_layer
from kerastrain.layers.encoder_text import EncoderTokenizer
from kerastrain.layers.ngrams import SplitIntoNgrams
from kerastrain.layers.text import StandardizedText
from kerastrain.layers.text_pairs import SeparateTexts
from kerastrain.tokenization import TextRules, Tokens
from kerastrain.tokenization.text_rules import PUNCTUATION, WORD_START

_DESCRIBABLE = {
    "standardize": (None, "lower", "strip_punctuation", "lower_and_strip_punctuation"),
    "split": ("whitespace", "character"),
    "output_mode": ("int",),
    "ragged": (False,),
    "encoding": ("utf-8",),
}
_SPECIAL_IDS = {"padding_id": 0, "unknown_id": 1}


@dataclasses.dataclass(frozen=True)
class TokenModel:
    """The part of a model of texts that starts at its token ids.

    Attributes:
        model: keras.Model from int32 token ids (b, length), for pairs of texts (b, 2, length), to the outputs of the whole
            model; shares its layers.
        layer: keras.layers.TextVectorization, from texts to these ids.
    """

    model: keras.Model
    layer: keras.layers.TextVectorization

    def ids(self, texts: np.ndarray) -> np.ndarray:
        """The token ids of texts, computed by the model's own layer and compared with those of `token_ids`.

        Args:
            texts: array (n,) of str or UTF-8 bytes; (n, 2) for pairs.

        Returns:
            int32 (n, length); (n, 2, length) for pairs.

        Raises:
            InputError: the two differ, so the layer does not work as `description` says.
        """
        if texts.ndim > 1:
            return self.ids(texts.ravel()).reshape(*texts.shape, -1)
        starts, length = range(0, len(texts), 1024), self.description["length"]
        batches = [np.asarray(self.layer(tf.constant(texts[start : start + 1024]))) for start in starts]
        ids = np.concatenate([np.pad(ids, ((0, 0), (0, length - ids.shape[1]))) for ids in batches]).astype("int32")
        texts = [text.decode() if isinstance(text, bytes) else str(text) for text in texts]
        if not np.array_equal(ids, token_ids(texts, self.description, self.vocabulary)):
            raise InputError(
                f"the layer {self.layer.name!r} does not make the tokens that its settings describe, so another program "
                "could not make them from the file's description. Export a SavedModel."
            )
        return ids

    @property
    def files(self) -> dict[str, str]:
        """The contents of `tokens.json` and of `vocabulary.txt`, which has the token of id n in line n, counted from 0."""
        description = json.dumps(self.description, indent=2) + "\n"
        vocabulary = "".join(f"{token}\n" for token in self.vocabulary)
        return {metadata.TOKENS_FILE: description, metadata.VOCABULARY_FILE: vocabulary}

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The token of each id."""
        return tuple(map(str, self.layer.get_vocabulary()))

    @property
    def description(self) -> dict:
        """How a text becomes ids, as JSON values; `token_ids` follows it."""
        settings = self.layer.get_config()
        if isinstance(settings["split"], SplitIntoNgrams):
            return {**_ngram_steps(settings["split"].tokens), "length": settings["split"].length, **_SPECIAL_IDS}
        ngrams = settings["ngrams"] or 1
        return {
            **_steps(settings["standardize"], settings["split"]),
            "ngrams": list(range(1, ngrams + 1)) if isinstance(ngrams, int) else list(ngrams),
            "length": settings["output_sequence_length"],
            **_SPECIAL_IDS,
        }


def token_model(model: keras.Model) -> TokenModel | EncoderModel:
    """The part of `model` after its tokenizer.

    Args:
        model: keras.Model, functional or Sequential, from strings (b,).

    Returns:
        TokenModel, or EncoderModel for a pretrained encoder.

    Raises:
        InputError: another layer, such as a Hub module, reads the texts, or another program could not follow the
            settings of the `TextVectorization`.
    """
    if (encoder := encoder_model(model)) is not None:
        return encoder
    layers = [layer for layer in every_layer(model) if isinstance(layer, keras.layers.TextVectorization)]
    if len(layers) != 1:
        reader = next(layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer))
        raise InputError(
            f"model {model.name!r} cannot become a TFLite or ONNX file, which holds no strings: its texts are read by "
            f"{reader.name!r}, a {type(reader).__name__}, and not by one TextVectorization. Export a SavedModel instead, "
            "or train with the backbone keras:ngrams or keras:transformer."
        )
    _check_describable(model, layers[0])
    settings = layers[0].get_config()
    length = (
        settings["split"].length
        if isinstance(settings["split"], SplitIntoNgrams)
        else settings["output_sequence_length"]
    )
    return TokenModel(_after(layers[0], length, model), layers[0])


def encoder_model(model: keras.Model) -> EncoderModel | None:
    """The part of `model` after the tokenizer of its pretrained text encoder.

    Args:
        model: keras.Model.

    Returns:
        EncoderModel, or None if no EncoderTokenizer reads its inputs.
    """
    layers = [layer for layer in every_layer(model) if isinstance(layer, EncoderTokenizer)]
    if len(layers) != 1:
        return None
    length = layers[0].sequence_length if layers[0].fixed_length else None
    return EncoderModel(_after(layers[0], length, model), layers[0])


def token_ids(texts: Sequence[str], description: Mapping, vocabulary: Sequence[str]) -> np.ndarray:
    """The token ids of texts in plain Python, as any program that runs an exported file has to make them.

    Args:
        texts: sequence of n str.
        description: mapping from `tokens.json`.
        vocabulary: sequence of str, the token of each id.

    Returns:
        int32 (n, length).

    Example:
        >>> description = {"replace": "GÉ", "replace_by": "gé", "strip": "!", "split": "whitespace", "ngrams": [1, 2],
        ...                "length": 5, "padding_id": 0, "unknown_id": 1}
        >>> token_ids(["Good film!"], description, ["", "[UNK]", "film", "good film"])
        array([[1, 2, 3, 0, 0]], dtype=int32)
    """
    numbers = {token: number for number, token in enumerate(vocabulary)}
    rules = _AsciiRules(description) if "lower_case_ascii" in description else _rules(description)
    inside, characters = description.get("inside"), tuple(description.get("characters", ()))
    tokens = Tokens(rules, tuple(description["ngrams"]), (), inside and _rules(inside), characters)
    length = description["length"]
    ids = np.full((len(texts), length), description["padding_id"], "int32")
    for row, text in zip(ids, texts, strict=True):
        known = [numbers.get(token, description["unknown_id"]) for token in tokens.tokens(text)[:length]]
        row[: len(known)] = known
    return ids


def _steps(standardize: str | StandardizedText | None, split: str) -> dict:
    """The steps from a text to its tokens, as JSON values."""
    if not isinstance(standardize, StandardizedText):
        standardize = standardize or ""
        return {
            "lower_case_ascii": standardize.startswith("lower"),
            "strip": PUNCTUATION if standardize.endswith("strip_punctuation") else "",
            "split": split,
        }
    return _rule_steps(standardize.rules)


def _ngram_steps(tokens: Tokens) -> dict:
    """The steps from a text to its n-grams.

    Those of `inside` give the words whose characters count too. An n-gram of characters begins with `word_start` at the start
    of a word, ends with it at the end, and has it between two characters.
    """
    steps = {**_rule_steps(tokens.rules), "ngrams": list(tokens.ngrams)}
    if tokens.inside is None:
        return steps
    return {
        **steps,
        "word_start": WORD_START,
        "inside": _rule_steps(tokens.inside),
        "characters": list(tokens.characters),
    }


def _rule_steps(rules: TextRules) -> dict:
    steps = {
        "replace": rules.replaced,
        "replace_by": rules.replacements,
        "strip": rules.removed,
        "split": rules.split,
    }
    return {**steps, "word_start": WORD_START, "pieces": list(rules.pieces)} if rules.split == "pieces" else steps


def _rules(description: Mapping) -> TextRules:
    return TextRules(
        description["replace"],
        description["replace_by"],
        description["strip"],
        description["split"],
        tuple(description.get("pieces", ())),
    )


class _AsciiRules:
    """The rules of Keras's own standardizations, which change ASCII only."""

    def __init__(self, description: Mapping):
        self.strip = bytes(description["strip"], "utf-8")
        self.lowers, self.splits = description["lower_case_ascii"], description["split"] == "whitespace"

    def tokens(self, text: str) -> list[str]:
        content = text.encode()
        content = (content.lower() if self.lowers else content).translate(None, self.strip)
        return [word.decode() for word in content.split()] if self.splits else list(content.decode())


def _check_describable(model: keras.Model, layer: keras.layers.TextVectorization) -> None:
    settings = layer.get_config()
    for name, known in _DESCRIBABLE.items():
        if settings[name] not in known and not isinstance(settings[name], (StandardizedText, SplitIntoNgrams)):
            raise InputError(
                f"model {model.name!r} cannot become a TFLite or ONNX file: its TextVectorization has {name}="
                f"{settings[name]!r}, which no program beside the file could follow. Known: "
                f"{', '.join(map(repr, known))}. Export a SavedModel instead."
            )
    if settings["output_sequence_length"] is None and not isinstance(settings["split"], SplitIntoNgrams):
        raise InputError(
            f"model {model.name!r} cannot become a TFLite or ONNX file: its texts have no fixed length. Give its "
            "TextVectorization an `output_sequence_length`."
        )
    if broken := [token for token in layer.get_vocabulary() if "\n" in token]:
        raise InputError(
            f"model {model.name!r} cannot become a TFLite or ONNX file: its vocabulary is written one token per line, and "
            f"{broken[0]!r} contains a line break. Split texts at white space."
        )


def _after(tokenizer: keras.Layer, length: int | None, model: keras.Model) -> keras.Model:
    of_text = (length,)
    ids = keras.Input((2, *of_text) if tuple(model.inputs[0].shape[1:]) == (2,) else of_text, dtype="int32")
    parts = {}

    def call(layer, values, *arguments, **options):
        if layer is tokenizer:
            return keras.layers.Identity(name=layer.name)(values)
        if isinstance(layer, keras.Model) and tokenizer in every_layer(layer):
            if layer not in parts:  # A model of pairs calls it twice.
                parts[layer] = _after(tokenizer, length, layer)
            return parts[layer](values)
        if values is ids and not isinstance(layer, SeparateTexts):
            raise InputError(
                f"model {model.name!r} cannot become a TFLite or ONNX file: besides its {type(tokenizer).__name__}, its "
                f"texts are read by {layer.name!r} too. Export a SavedModel instead."
            )
        return layer(values, *arguments, **options)

    if isinstance(model, keras.Sequential):
        values = ids
        for layer in model.layers:
            values = call(layer, values)
        return keras.Model(ids, values, name=model.name)
    beside = [keras.Input(numbers.shape[1:], dtype=numbers.dtype, name=numbers.name) for numbers in model.inputs[1:]]
    return keras.models.clone_model(
        model,
        input_tensors=keras.tree.pack_sequence_as(model.input, [ids, *beside]),
        clone_function=lambda layer: layer,
        call_function=call,
    )
