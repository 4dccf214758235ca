"""Fine-tunes a language model: what a run of data.kind chat or language does in place of a classifier's.

Takes a `Config`, a strategy and a folder; returns the model and its measures, and writes the files of the run.
"""

import contextlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import tensorflow as tf

from kerastrain import checkpoints, data, evaluation, export, models, report, run_directory, runtime
from kerastrain.config import Config
from kerastrain.distribute import collectives
from kerastrain.language import adapters, batches, decoders, losses, stages
from kerastrain.language import evaluation as language_evaluation
from kerastrain.language.writer import Writer
from kerastrain.recipe import best_phase, fitting, language_data, language_exports, language_memory, plan
from kerastrain.recipe.stages import Stage
from kerastrain.system import files, signals

TOKENS_FILE = "tokens.json"
"""The tokenizer of the model, as `LanguageTokens.to_config` writes it."""

SOURCE_FOLDER = "source"
"""The folder with the JSON files of the pretrained model, of which exported folders are made."""

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
    loaded = language_data.load(config, origin)
    parts = {name: batches.Sequences(*arrays) for name, arrays in loaded.arrays.items()}
    saved = directory / "model.keras"
    is_trained = saved.exists()
    if is_chief and not is_trained:
        for line in (*loaded.lines, *language_memory.lines(config, origin.network, parts["train"].token_ids.shape[1])):
            logger.info("%s", line)
        logger.info("loading %s", config.model.backbone)
    with strategy.scope():
        model = models.load(saved) if is_trained else build(config, origin)
    with open_directory(directory, config, data_sha256=loaded.fingerprint) if is_chief else contextlib.nullcontext():
        collectives.barrier(strategy)  # until the chief has made the folder
        if is_chief and not is_trained:
            _write_source(origin, directory)
            if loaded.skipped:
                data.quarantine.write(loaded.skipped, directory / "quarantine.csv")
            if not (directory / BEFORE_FILE).exists():
                logger.info("measuring the model before the training")
                files.write_json(directory / BEFORE_FILE, _state(model, config, loaded, parts))
        if not is_trained:
            _fit(model, config, origin, parts, directory)
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
        measures = _measured(model, config, loaded, parts, directory)
        exports = language_exports.export_all(model, config, origin, loaded, directory)
        logger.info("writing report.html")
        report.write(directory)
    return model, measures, exports


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
    with runtime.precision("float32" if config.runtime.precision == "measure" else config.runtime.precision):
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
        model: keras.Model from `build`, compiled in place.
        config: Config.
        phase: plan.Phase.

    Returns:
        keras.Model, `model` itself.

    Raises:
        InputError: an optimizer or memory setting does not fit the model.
    """
    loss = losses.NextTokenCrossentropy()
    accuracy = keras.metrics.MeanMetricWrapper(losses.next_token_accuracy, name="accuracy")
    model.compile(
        optimizer=fitting.optimizer(model, config, phase),
        loss=loss,
        weighted_metrics=[accuracy, evaluation.DataLoss(loss)],
        jit_compile="auto" if config.runtime.jit_compile == "measure" else config.runtime.jit_compile,
        steps_per_execution=config.fit.steps_per_execution,
    )
    model.optimizer.build(model.trainable_variables)
    fitting.spare_memory(model, config)
    return model


def _fit(model: keras.Model, config: Config, origin, parts: Mapping[str, batches.Sequences], directory: Path) -> None:
    """Trains from the newest checkpoint on, writes the adapter, and merges it."""
    [phase] = plan.phases(config, len(parts["train"]))
    logger.info("phase %s: %d epochs of %d steps", phase.name, phase.epochs, phase.steps_per_epoch)
    if stored := checkpoints.latest(run_directory.resume_folder(directory)):
        logger.debug("resuming from %s", stored)
    runtime.seed(config.runtime.seed)
    with model.distribute_strategy.scope():
        compiled(model, config, phase)
    stage = Stage(model, parts["train"], parts.get("validation") or parts["train"])
    fitting.fit_phase(stage, config, phase, directory)
    best = best_phase.best_epoch(directory, [phase.name])
    if collectives.worker_index(model.distribute_strategy) == 0:
        logger.info("best: epoch %d, %s %.4g", best.epoch, best_phase.MONITOR, best.value)
        language_exports.write_adapter(model, config, origin, directory)
    if config.fine_tune.quantize is None:  # Rounded kernels would lose what the adapter has learned.
        adapters.merge(model)


def _measured(model, config: Config, loaded, parts, directory: Path) -> dict[str, dict]:
    before = json.loads((directory / BEFORE_FILE).read_text(encoding="utf-8"))
    now = _state(model, config, loaded, parts)
    measures = {name: {**measured, "before": before["measures"][name]} for name, measured in now["measures"].items()}
    samples = [
        {name: sample[name] for name in ("prompt", "expected")}
        | {"before": earlier["answer"], "after": sample["answer"]}
        for sample, earlier in zip(now["samples"], before["samples"], strict=True)
    ]
    files.write_json(directory / "metrics.json", measures)
    files.write_json(directory / SAMPLES_FILE, {"samples": samples})
    return measures


def _state(model: keras.Model, config: Config, loaded: language_data.LanguageData, parts) -> dict:
    """The measures of a model on the parts of the data, and its answers to held-out prompts."""
    measures = {}
    for name in (name for name in parts if name in config.evaluation.sets):
        logger.info("evaluating %s: %s sequences", name, f"{len(parts[name]):,}")
        measures[name] = language_evaluation.measure(model, parts[name], batch_size=config.evaluation.batch_size)
    items = (loaded.items.get("test") or loaded.items.get("validation") or ())[: config.evaluation.answers]
    prompts = [_prompt(item, loaded) for item in items]
    answers = []
    if prompts:
        logger.info("writing %d answers", len(prompts))
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


def _write_source(origin: language_data.LanguageSource, directory: Path) -> None:
    """Keeps what exported folders need, because the pretrained model's own folder may be gone by then."""
    folder = directory / SOURCE_FOLDER
    if folder.exists():
        return
    with files.atomic(folder) as temporary:
        temporary.mkdir()
        for path in sorted(Path(origin.preset.location).iterdir()):
            is_small = path.suffix in (".json", ".txt", ".model", ".jinja") and not path.name.endswith(".index.json")
            if path.is_file() and is_small:
                shutil.copyfile(path, temporary / path.name)
    files.write_json(directory / TOKENS_FILE, origin.tokens.to_config())
