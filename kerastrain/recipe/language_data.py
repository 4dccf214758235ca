"""The data of a language model: read, split, made into token sequences, and described.

Takes a `Config` with data.kind chat or language; returns a `LanguageData`. Must not import TensorFlow.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kerastrain import data, presets
from kerastrain.config import Config
from kerastrain.data.image_files.quarantine import Quarantined
from kerastrain.language import conversations, corpus, sequences, templates, token_texts
from kerastrain.presets import decoders, language_tokenizers
from kerastrain.tokenization.language_tokens import LanguageTokens


@dataclass(frozen=True)
class LanguageSource:
    """A pretrained language model, as far as it can be known before TensorFlow starts.

    Args:
        preset: Preset.
        network: DecoderNetwork.
        tokens: LanguageTokens, with the chat template that the run uses.
    """

    preset: presets.Preset
    network: decoders.DecoderNetwork
    tokens: LanguageTokens


@dataclass(frozen=True, eq=False)
class LanguageData:
    """What a language model learns from and is measured on.

    Args:
        tokens: LanguageTokens.
        items: mapping from "train", "validation" and "test", those that exist, to conversations or documents.
        arrays: mapping from these to (token_ids, segments, targets), see `batches.Sequences`.
        lines: tuple of str, how the data are understood.
        skipped: tuple of Quarantined, what is left out.
        texts: mapping from the parts to the TokenTexts of `arrays`.
    """

    tokens: LanguageTokens
    items: Mapping[str, Sequence]
    arrays: Mapping[str, sequences.Arrays]
    lines: tuple[str, ...]
    skipped: tuple[Quarantined, ...]
    texts: Mapping[str, token_texts.TokenTexts]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all sequences."""
        total = hashlib.sha256()
        for name, arrays in self.arrays.items():
            total.update(name.encode())
            for values in arrays:
                total.update(np.ascontiguousarray(values).tobytes())
        return total.hexdigest()


def source(config: Config, *, fetched: bool = False) -> LanguageSource:
    """Reads the language model of a config.

    Args:
        config: Config.
        fetched: bool, whether what must be downloaded is downloaded.

    Returns:
        LanguageSource.

    Raises:
        InputError: the folder is no language model, is incomplete, or has no chat template for conversations.
        MissingExtra: the extra `language` is not installed.
        FileNotFoundError: the folder does not exist.
        ConnectionError: something must be downloaded and the server does not answer.
    """
    preset = presets.read(config.model.backbone, kind="language")
    preset = presets.fetch(preset) if fetched else preset
    network = decoders.network(preset)
    is_chat, template = config.data.kind == "chat", config.data.chat_template
    tokens = language_tokenizers.read(preset, needs_template=is_chat and template is None)
    language_tokenizers.check_fits(preset, tokens, network.vocabulary_size)
    if is_chat:
        tokens = templates.chosen(tokens, template)
    return LanguageSource(preset, network, tokens)


def load(config: Config, origin: LanguageSource, *, is_scan: bool = False) -> LanguageData:
    """Reads the data of a config and makes token sequences of them.

    Args:
        config: Config.
        origin: LanguageSource from `source`.
        is_scan: bool, whether any share of the data may be left out.

    Returns:
        LanguageData.

    Raises:
        InputError: the data cannot be used, or more is left out than `data.unreadable_fraction` allows.
        FileNotFoundError: the path of the data does not exist.
    """
    columns = data.Columns(**config.data.columns.model_dump())
    whole = conversations.read(config.data.path, kind=config.data.kind, columns=columns)
    items = corpus.divide(
        whole,
        validation_fraction=config.data.validation_fraction,
        test_fraction=config.data.test_fraction,
        seed=config.runtime.seed,
    )
    lines = corpus.describe(whole, items)
    texts = {name: token_texts.tokenized(part, origin.tokens, learn=config.data.learn) for name, part in items.items()}
    length = sequences.chosen_length(texts["train"], origin.network.positions, config.model.sequence_length)
    arrays, skipped = {}, list(whole.skipped)
    for name, part in texts.items():
        fitted = texts[name] = sequences.fitted(part, length)
        # Held-out examples stay by themselves, so that each has a measure of its own.
        packed = config.data.packing and name == "train"
        make = sequences.packed if packed else sequences.padded
        options = {"seed": config.runtime.seed} if packed else {}
        arrays[name] = make(fitted, length, origin.tokens.pad, **options)
        if name == "train":
            lines += sequences.lines(fitted, arrays[name], part)
        skipped += fitted.skipped
    if not is_scan:
        usable = [row for part in texts.values() for row in dict.fromkeys(part.rows)]
        everything = dataclasses.replace(whole, items=usable, skipped=tuple(skipped))
        data.check_skipped(everything, config.data.unreadable_fraction)
    return LanguageData(origin.tokens, items, arrays, tuple(lines), tuple(skipped), texts)


def preview(config: Config) -> list[str]:
    """Shows training examples of a language model: their tokens, and which of them are learned.

    Args:
        config: Config with data.kind chat or language.

    Returns:
        list of str, lines without line ends, for as many examples as a batch has.

    Raises:
        InputError: as for `source` and `load`.
    """
    loaded = load(config, source(config))
    texts = loaded.texts["train"]
    chosen = np.random.default_rng(config.runtime.seed).permutation(len(texts))[: config.fit.global_batch_size]
    return [line for index in sorted(chosen.tolist()) for line in sequences.preview(texts, loaded.tokens, index)]
