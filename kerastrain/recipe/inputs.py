"""Finds the inputs that the arguments of a command name: images, texts, and the rows of tables and files.

Takes the config of a run and arguments; returns `Inputs` in the order of the arguments. One argument that cannot be used
costs only itself. Must not decode images or import TensorFlow.
"""

import glob
import itertools
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kerastrain import config as configs
from kerastrain import data
from kerastrain.config import Config
from kerastrain.config.data import LANGUAGE_KINDS
from kerastrain.data.sources import number_columns, unlabelled
from kerastrain.errors import InputError, counted

STDIN = "-"
"""The argument that stands for the lines of standard input."""

_OVERRIDE = re.compile(r"[a-z_]+(\.[a-z_0-9]+)+=")
_FILE_SUFFIX = r"\.(csv|tsv|txt|jsonl?|parquet|npz|md|xlsx?|html?|xml|pdf|gz|zip|png|jpe?g|gif|bmp|webp|tiff?)"
_LIKE_A_PATH = re.compile(rf"(~|\.{{0,2}})/.*|.*{_FILE_SUFFIX}", re.IGNORECASE)
_FIELDS = ("found", "notes", "faults")  # of Inputs
_FIXED = ("kind", "task", "image_size", "resize", "pixel_range")
_OF_LANGUAGE_KIND = ("columns", "chat_template", "learn")  # say how one of the kinds is read


@dataclass(frozen=True)
class Input:
    """An input for a finished run.

    Args:
        value: str, the path of an image file, or a text; for a run of pairs of texts, tuple of two str.
        row: str, where it was found, such as "line 3 of 'news.csv'"; empty if it was given itself.
        numbers: tuple of float, the numbers beside it, NaN where one is missing; for a run that reads `data.columns.numbers`.
        target: str, what its table says is right; empty if it does not say it.
    """

    value: str | tuple[str, str]
    row: str = ""
    numbers: tuple[float, ...] = ()
    target: str = field(default="", compare=False)


@dataclass(frozen=True)
class Inputs:
    """What the arguments of a command name.

    Args:
        found: tuple of Input, in the order of the arguments.
        notes: tuple of str, how each table, file and folder was read.
        faults: tuple of str, a sentence about each argument or row that cannot be used.
    """

    found: tuple[Input, ...] = ()
    notes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


def divide(arguments: Iterable[str]) -> tuple[list[str], list[str]]:
    """Separates the inputs among arguments from the overrides, such as "data.columns.input=title".

    The value of `data.path` is an input. A file whose name looks like an override is a file.

    Args:
        arguments: iterable of str.

    Returns:
        tuple of the inputs, list of str, and the overrides, list of str.

    Example:
        >>> divide(["a film", "data.path=news.csv", "data.columns.input=title"])
        (['a film', 'news.csv'], ['data.columns.input=title'])
    """
    inputs, overrides = [], []
    for argument in arguments:
        if argument.startswith("data.path="):
            inputs.append(argument.removeprefix("data.path="))
        else:
            is_override = _OVERRIDE.match(argument) and not os.path.lexists(argument)
            (overrides if is_override else inputs).append(argument)
    return inputs, overrides


def override(config: Config, overrides: Sequence[str]) -> Config:
    """Changes how a finished run reads data.

    Args:
        config: Config of the run.
        overrides: sequence of str such as "data.columns.input=title".

    Returns:
        Config.

    Raises:
        ConfigError: a key or value is invalid.
        InputError: a key is not in the section `data`, or the trained model fixes its value. A language model reads
            conversations and texts.
    """
    if not overrides:
        return config
    values = config.model_dump(mode="json")
    for text in overrides:
        key, _, value = text.partition("=")
        if key in ("data.kind", "data.task") and value != getattr(config.data, key.removeprefix("data.")):
            if not (config.is_language and value in LANGUAGE_KINDS):
                raise InputError(_fixed(key, value, getattr(config.data, key.removeprefix("data."))))
            values["data"] = {key: value for key, value in values["data"].items() if key not in _OF_LANGUAGE_KIND}
    changed = configs.validate(configs.override(values, overrides), source="the command line")
    fixed = _FIXED[1:] if config.is_language else _FIXED
    for name, section in changed:
        own = getattr(config, name)
        keys = [key for key in type(own).model_fields if getattr(own, key) != getattr(section, key)]
        wrong = [key for key in keys if (name == "data" and key in fixed) or name not in ("data", "evaluation")]
        if name == "data" and (own.columns.pair is None) != (section.columns.pair is None):
            raise InputError(_fixed("data.columns.pair", section.columns.pair, own.columns.pair))
        if name == "data" and len(own.columns.numbers) != len(section.columns.numbers):
            names = (list(columns.numbers) for columns in (section.columns, own.columns))
            raise InputError(_fixed("data.columns.numbers", *names))
        if wrong:
            raise InputError(_fixed(f"{name}.{wrong[0]}", getattr(section, wrong[0]), getattr(own, wrong[0])))
    return changed


