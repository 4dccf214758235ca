"""Fine-tunes a language model: what a run of data.kind chat or language does in place of a classifier's.

Takes a `Config`, a strategy and a folder; returns the model and its measures, and writes the files of the run.
"""

import contextlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import tensorflow as tf

from kerastrain import callbacks, checkpoints, data, evaluation, export, memory, models, report, run_directory, runtime
from kerastrain.callbacks.epoch_report import OnEpoch
from kerastrain.config import Config
from kerastrain.distribute import collectives
from kerastrain.errors import counted
from kerastrain.keras_internals.layers import every_layer
from kerastrain.language import adapters, batches, decoders, losses, preferences, stages
from kerastrain.language import evaluation as language_evaluation
from kerastrain.language.writer import Writer
from kerastrain.layers.decoder import DecoderBlock
from kerastrain.presets import language_folders
from kerastrain.recipe import (
    backbone_files,
    best_phase,
    compiling,
    diagnosing,
    executions,
    fitting,
    language_data,
    language_exports,
    language_memory,
    language_pairs,
    monitors,
    plan,
    profiling,
)
from kerastrain.recipe.language_data import SOURCE_FOLDER, TOKENS_FILE
from kerastrain.recipe.stages import Stage
from kerastrain.system import files, signals, stopwatch

BEFORE_FILE = "before.json"
"""The measures and the answers of the pretrained model."""

SAMPLES_FILE = "samples.json"
"""Answers before and after the training."""

_PROMPT_TOKENS = 32  # of a text whose continuation is shown

logger = logging.getLogger("kerastrain")


def train_and_export(
    strategy: tf.distribute.Strategy, config: Config, directory: Path, open_directory: Callable
) -> tuple[keras.Model, dict[str, dict], dict[Path, export.Parity]]:
    """Trains, measures and exports the language model of a config, and writes a report.

    Args:
        strategy: tf.distribute.Strategy.
        config: Config with data.kind chat or language.
        directory: Path of the run.
        open_directory: `run_directory.create` or `run_directory.reopen`.

    Returns:
        (keras.Model without adapters; dict from each part of the data to its measures; dict from the Path of each exported
        file to its Parity). The last two are empty in a worker that is not the chief.

    Raises:
        InputError: the data or the model cannot be used. Nothing is written in that case.
        ParityError: an exported file differs too much from the model.
        Stopped: a signal arrived.
    """
    is_chief = collectives.worker_index(strategy) == 0
    runtime.seed(config.runtime.seed, deterministic=config.runtime.deterministic)
    origin = language_data.source(config, fetched=True)
    config = language_data.with_rate(config, origin.network)
    loaded = language_data.load(config, origin)
    parts = {name: batches.Sequences(*arrays) for name, arrays in loaded.arrays.items()}
    pairs = language_pairs.pairs_of(loaded)
    plan.phases(config, len(parts["train"]))  # which says what does not fit before anything is written
    saved = directory / "model.keras"
    is_trained = saved.exists()
    if is_chief and not is_trained:
        for line in (*loaded.lines, *language_memory.lines(config, origin.network, parts["train"].token_ids.shape[1])):
            logger.info("%s", line)
        logger.info("loading %s", config.model.from_run or config.model.backbone)
    with strategy.scope():
        model = models.load(saved) if is_trained else build(config, origin)
    digests = {"data_sha256": loaded.fingerprint}
    if is_chief and not is_trained:  # A trained model does not need the pretrained one any more.
        digests["backbone_sha256"] = backbone_files.sha256(config)
    with open_directory(directory, config, **digests) if is_chief else contextlib.nullcontext():
        collectives.barrier(strategy)  # until the chief has made the folder
        if is_chief and not is_trained:
            write_source(origin, directory, config.model.from_run)
            language_exports.write_prompts(loaded, directory)
            if loaded.skipped:
                data.quarantine.write(loaded.skipped, directory / "quarantine.csv")
        pairs = language_pairs.with_reference(model, pairs, config, directory)
        if is_chief and not is_trained and not (directory / BEFORE_FILE).exists():
            logger.info("measuring the model before the training")
            files.write_json(directory / BEFORE_FILE, _state(model, config, loaded, parts, pairs, is_trained=False))
        if not is_trained:
            fit(model, config, origin, pairs or parts, directory)
            if is_chief:
                logger.info("writing %s", saved.name)
                with files.atomic(saved) as temporary:
                    keras.Model(model.inputs, model.outputs, name=model.name).save(temporary)
        if not is_chief:
            collectives.barrier(strategy)  # until the chief has finished the run
            return model, {}, {}
        if strategy.num_replicas_in_sync > 1:
            model = models.load(saved)  # measure and export on one device, where the model will be used
        signals.raise_if_pending()
        measures = _write_measures(model, config, loaded, parts, pairs, directory)
        exports = language_exports.export_all(model, config, origin, directory)
        logger.info("writing report.html")
        profiling.write(directory)
        report.write(directory)
    return model, measures, exports


