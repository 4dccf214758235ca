"""Exports a fine-tuned language model: its adapter, and the merged model as a folder of Hugging Face or a SavedModel.

Takes the model of a run; writes verified files. Must not train.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import keras

from kerastrain import export, models, presets
from kerastrain.config import Config
from kerastrain.errors import InputError
from kerastrain.export import language_models
from kerastrain.language import (
    adapter_files,
    adapters,
    losses,  # noqa: F401, registered by their import
    preferences,  # noqa: F401
)
from kerastrain.recipe import language_data
from kerastrain.recipe.language_data import LanguageData, LanguageSource
from kerastrain.run_directory import Run
from kerastrain.system import files, stopwatch

PROMPTS_FILE = "prompts.json"
"""Token ids of held-out prompts, on which exported folders are compared; the data of a run may be gone later."""

_PROMPTS, _PROMPT_TOKENS = 4, 64

logger = logging.getLogger("kerastrain")


def write_adapter(model: keras.Model, config: Config, origin: LanguageSource, directory: Path) -> None:
    """Writes the adapter of a model into the exports of a run, if it has one and the config asks for it.

    Args:
        model: keras.Model with or without adapters.
        config: Config of the run.
        origin: LanguageSource of the run.
        directory: Path of the run.
    """
    if "adapter" in config.export.formats and adapters.pairs(model):
        folder, start = directory / "exports" / "adapter", config.model.from_run
        folder.parent.mkdir(exist_ok=True)
        base = config.model.backbone if start is None else str(Path(start) / "exports" / "hugging_face")
        base, revision = presets.repository(base) if base.startswith(presets.HUGGING_FACE) else (base, None)
        adapter_files.write(model, folder, origin.network, base=base, revision=revision)
        logger.info("exported the adapter to %s", folder)
        if origin.preset.origin == "kerashub" or origin.preset.notes:
            logger.info("PEFT does not open %s, of which the adapter is; use hugging_face, the merged model", base)
        if config.fine_tune.quantize is not None:
            logger.info(
                "the adapter was trained beside kernels of %s; beside floats it computes a little less well",
                config.fine_tune.quantize,
            )


def export_run(run: Run, config: Config, *, replace: bool = False) -> dict[Path, export.Parity]:
    """Exports the model of a finished run to more formats; neither the pretrained model nor the data are needed.

    Args:
        run: Run of a language model.
        config: Config of the run, with the formats to write.
        replace: bool, whether existing folders may be replaced.

    Returns:
        dict as from `export_all`.

    Raises:
        FileExistsError: a folder exists and `replace` is False.
        InputError: the adapter is wanted, and the run does not have it any more.
        ParityError: a folder holds another model; it is removed.
    """
    for name in config.export.formats:
        if (path := run.directory / "exports" / name).exists() and not replace:
            raise FileExistsError(f"'{path}' exists already and is not overwritten. Use --replace to write it again.")
    origin = language_data.of_run(run.directory, config)
    if "adapter" in config.export.formats:
        write_adapter(_with_adapter(run.model, run.directory), config, origin, run.directory)
    return export_all(run.model, config, origin, run.directory)


@stopwatch.timed("export")
def export_all(
    model: keras.Model, config: Config, origin: LanguageSource, directory: Path
) -> dict[Path, export.Parity]:
    """Exports a model to each format of `export.formats`, and compares each with the model on held-out examples.

    Args:
        model: keras.Model without adapters.
        config: Config of the run.
        origin: LanguageSource of the run.
        directory: Path of the run.

    Returns:
        dict from the Path of each exported folder to its Parity; the adapter has none, see `write_adapter`.

    Raises:
        ParityError: a folder holds another model; it is removed.
    """
    exports, folder = {}, directory / "exports"
    prompts = files.read_json(directory / PROMPTS_FILE)["prompts"]
    options, tokens = {"prompts": prompts, "replace": True}, origin.tokens
    if (
        not (folder / "adapter").exists() and "adapter" in config.export.formats
    ):  # as when a run is resumed to export it
        write_adapter(_with_adapter(model, directory), config, origin, directory)
    for name in (name for name in config.export.formats if name != "adapter"):
        logger.info("exporting %s", name)
        path = folder / name
        if name == "hugging_face":
            source = {"preset": origin.preset, "network": origin.network, "tokens": tokens}
            exports[path] = language_models.hugging_face(model, path, **source, **options)
        else:
            exports[path] = language_models.saved_model(
                model, path, tokenizer=tokens.content, stops=tokens.stops, **options
            )
        logger.info("exported %s", exports[path])
    return exports


def write_prompts(loaded: LanguageData, directory: Path) -> None:
    """Keeps the prompts on which exports are compared.

    Args:
        loaded: LanguageData of the run.
        directory: Path of the run.
    """
    files.write_json(directory / PROMPTS_FILE, {"prompts": _prompts(loaded)})


def _with_adapter(model: keras.Model, directory: Path) -> keras.Model:
    """The model of a run with its pairs; those that the finished model has taken in are in its best checkpoint."""
    if adapters.pairs(model):
        return model
    path = directory / "checkpoints" / "best_fine_tune.keras"
    if not path.is_file():
        raise InputError(
            f"the adapter of a finished run is read from its best checkpoint. Received: {str(directory)!r}, without "
            f"'{path.relative_to(directory)}'. Export hugging_face, the merged model."
        )
    saved = models.load(path)
    # Preference tuning trains a model around the one that writes.
    return next((layer for layer in saved.layers if isinstance(layer, keras.Model)), saved)


def _prompts(loaded: LanguageData) -> Sequence[Sequence[int]]:
    name = next(name for name in ("test", "validation", "train") if name in loaded.texts)
    texts = loaded.texts[name]
    return [texts.example(index)[0][:_PROMPT_TOKENS].tolist() for index in range(min(_PROMPTS, len(texts)))]
