"""The tokenizer of a saved model, read from its file without TensorFlow.

Takes the path of a `.keras` file, returns `SavedTokens`. Must not open the model.
"""

import dataclasses
import json
import os
import zipfile
from collections.abc import Iterator

from kerastrain.tokenization.text_rules import PUNCTUATION, TextRules
from kerastrain.tokenization.vocabulary import SPECIAL_TOKENS, Tokens

# What Keras's own standardization changes, with the white space at which it splits.
_KERAS = TextRules("ABCDEFGHIJKLMNOPQRSTUVWXYZ\t\n\v\f\r", "abcdefghijklmnopqrstuvwxyz     ", PUNCTUATION)

_NGRAMS = "kerastrain>SplitIntoNgrams"


@dataclasses.dataclass(frozen=True)
class SavedTokens:
    """The tokenizer of a saved model.

    Args:
        tokens: Tokens.
        length: int >= 1, the number of tokens that a text is cut to.
    """

    tokens: Tokens
    length: int


def read(path: str | os.PathLike) -> SavedTokens | None:
    """Reads the tokenizer of a `.keras` file.

    Args:
        path: path of the file.

    Returns:
        SavedTokens; None if the file is no model that reads texts by one `TextVectorization` of a known kind.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            layers = list(_vectorizations(json.loads(archive.read("config.json"))))
            names = [name for name in archive.namelist() if name.endswith("_lookup_layer/vocabulary.txt")]
            if len(layers) != 1 or len(names) != 1:
                return None
            vocabulary = archive.read(names[0]).decode().splitlines()[SPECIAL_TOKENS:]
        settings = layers[0]
        if isinstance(settings["split"], dict) and settings["split"].get("registered_name") == _NGRAMS:
            return _of_ngrams(settings["split"]["config"], tuple(vocabulary))
        standardize, ngrams = settings["standardize"], settings["ngrams"] or 1
        is_ours = isinstance(standardize, dict) and standardize.get("registered_name") == "kerastrain>StandardizedText"
        if not is_ours and (standardize, settings["split"]) != ("lower_and_strip_punctuation", "whitespace"):
            return None
        rules = TextRules(**standardize["config"]) if is_ours else _KERAS
        sizes = tuple(range(1, ngrams + 1)) if isinstance(ngrams, int) else tuple(ngrams)
        return SavedTokens(Tokens(rules, sizes, tuple(vocabulary)), int(settings["output_sequence_length"]))
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError):
        return None


def _of_ngrams(settings: dict, vocabulary: tuple[str, ...]) -> SavedTokens:
    """The tokenizer of `layers.ngrams.SplitIntoNgrams`."""
    inside = settings["inside"] and TextRules(**settings["inside"])
    rules, ngrams, characters = TextRules(**settings["rules"]), tuple(settings["ngrams"]), tuple(settings["characters"])
    return SavedTokens(Tokens(rules, ngrams, vocabulary, inside, characters), int(settings["length"]))


def _vectorizations(value: object) -> Iterator[dict]:
    """Yields the settings of every `TextVectorization` in the config of a model."""
    if isinstance(value, dict):
        if value.get("class_name") == "TextVectorization":
            yield value["config"]
        value = list(value.values())
    for item in value if isinstance(value, list) else ():
        yield from _vectorizations(item)