@stopwatch.timed("building the model")
def build(config: Config, origin: language_data.LanguageSource) -> keras.Model:
    """Builds the language model of a config, with what trains, compiled.

    Args:
        config: Config.
        origin: LanguageSource, fetched.

    Returns:
        keras.Model with the pretrained weights.

    Raises:
        InputError: a setting does not fit the model.
    """
    if config.model.from_run is not None:
        model = models.load(Path(config.model.from_run) / "model.keras")
    else:
        with runtime.precision(config.runtime.precision):
            model = decoders.load(origin.preset, origin.network)
    options = config.fine_tune
    if options.lora_rank is None:
        stages.train_last(model, options.last)
        return model
    if options.quantize is not None:
        adapters.quantize(model, options.quantize)
    adapters.add(
        model,
        options.lora_rank,
        alpha=options.lora_alpha,
        dropout=options.lora_dropout,
        layers=options.lora_layers,
        rank_stabilized=options.lora_rank_stabilized,
    )
    return model


def compiled(model: keras.Model, config: Config, phase: plan.Phase) -> keras.Model:
    """Compiles a language model for a phase, and applies the memory settings.

    Args:
        model: keras.Model from `build`, or for fit.objective=dpo that of `preferences.margin_model`; compiled in place.
        config: Config.
        phase: plan.Phase.

    Returns:
        keras.Model, `model` itself.

    Raises:
        InputError: an optimizer or memory setting does not fit the model.
    """
    if config.fit.objective == "dpo":
        loss, accuracy = preferences.PreferenceLoss(config.fit.dpo_beta), preferences.preference_accuracy
    else:
        loss, accuracy = losses.NextTokenCrossentropy(), losses.next_token_accuracy
    model.compile(
        optimizer=compiling.optimizer(model, config, phase),
        loss=loss,
        weighted_metrics=[keras.metrics.MeanMetricWrapper(accuracy, name="accuracy"), evaluation.DataLoss(loss)],
        jit_compile=config.runtime.jit_compile if isinstance(config.runtime.jit_compile, bool) else "auto",
        steps_per_execution=executions.steps_per_execution(config, phase),
    )
    model.optimizer.build(model.trainable_variables)
    if model.distribute_strategy.num_replicas_in_sync == 1:
        memory.update_one_by_one(model.optimizer)
    # A block of a decoder has one small input and many activations, so each is worth a cut.
    blocks = [layer.name for layer in every_layer(model) if isinstance(layer, DecoderBlock)]
    compiling.spare_memory(model, config, blocks=blocks)
    return model


def fit(
    model: keras.Model,
    config: Config,
    origin: language_data.LanguageSource,
    parts: Mapping,
    directory: Path,
    *,
    on_epoch: OnEpoch | None = None,
) -> best_phase.BestEpoch:
    """Trains from the newest checkpoint on, writes the adapter, and merges it.

    Args:
        model: keras.Model from `build`, trained in place.
        config: Config.
        origin: LanguageSource, fetched.
        parts: mapping from the names of the parts to Sequences, or to Preferences for fit.objective=dpo.
        directory: Path of the run.
        on_epoch: callable as for `fitting.fit`, or None.

    Returns:
        BestEpoch, whose weights the model has.

    Raises:
        NonFiniteError: as for `fitting.fit_phase`.
        InputError: an optimizer or memory setting does not fit the model.
        Paused: `on_epoch` said so.
    """
    report = None if on_epoch is None else callbacks.EpochReport(on_epoch, directory / "history.csv")
    [phase] = plan.phases(config, len(parts["train"]))
    epochs, steps = counted(phase.epochs, "epochs"), counted(phase.steps_per_epoch, "steps")
    logger.info("phase %s: %s of %s", phase.name, epochs, steps)
    if stored := checkpoints.latest(run_directory.resume_folder(directory)):
        logger.debug("resuming from %s", stored)
    fitting.fit_phase(staged(model, config, phase, parts), config, phase, directory, report=report)
    monitor = monitors.monitor(config)
    best = best_phase.best_epoch(directory, [phase.name], monitor)
    if collectives.worker_index(model.distribute_strategy) == 0:
        logger.info("best: epoch %d, %s %.4g", best.epoch, monitor.column, best.value)
        language_exports.write_adapter(model, config, origin, directory)
    if config.fine_tune.quantize is None:  # Rounded kernels would lose what the adapter has learned.
        adapters.merge(model)
    return best


def staged(model: keras.Model, config: Config, phase: plan.Phase, parts: Mapping) -> Stage:
    """Compiles what a phase trains.

    Args:
        model: keras.Model from `build`.
        config: Config.
        phase: plan.Phase.
        parts: mapping from the names of the parts to Sequences, or to Preferences for fit.objective=dpo.

    Returns:
        Stage.

    Raises:
        InputError: an optimizer or memory setting does not fit the model.
    """
    runtime.seed(config.runtime.seed)
    with model.distribute_strategy.scope():
        whole = preferences.margin_model(model) if config.fit.objective == "dpo" else model
        compiled(whole, config, phase)
    return Stage(whole, parts["train"], parts.get("validation") or parts["train"])


