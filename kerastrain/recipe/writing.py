"""Opens the language model of a finished run to write with it.

Takes the folder of a run; returns a `Writer`. Must not train.
"""

import json
from pathlib import Path

from kerastrain import run_directory
from kerastrain.errors import InputError
from kerastrain.language.writer import Writer
from kerastrain.recipe.language_run import TOKENS_FILE
from kerastrain.tokenization.language_tokens import LanguageTokens


def writer(directory: str | Path) -> Writer:
    """Opens the language model of a run.

    Args:
        directory: str or Path of a finished run of data.kind chat or language.

    Returns:
        Writer.

    Raises:
        FileNotFoundError: `directory` does not exist or is no run.
        InputError: the run is not finished, or its model writes no text.
    """
    run = run_directory.load(directory)
    if not run.config.is_language:
        raise InputError(
            f"the run must be of a language model, which writes text. Received: {str(directory)!r}, a run of data.kind "
            f"{run.config.data.kind}. For its answers: `kerastrain predict {directory}`."
        )
    content = json.loads((run.directory / TOKENS_FILE).read_text(encoding="utf-8"))
    return Writer(run.model, LanguageTokens.from_config(content))
