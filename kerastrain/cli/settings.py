"""Tells config files and overrides apart on the command line, and answers what is neither.

Takes arguments; returns a path and overrides. Must not read files.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from typer.core import TyperCommand

from kerastrain import config as configs
from kerastrain.errors import InputError

_DATA_SUFFIXES = (".csv", ".tsv", ".parquet", ".npz", ".jsonl", ".jpg", ".jpeg", ".png", ".zip", ".gz")


class SettingsCommand(TyperCommand):
    """A command whose arguments are a config file and overrides. An unknown option is answered with the override."""

    kinds: tuple[str, ...] = ("Config",)

    def parse_args(self, ctx, args: list[str]) -> list[str]:
        """Parses the arguments; raises an InputError for an unknown option."""
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if not hasattr(error, "possibilities"):  # click's NoSuchOption, whose module differs between versions
                raise
            kinds = [getattr(configs, name) for name in self.kinds]
            raise InputError(
                _unknown_option(str(ctx.info_name), error.option_name, words, self.params, kinds)
            ) from None


class SearchSettingsCommand(SettingsCommand):
    """A command whose arguments also hold the settings of a search, such as `trials=30`."""

    kinds = ("SearchConfig", "Config")


def _unknown_option(command: str, option: str, words: Sequence[str], parameters: Sequence, kinds: Sequence) -> str:
    known = [name for parameter in parameters for name in parameter.opts if name.startswith("--")]
    near = difflib.get_close_matches(option, known, n=1, cutoff=0.8)
    start = f"{command} has no option {option}."
    if near:
        return f"{start} Did you mean {near[0]}?"
    found = _meant(option, kinds) if len(option.strip("-")) > 1 else []
    if not found:
        return f"{start} Known: {', '.join([*known, '--help'])}. Settings are written section.key=value, such as fit.epochs=3."
    place = next((index for index, word in enumerate(words) if word.split("=")[0] == option), len(words))
    value = words[place].partition("=")[2] if place < len(words) else ""
    value = value or next((word for word in words[place + 1 : place + 2] if not word.startswith("-")), "VALUE")
    written = " or ".join(f"{key}={value}" for key in found[:3])
    return f"{start} Settings are written without dashes: {written}."


def _meant(option: str, kinds: Sequence[type[configs.Section]]) -> list[str]:
    """Returns the keys that an option may mean; if some have its very name, only those."""
    found = [*dict.fromkeys(key for kind in kinds for key in configs.keys.meant(kind, option))]
    name = option.strip("-").replace("-", "_").lower().rpartition(".")[2]
    return [key for key in found if key.rpartition(".")[2] == name] or found


def divide(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """Divides the arguments of a command into a config file and overrides.

    A file whose path contains `=` is a file.

    Args:
        arguments: sequence of str.

    Returns:
        (str or None, list of str): the path of the config file, and the overrides.

    Raises:
        InputError: there are two files, or an argument is neither a file nor an override.

    Example:
        >>> divide(["runs/lr=0.1/config.yaml", "fit.epochs=3"])
        ('runs/lr=0.1/config.yaml', ['fit.epochs=3'])
    """
    files, overrides = files_and_overrides(arguments)
    if len(files) > 1:
        raise InputError(
            f"give at most one config file. Received: {', '.join(files)}. Overrides have the form section.key=value."
        )
    if files:
        require_config(files[0])
    return (files[0] if files else None), overrides


def files_and_overrides(
    arguments: Sequence[str], kinds: Sequence[type[configs.Section]] | None = None
) -> tuple[list[str], list[str]]:
    """Divides the arguments of a command into files and overrides.

    Args:
        arguments: sequence of str.
        kinds: sequence of the subclasses of Section whose keys an argument without a value may be; None for Config.

    Returns:
        (list of str, list of str): the paths of the files, and the overrides.

    Raises:
        InputError: an argument is neither a file nor an override.
    """
    files, overrides = [], []
    kinds = kinds or (configs.Config,)
    for place, text in enumerate(arguments):
        rest = [word for word in arguments[place + 1 : place + 3] if word != "="]
        value = rest[0] if rest and not _is_override(rest[0]) else "VALUE"
        if _is_override(text):
            _require_whole(text, arguments[place + 1 :])
            if text.endswith("=") and value != "VALUE" and not os.path.isfile(value):
                raise InputError(f"`{text}` has no value. Write {text}{value} without a space.")
            overrides.append(text)
        elif found := _as_key(text, kinds):
            written = " or ".join(f"{key}={value}" for key in found[:3])
            raise InputError(f"`{text}` is no config file, and a setting needs a value. Write {written}.")
        else:
            files.append(text)
    return files, overrides


def _require_whole(text: str, rest: Sequence[str]) -> None:
    """Raises an error if a list or mapping ends in a later argument, because the shell divided it at its spaces."""
    opening = text.partition("=")[2].lstrip()[:1]
    closing = {"[": "]", "{": "}"}.get(opening)
    if closing is None or text.count(opening) <= text.count(closing):
        return
    for count in range(1, len(rest) + 1):
        whole = " ".join([text, *rest[:count]])
        if whole.count(opening) <= whole.count(closing):
            raise InputError(f"the shell divided an override at its spaces. Put quotes around it: '{whole}'")


def _is_override(text: str) -> bool:
    # os.path also answers for a text that is too long to be a path; Path raises an error.
    key, equals, _ = text.partition("=")
    if not equals:
        return False
    if key.strip().partition(".")[0] in configs.Config.model_fields:
        return not ("/" in key and os.path.isfile(text))
    return not ("/" in key or Path(text).suffix in (".yaml", ".yml") or os.path.isfile(text))


def _as_key(text: str, kinds: Sequence[type[configs.Section]]) -> list[str]:
    """Returns the keys that an argument without a value may mean; none for the path of a file."""
    if os.path.exists(text) or "/" in text or Path(text).suffix.lower() in (".yaml", ".yml", *_DATA_SUFFIXES):
        return []
    return _meant(text.partition(":")[0], kinds)


def require_config(path: str) -> None:
    """Raises an error for a folder or a file of data in place of a config file.

    Args:
        path: str.

    Raises:
        InputError: the message says what to write instead.
    """
    place = Path(path)
    if place.is_dir():
        if (place / "config.yaml").is_file():
            raise InputError(f"{path!r} is the folder of a run. Give its config: {place / 'config.yaml'}.")
        raise InputError(f"{path!r} is a folder and no config file. For data write data.path={path}")
    if place.suffix.lower() in _DATA_SUFFIXES:
        raise InputError(f"{path!r} is no config file, which ends in .yaml. For data write data.path={path}")
