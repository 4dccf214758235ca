"""What a folder of the library sentence-transformers says about the vector of a text, beside the encoder itself.

Takes a folder; returns settings. Other folders get the mean over the tokens. Must not import TensorFlow.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from kerastrain.errors import InputError
from kerastrain.presets import files

_MODES = {"cls_token": "cls", "max_tokens": "max", "mean_tokens": "mean", "mean_sqrt_len_tokens": "mean_sqrt_len"}
_NAMES = {"cls": "cls", "max": "max", "mean": "mean", "mean_sqrt_len_tokens": "mean_sqrt_len"}


@dataclass(frozen=True)
class Pooling:
    """How the vectors of tokens become one.

    Args:
        modes: tuple of str, as for `layers.encoder_text.TokenPooling`.
        normalize: bool, whether the vector is divided by its norm.
        left_out: tuple of str, the further modules of the folder, which are not used.
    """

    modes: tuple[str, ...] = ("mean",)
    normalize: bool = False
    left_out: tuple[str, ...] = ()

    @property
    def described(self) -> str:
        """How a text's vector is made, for messages."""
        words = {"cls": "that of its first token", "max": "the largest values over its tokens"}
        words |= {
            "mean": "the mean over its tokens",
            "mean_sqrt_len": "the sum over its tokens by the root of their number",
        }
        text = " and ".join(words[mode] for mode in self.modes) + (", of length 1" if self.normalize else "")
        return f"{text} (without the folder's module {', '.join(self.left_out)})" if self.left_out else text


def pooling(folder: Path) -> Pooling:
    """Reads how the vectors of tokens become one.

    Args:
        folder: Path.

    Returns:
        Pooling.

    Raises:
        InputError: a file is missing or damaged, or it pools in a way that is not known.
    """
    file = folder / "modules.json"
    if not file.is_file():
        return Pooling()
    files.refuse_pointer(file)
    try:
        modules = json.loads(file.read_text(encoding="utf-8"))
        steps = [(module["type"].rpartition(".")[2], module.get("path", "")) for module in modules]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InputError(f"{str(file)!r} is no list of modules: it may be cut off. Download it again.") from None
    modes, left_out = ("mean",), []
    for kind, path in steps:
        if kind == "Pooling":
            modes = _modes(folder / path / "config.json")
        elif kind not in ("Transformer", "Normalize", "Dropout"):
            left_out.append(kind)
    return Pooling(modes, any(kind == "Normalize" for kind, _ in steps), tuple(left_out))


def prefix(folder: Path) -> str:
    """Reads the text that is put before every input.

    Args:
        folder: Path.

    Returns:
        str, the prompt that "default_prompt_name" of config_sentence_transformers.json names; "" without one.

    Raises:
        InputError: there is no prompt of that name.
    """
    file = folder / "config_sentence_transformers.json"
    if not file.is_file():
        return ""
    settings = files.read_json(file)
    name, prompts = settings.get("default_prompt_name"), settings.get("prompts") or {}
    if name is None:
        return ""
    if name not in prompts:
        raise InputError(f"{str(file)!r} names {name!r} as the default prompt, and has {', '.join(prompts) or 'none'}.")
    return str(prompts[name])


def most_tokens(folder: Path) -> int | None:
    """Reads the largest number of tokens of a text that the folder's makers used.

    Args:
        folder: Path.

    Returns:
        int, or None if nothing says it.
    """
    file = folder / "sentence_bert_config.json"
    most = files.read_json(file).get("max_seq_length") if file.is_file() else None
    return most if isinstance(most, int) and most > 2 else None


def _modes(file: Path) -> tuple[str, ...]:
    if not file.is_file():
        raise InputError(
            f"{str(file.parent.parent)!r} is half downloaded: it holds no {file.parent.name}/{file.name}, which modules.json "
            "names. Download it again."
        )
    settings = files.read_json(file)
    if "pooling_mode" in settings:
        named = settings["pooling_mode"]
        names = [named] if isinstance(named, str) else list(named)
        unknown, modes = [name for name in names if name not in _NAMES], [_NAMES.get(name) for name in names]
    else:
        start = "pooling_mode_"
        names = [key.removeprefix(start) for key, value in settings.items() if key.startswith(start) and value is True]
        unknown, modes = [name for name in names if name not in _MODES], [_MODES.get(name) for name in names]
    if unknown or not modes:
        raise InputError(
            f"{str(file)!r} must pool by {', '.join(_MODES)}. Received: {', '.join(unknown) or 'none of them'}."
        )
    order = list(_MODES.values())  # in which sentence-transformers puts them side by side
    return tuple(sorted(modes, key=order.index))
