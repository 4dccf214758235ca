"""Exports a fine-tuned language model: its adapter, and the merged model as a folder of Hugging Face or a SavedModel.

Takes the model of a run; writes verified files. Must not train.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import keras

from kerastrain import export
from kerastrain.config import Config
from kerastrain.export import language_models
from kerastrain.language import adapter_files, adapters
from kerastrain.recipe.language_data import LanguageData, LanguageSource

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
        folder = directory / "exports" / "adapter"
        folder.parent.mkdir(exist_ok=True)
        adapter_files.write(model, folder, origin.network, base=origin.preset.handle)
        logger.info("exported the adapter to %s", folder)


def export_all(
    model: keras.Model, config: Config, origin: LanguageSource, loaded: LanguageData, directory: Path
) -> dict[Path, export.Parity]:
    """Exports a model to each format of `export.formats`, and compares each with the model on held-out examples.

    Args:
        model: keras.Model without adapters.
        config: Config of the run.
        origin: LanguageSource of the run.
        loaded: LanguageData of the run.
        directory: Path of the run.

    Returns:
        dict from the Path of each exported folder to its Parity.

    Raises:
        ParityError: a folder holds another model; it is removed.
    """
    exports, folder = {}, directory / "exports"
    options = {"prompts": _prompts(loaded), "stops": origin.tokens.stops, "replace": True}
    for name in (name for name in config.export.formats if name != "adapter"):
        logger.info("exporting %s", name)
        path = folder / name
        if name == "hugging_face":
            exports[path] = language_models.hugging_face(
                model, path, preset=origin.preset, network=origin.network, **options
            )
        else:
            exports[path] = language_models.saved_model(model, path, tokenizer=origin.tokens.content, **options)
        logger.info("exported %s", exports[path])
    return exports


def _prompts(loaded: LanguageData) -> Sequence[Sequence[int]]:
    name = next(name for name in ("test", "validation", "train") if name in loaded.texts)
    texts = loaded.texts[name]
    return [texts.example(index)[0][:_PROMPT_TOKENS].tolist() for index in range(min(_PROMPTS, len(texts)))]