def _fixed(key: str, value: object, own: object) -> str:
    return (
        f"`{key}` belongs to the trained model and cannot be changed. Received: {value!r}, and the run has {own!r}. Remove "
        "it, or train a run with it."
    )


def require_explainable(config: Config, folder: Path) -> None:
    """Checks that the predictions of a run can be drawn over its images, or explained by its words.

    Args:
        config: Config of the run.
        folder: Path of the run.

    Raises:
        InputError: the run reads numbers beside its images.
    """
    if config.data.kind == "images" and config.data.columns.numbers:
        raise InputError(
            f"explain draws over images alone. Received: {str(folder)!r}, whose model reads numbers beside them "
            f"({', '.join(config.data.columns.numbers)}). Train a run without `data.columns.numbers` to explain it."
        )


def find(
    config: Config,
    arguments: Iterable[str],
    *,
    texts: Sequence[str] = (),
    seconds: Sequence[str] = (),
    stdin: Iterable[str] = (),
    own: Config | None = None,
) -> Inputs:
    """Finds the inputs that arguments name.

    | argument | image run | text run |
    |---|---|---|
    | a table (.csv, .tsv, .parquet, …) | the images in its rows | the texts in its rows |
    | any other file | an image | a text in each line |
    | a folder | its images, also in subfolders | a text in each .txt file, also in subfolders |
    | a pattern such as "photos/**/*.jpg" | the files and folders that match it | the same |
    | "-" | the paths in the lines of `stdin` | a text in each line of `stdin` |
    | anything else | the path of a missing file | a text, unless it looks like a path |

    Args:
        config: Config of a finished run, perhaps changed by `override`. Its `data.columns` name the columns of tables.
        arguments: iterable of str, as in the table.
        texts: sequence of str, texts that are never read as paths; only for a text run.
        seconds: sequence of str, the second text for each of `texts`; only for a run of pairs of texts.
        stdin: iterable of str, lines for the argument "-".
        own: Config of the run itself. A column that it names need not be in every table; a usual name counts then.

    Returns:
        Inputs.

    Raises:
        InputError: `texts` are given for a run of images or one that reads numbers, or `seconds` for a run of single texts,
            or one of them lacks the other.
    """
    is_text = config.data.kind == "text"
    if texts and not is_text:
        raise InputError("--text is only for a text run. Received: a run of images. Give image files.")
    pair = config.data.columns.pair
    if seconds and pair is None:
        raise InputError("--pair is only for a run of pairs of texts. Received: a run of single inputs. Leave it out.")
    if pair is not None and len(texts) != len(seconds):
        raise InputError(
            f"the run reads pairs of texts: give --text and --pair equally often. Received: {len(texts)} and {len(seconds)}."
        )
    if texts and config.data.columns.numbers:
        columns = data.Columns(**config.data.columns.model_dump())
        raise InputError(number_columns.requirement(columns, config.data.kind, texts[0]))
    parts = [_pairs(texts, seconds) if pair is not None else _texts(texts)] if texts else []
    for argument in arguments:
        matches = _matches(argument, is_text=is_text)
        if matches is not None:
            parts.append(Inputs(notes=(f"{argument!r}: {counted(len(matches), 'matching paths')}",)))
        for place in [argument] if matches is None else matches:
            try:
                parts.append(_argument(config, place, stdin, own or config))
            except (InputError, OSError) as error:
                parts.append(Inputs(faults=(str(error),)))
    return _joined(parts) if is_text else _without_repeats(_joined(parts))


def _joined(parts: Sequence[Inputs]) -> Inputs:
    return Inputs(*(tuple(itertools.chain(*(getattr(part, name) for part in parts))) for name in _FIELDS))


def _without_repeats(inputs: Inputs) -> Inputs:
    """Each image file once that arguments, folders and patterns name; the rows of tables and lines are kept."""
    seen, kept, repeats = set(), [], 0
    for item in inputs.found:
        path = os.path.abspath(item.value)
        if not item.row and path in seen:
            repeats += 1
            continue
        if not item.row:
            seen.add(path)
        kept.append(item)
    note = f"{counted(repeats, 'files')} {'is' if repeats == 1 else 'are'} named more than once, and used once"
    return Inputs(tuple(kept), (*inputs.notes, note), inputs.faults) if repeats else inputs


