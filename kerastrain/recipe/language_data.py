"""The data of a language model: read, split, made into token sequences, and described.

Takes a `Config` with data.kind chat or language; returns a `LanguageData`. Must not import TensorFlow.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kerastrain import config as configs
from kerastrain import data, presets
from kerastrain.config import Config
from kerastrain.data.image_files.quarantine import Quarantined
from kerastrain.errors import counted
from kerastrain.language import conversations, corpus, sequences, templates, token_texts
from kerastrain.presets import decoders, language_tokenizers
from kerastrain.recipe import plan
from kerastrain.system import files, stopwatch
from kerastrain.tokenization.language_tokens import LanguageTokens

TOKENS_FILE = "tokens.json"
"""The tokenizer of the model of a run, as `LanguageTokens.to_config` writes it."""

SOURCE_FOLDER = "source"
"""The folder of a run with the JSON files of the pretrained model, of which exported folders are made."""


_LORA_RATE, _SMALL_RATE, _RATE_WIDTH, _RATE_POWER = 5e-4, 5e-5, 2000, 0.78


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
        skipped: tuple of Quarantined, the examples that are left out.
        texts: mapping from the parts to the TokenTexts of `arrays`.
        rejected: mapping from the parts to the arrays of the rejected answers, in the order of `arrays`; empty unless
            fit.objective is dpo.
        rejected_texts: mapping from the parts to the TokenTexts of `rejected`.
    """

    tokens: LanguageTokens
    items: Mapping[str, Sequence]
    arrays: Mapping[str, sequences.Arrays]
    lines: tuple[str, ...]
    skipped: tuple[Quarantined, ...]
    texts: Mapping[str, token_texts.TokenTexts]
    rejected: Mapping[str, sequences.Arrays] = dataclasses.field(default_factory=dict)
    rejected_texts: Mapping[str, token_texts.TokenTexts] = dataclasses.field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all sequences."""
        total = hashlib.sha256()
        for name, arrays in (*self.arrays.items(), *self.rejected.items()):
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
    if config.model.from_run is not None:
        return of_run(Path(config.model.from_run), config)
    preset = presets.read(config.model.backbone, kind="language")
    preset = presets.fetch(preset) if fetched else preset
    network = decoders.network(preset)
    is_chat, template = config.data.kind == "chat", config.data.chat_template
    tokens = language_tokenizers.read(preset, needs_template=is_chat and template is None)
    language_tokenizers.check_fits(preset, tokens, network.vocabulary_size)
    if is_chat:
        tokens = templates.chosen(tokens, template)
    return LanguageSource(preset, network, tokens)


def of_run(directory: Path, config: Config) -> LanguageSource:
    """Reads the language model of a run from the files that the run keeps; the pretrained model's own may be gone.

    Args:
        directory: Path of a run.
        config: Config, of which `data.kind` and `data.chat_template` are used. The template of the run counts unless another
            one is named.

    Returns:
        LanguageSource, without weights.

    Raises:
        InputError: files are damaged, or there is no chat template for conversations.
        FileNotFoundError: the run does not exist, or a file is missing.
    """
    own = configs.load(directory / "config.yaml")
    preset = presets.read(directory / SOURCE_FOLDER, kind="language", needs_weights=False)
    tokens = LanguageTokens.from_config(files.read_json(directory / TOKENS_FILE))
    if config.data.kind == "chat":
        template = config.data.chat_template
        tokens = templates.chosen(tokens, None if template == own.data.chat_template else template)
    return LanguageSource(preset, decoders.network(preset), tokens)


def with_rate(config: Config, network: decoders.DecoderNetwork) -> Config:
    """Gives a config without a learning rate the one that suits the network.

        rate = base * (2000 / width) ** 0.78          base: 5e-4 for low-rank pairs, 5e-5 for whole layers and for preferences

    Args:
        config: Config.
        network: DecoderNetwork.

    Returns:
        Config with `optimizer.learning_rate`.

    Reference: Schulman et al. 2025, https://thinkingmachines.ai/blog/lora/, whose fit for Llama this is; examples/language
    has rates beside it.
    """
    if config.optimizer.learning_rate is not None:
        return config
    is_small = config.fine_tune.lora_rank is None or config.fit.objective == "dpo"
    rate = (_SMALL_RATE if is_small else _LORA_RATE) * (_RATE_WIDTH / network.width) ** _RATE_POWER
    optimizer = config.optimizer.model_copy(update={"learning_rate": float(f"{rate:.2g}")})
    return config.model_copy(update={"optimizer": optimizer})


@stopwatch.timed("reading data")
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
    are_pairs = config.fit.objective == "dpo"
    whole = corpus.with_preferences(whole) if are_pairs else whole
    items = corpus.divide(
        whole,
        validation_fraction=config.data.validation_fraction,
        test_fraction=config.data.test_fraction,
        seed=plan.split_seed(config),
    )
    start = config.model.from_run
    notes = [*([f"starts from: {start}"] if start else []), *origin.preset.notes]
    lines = [*notes, *corpus.describe(whole, items), *_objective_lines(config, whole)]
    make = functools.partial(token_texts.tokenized, tokens=origin.tokens, learn=config.data.learn)
    texts = {name: make(part) for name, part in items.items()}
    rejected = {name: make(part, rejected=True) for name, part in items.items()} if are_pairs else {}
    whole_texts, whole_rejected = texts["train"], rejected.get("train")
    longest = token_texts.both(whole_texts, whole_rejected) if are_pairs else whole_texts
    length = sequences.chosen_length(longest, origin.network.positions, config.model.sequence_length)
    arrays, others, skipped = {}, {}, list(whole.skipped)
    for name, part in texts.items():
        fitted = sequences.fitted(part, length)
        if are_pairs:
            fitted, rejected[name] = token_texts.aligned(fitted, sequences.fitted(rejected[name], length))
            others[name] = sequences.padded(rejected[name], length, origin.tokens.pad)
        texts[name] = fitted
        # Held-out examples stay by themselves, so that each has a measure of its own.
        packed = config.data.packing and name == "train"
        make_arrays = sequences.packed if packed else sequences.padded
        options = {"seed": config.runtime.seed} if packed else {}
        arrays[name] = make_arrays(fitted, length, origin.tokens.pad, **options)
        skipped += fitted.skipped
    found = sequences.lines(texts["train"], arrays["train"], whole_texts)
    if are_pairs:
        found = [line if line.startswith(("not learned", "note")) else f"chosen {line}" for line in found]
        found += [f"rejected {line}" for line in sequences.lines(rejected["train"], others["train"], whole_rejected)]
    lines += found
    if not is_scan:
        usable = [row for part in texts.values() for row in dict.fromkeys(part.rows)]
        everything = dataclasses.replace(whole, items=usable, skipped=tuple(skipped))
        data.check_skipped(everything, config.data.unreadable_fraction)
    return LanguageData(origin.tokens, items, arrays, tuple(lines), tuple(skipped), texts, others, rejected)


def load_other(
    config: Config, origin: LanguageSource, place: str, name: str
) -> tuple[sequences.Arrays, sequences.Arrays | None, tuple[Quarantined, ...]]:
    """Reads data that a model is only measured on.

    Args:
        config: Config that says how data are read.
        origin: LanguageSource.
        place: str, a path as in `data.path`.
        name: str; if the data there are divided into parts and this is one of them, such as "test", only that part is read.

    Returns:
        tuple of (token_ids, segments, targets), see `batches.Sequences`; the same of the rejected answers if fit.objective is
        dpo and the data have some, else None; and the skipped examples.

    Raises:
        InputError: the data cannot be used, or more is left out than `data.unreadable_fraction` allows.
        FileNotFoundError: the path does not exist.
    """
    whole = conversations.read(place, kind=config.data.kind, columns=data.Columns(**config.data.columns.model_dump()))
    are_pairs = config.fit.objective == "dpo" and whole.preference_count > 0
    whole = corpus.with_preferences(whole) if are_pairs else whole
    items, part = whole.items, data.part_named(name)
    if whole.predefined is not None and part in whole.predefined:
        items = [item for item, own in zip(items, whole.predefined, strict=True) if own == part]
    texts = token_texts.tokenized(items, origin.tokens, learn=config.data.learn)
    rejected = token_texts.tokenized(items, origin.tokens, rejected=True) if are_pairs else None
    longest = token_texts.both(texts, rejected) if are_pairs else texts
    length = sequences.chosen_length(longest, origin.network.positions, config.model.sequence_length)
    fitted = sequences.fitted(texts, length)
    if are_pairs:
        fitted, rejected = token_texts.aligned(fitted, sequences.fitted(rejected, length))
    skipped = (*whole.skipped, *fitted.skipped)
    usable = dataclasses.replace(whole, items=list(dict.fromkeys(fitted.rows)), skipped=skipped)
    data.check_skipped(usable, config.data.unreadable_fraction)
    arrays = [
        None if part is None else sequences.padded(part, length, origin.tokens.pad) for part in (fitted, rejected)
    ]
    return *arrays, skipped


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
    whole = {"": texts} if not loaded.rejected else {"chosen, ": texts, "rejected, ": loaded.rejected_texts["train"]}
    lines = []
    for index in sorted(chosen.tolist()):
        for name, shown in whole.items():
            first, *others = sequences.preview(shown, loaded.tokens, index)
            lines += [f"{name}{first}", *others]
    return lines


def _objective_lines(config: Config, whole: corpus.Corpus) -> list[str]:
    """Describes what is made of rejected answers."""
    if config.fit.objective == "dpo":
        lines = [
            f"objective: direct preference optimization of {counted(len(whole), 'pairs')} of answers, beta "
            f"{config.fit.dpo_beta:g}; the reference is the model without its LoRA matrices"
        ]
        if count := corpus.contradictions(whole):
            lines.append(f"note: {counted(count, 'pairs')} that another pair contradicts: chosen here, rejected there")
        return lines
    if not whole.preference_count:
        return []
    return [
        f"note: {counted(whole.preference_count, 'conversations')} with a rejected answer, which is not learned: only the "
        "chosen ones are. fit.objective=dpo learns which of both is better"
    ]
