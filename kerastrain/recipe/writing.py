"""Opens the language model of a finished run, or a pretrained one, to write with it.

Takes the folder of a run or of Hugging Face; returns a `Writer`. Must not train.
"""

from pathlib import Path

from kerastrain import language, presets, run_directory
from kerastrain.errors import InputError
from kerastrain.language.writer import Writer
from kerastrain.recipe.language_data import TOKENS_FILE
from kerastrain.system import files
from kerastrain.tokenization.language_tokens import LanguageTokens


def writer(directory: str | Path) -> Writer:
    """Opens the language model of a run, or a pretrained one.

    Args:
        directory: str or Path of a finished run of data.kind chat or language; or a pretrained language model as for
            `model.backbone`, such as the folder `exports/hugging_face` of a run.

    Returns:
        Writer, to which a prompt is a message to answer if the run learned from conversations, or, for a pretrained model, if
        it has a chat template.

    Raises:
        FileNotFoundError: `directory` does not exist.
        InputError: the run is not finished, or the model writes no text.

    Example:
        >>> from kerastrain import recipe
        >>> writer = recipe.writer("runs/qa")  # doctest: +SKIP
        >>> writer.write([{"role": "user", "content": "What does math.gcd do?"}], max_new_tokens=64)  # doctest: +SKIP
        'It returns the greatest common divisor.'
    """
    handle = str(directory)
    if not (Path(handle) / "config.yaml").is_file() and (presets.is_preset(handle) or not Path(handle).exists()):
        source = language.load(handle)
        return Writer(source.model, source.tokens)
    run = run_directory.load(directory)
    if not run.config.is_language:
        raise InputError(
            f"the run must be of a language model, which writes text. Received: {str(directory)!r}, a run of data.kind "
            f"{run.config.data.kind}. For its answers: `kerastrain predict {directory}`."
        )
    content = files.read_json(run.directory / TOKENS_FILE)
    return Writer(run.model, LanguageTokens.from_config(content), is_chat=run.config.data.kind == "chat")