def _argument(config: Config, argument: str, stdin: Iterable[str], own: Config) -> Inputs:
    is_text, path = config.data.kind == "text", Path(argument).expanduser()
    if config.data.columns.numbers and not (os.path.lexists(path) and data.has_columns(path, config.data.kind)):
        columns = data.Columns(**config.data.columns.model_dump())
        raise InputError(number_columns.requirement(columns, config.data.kind, argument))
    if config.data.columns.pair is not None and not (os.path.lexists(path) and data.has_columns(path, "text")):
        columns = data.Columns(**config.data.columns.model_dump())
        names = " and ".join(map(repr, (*columns.inputs, *columns.pairs)))
        raise InputError(
            f"the run reads pairs of texts. Received: {argument!r}, which is no table. Give a table with the columns {names}, or "
            "--text TEXT --pair TEXT."
        )
    if argument == STDIN:
        return _read(
            "standard input", unlabelled.lines(_text_of(stdin), "standard input", "text" if is_text else "path")
        )
    if glob.has_magic(argument) and not is_text and not os.path.lexists(path):
        raise InputError(f"no file matches the pattern {argument!r}.")
    if not argument.strip() or not os.path.lexists(path):  # Path("") is this folder.
        return _words(argument) if is_text else Inputs((Input(argument),))
    if path.is_dir():
        return _read(f"'{path}'", (unlabelled.text_folder if is_text else unlabelled.image_folder)(path))
    if data.has_columns(path):
        columns = data.Columns(**config.data.columns.model_dump())
        is_own = config.data.columns.input == own.data.columns.input
        return _read(f"'{path}'", unlabelled.table(path, kind=config.data.kind, columns=columns, is_optional=is_own))
    return _read(f"'{path}'", unlabelled.text_file(path)) if is_text else Inputs((Input(str(path)),))


def _text_of(stdin: Iterable[str]) -> str:
    """The text of standard input."""
    try:
        content = "".join(stdin)
    except UnicodeDecodeError as error:
        raise InputError(f"standard input must be text in {error.encoding}. Received: other bytes.") from error
    if "\0" in content:
        raise InputError(
            "standard input must be text, such as a path in each line. Received: binary data. Give the name of a file."
        )
    return content


def _matches(argument: str, *, is_text: bool) -> list[str] | None:
    """The files and folders that match a pattern, sorted; None if there are none, or the argument is no pattern.

    What is in a folder that matches is found with the folder. A text with a question mark is rarely a pattern.
    """
    path = os.path.expanduser(argument)
    is_sentence = is_text and re.search(r"\s", argument.strip()) and not _LIKE_A_PATH.fullmatch(argument)
    if not glob.has_magic(argument) or is_sentence or os.path.lexists(path):
        return None
    found = sorted(glob.glob(path, recursive=True), key=lambda match: match.split(os.sep))
    folders = {os.path.normpath(match) for match in found if os.path.isdir(match)}
    is_inside = lambda match: any(str(parent) in folders for parent in Path(os.path.normpath(match)).parents)
    return [match for match in found if not is_inside(match)] or None


def _read(source: str, content: unlabelled.Unlabelled) -> Inputs:
    numbers = content.numbers or ((),) * len(content.values)
    targets = content.targets or ("",) * len(content.values)
    found = tuple(map(Input, content.values, content.rows, numbers, targets))
    return Inputs(found, (f"{source}: {content.layout}",), content.faults)


def _words(text: str) -> Inputs:
    """A text that was given itself, unless it looks like a path."""
    parent = os.path.dirname(text.strip())
    if not (_LIKE_A_PATH.fullmatch(text.strip()) or parent and os.path.isdir(parent)):
        return _texts([text])
    if not re.search(r"\s", text.strip()):
        raise InputError(f"there is no file {text!r}. To classify these characters as a text, use --text.")
    found, _, faults = (getattr(_texts([text]), name) for name in ("found", "notes", "faults"))
    return Inputs(found, (f"{text!r} is classified as a text, because there is no such file",), faults)


def _pairs(firsts: Sequence[str], seconds: Sequence[str]) -> Inputs:
    pairs = [(first.strip(), second.strip()) for first, second in zip(firsts, seconds, strict=True)]
    faults = tuple(f"the pair {pair!r} has an empty text." for pair in pairs if not all(pair))
    return Inputs(tuple(Input(pair) for pair in pairs if all(pair)), (), faults)


def _texts(texts: Iterable[str]) -> Inputs:
    texts = [text.strip() for text in texts]  # as the texts of a training are
    faults = ("the text '' is empty.",) * texts.count("")
    return Inputs(tuple(Input(text) for text in texts if text), (), faults)