def prepare(config: Config, directory: Path) -> tuple[Stage, plan.Phase]:
    """Builds the model of a config and reads its data, to train it for a while and keep neither.

    Args:
        config: Config of a language model.
        directory: Path of a folder for what only the training needs.

    Returns:
        (Stage, plan.Phase), compiled.

    Raises:
        InputError: the data or the model cannot be used.
    """
    origin = language_data.source(config, fetched=True)
    config = language_data.with_rate(config, origin.network)
    loaded = language_data.load(config, origin)
    for line in loaded.lines:
        logger.info("%s", line)
    parts = {name: batches.Sequences(*arrays) for name, arrays in loaded.arrays.items()}
    [phase] = plan.phases(config, len(parts["train"]))
    runtime.seed(config.runtime.seed, deterministic=config.runtime.deterministic)
    model = build(config, origin)
    pairs = language_pairs.with_reference(model, language_pairs.pairs_of(loaded), config, directory)
    return staged(model, config, phase, pairs or parts), phase


def measured(model: keras.Model, parts: Mapping[str, batches.Sequences], *, batch_size: int) -> dict[str, dict]:
    """Measures a model on several data sets.

    Args:
        model: keras.Model.
        parts: mapping from names to Sequences.
        batch_size: int >= 1.

    Returns:
        dict from each name to its measures; see `language.evaluation.measure`.
    """
    measures = {}
    for name, part in parts.items():
        logger.info("evaluating %s: %s", name, counted(len(part), "sequences"))
        measures[name] = language_evaluation.measure(model, part, batch_size=batch_size)
    return measures


def with_before(measures: Mapping[str, dict], before: Mapping[str, dict]) -> dict[str, dict]:
    """Puts the measures before the training beside those after it.

    Args:
        measures: mapping from names to measures.
        before: the same before the training; names may be missing, as of parts that only a resumed run measures.

    Returns:
        dict from each name to its measures, with "before" where it is known.
    """
    return {name: {**each, **({"before": before[name]} if name in before else {})} for name, each in measures.items()}


@stopwatch.timed("evaluation")
def _write_measures(model, config: Config, loaded, parts, pairs, directory: Path) -> dict[str, dict]:
    before = files.read_json(directory / BEFORE_FILE)
    now = _state(model, config, loaded, parts, pairs, is_trained=True)
    measures = with_before(now["measures"], before["measures"])
    samples = [
        {name: sample[name] for name in ("prompt", "expected")}
        | {"before": earlier["answer"], "after": sample["answer"]}
        for sample, earlier in zip(now["samples"], before["samples"], strict=True)
    ]
    files.write_json(directory / "metrics.json", measures)
    files.write_json(directory / SAMPLES_FILE, {"samples": samples})
    diagnosing.diagnose_language(config, directory)
    return measures


@stopwatch.timed("evaluation")
def _state(
    model: keras.Model, config: Config, loaded: language_data.LanguageData, parts, pairs, *, is_trained: bool
) -> dict:
    """The measures of a model on the parts of the data, and its answers to held-out prompts."""
    sets = {name: part for name, part in parts.items() if name in config.evaluation.sets}
    measures = measured(model, sets, batch_size=config.evaluation.batch_size)
    measures = language_pairs.add_measures(measures, model if is_trained else None, pairs, config)
    items = (loaded.items.get("test") or loaded.items.get("validation") or ())[: config.evaluation.answers]
    prompts = [_prompt(item, loaded) for item in items]
    answers = []
    if prompts:
        logger.info("writing %s", counted(len(prompts), "answers"))
        answers = Writer(model, loaded.tokens).write_each(
            [prompt for prompt, _, _ in prompts], max_new_tokens=config.evaluation.answer_tokens
        )
    samples = [
        {"prompt": shown, "expected": expected, "answer": answer}
        for (_, shown, expected), answer in zip(prompts, answers, strict=True)
    ]
    return {"measures": measures, "samples": samples}


def _prompt(item, loaded: language_data.LanguageData) -> tuple[object, str, str]:
    """What a model is asked, how it is shown, and what would be right."""
    if hasattr(item, "messages"):
        last = max(index for index, message in enumerate(item.messages) if message["role"] == "assistant")
        before = item.messages[:last]
        shown = "\n".join(f"{message['role']}: {message['content']}" for message in before)
        return before, shown, item.messages[last]["content"]
    ids = loaded.tokens.ids([item.text])[0]
    start, rest = (loaded.tokens.text(part) for part in (ids[:_PROMPT_TOKENS], ids[_PROMPT_TOKENS:]))
    return start, start, rest[:500]


def write_source(origin: language_data.LanguageSource, directory: Path, start: str | None) -> None:
    """Keeps what exported folders need, because the pretrained model's own folder may be gone by then; and its origin.

    Args:
        origin: LanguageSource, fetched.
        directory: Path of the run.
        start: str, the run whose model it starts from, or None.
    """
    folder = directory / SOURCE_FOLDER
    if folder.exists():
        return
    with files.atomic(folder) as temporary:
        temporary.mkdir()
        language_folders.write(temporary, origin.preset, origin.tokens)
    files.write_json(directory / TOKENS_FILE, origin.tokens.to_config())
    if start is not None:
        files.write_json(directory / "start.json", {"run": start, "kept": [], "new": [], "dropped": []})
