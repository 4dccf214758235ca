"""Prompts of a file, for a language model that writes.

Takes a path; returns texts and conversations. Must not import TensorFlow.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from kerastrain.data.sources import table_files, text_encoding
from kerastrain.data.sources.table import Columns, Table
from kerastrain.errors import InputError
from kerastrain.language import forms, messages
from kerastrain.language.templates import ASSISTANT

Prompt = str | Sequence[Mapping[str, str]]


def read(path: Path, *, is_chat: bool) -> list[Prompt]:
    """Reads prompts.

    | file | prompts |
    |---|---|
    | a table (.jsonl, .json, .csv, .tsv, .parquet, also .gz) | a conversation for each row, without answers at its end |
    | such a table of texts to continue | the column prompt or text |
    | another file | each line that is not empty |

    Args:
        path: Path.
        is_chat: bool, whether a prompt is a conversation, else a text to continue.

    Returns:
        list of conversations, or of str.

    Raises:
        FileNotFoundError: nothing exists at the path.
        InputError: it holds no prompts, or a row holds none.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file of prompts at '{path}': the path does not exist.")
    if table_files.suffix(path) in table_files.SUFFIXES:
        prompts = _of_table(table_files.read(path, Columns()), is_chat)
    else:
        lines = text_encoding.read(path)[0].splitlines()
        prompts = [conversation(line) if is_chat else line for line in lines if line.strip()]
    if not prompts:
        raise InputError(f"'{path}' holds no prompt.")
    return prompts


def conversation(text: str, system: str | None = None) -> list[dict]:
    """A conversation that begins with a message of the user.

    Args:
        text: str, the message.
        system: str, instructions for the whole conversation, or None.

    Returns:
        list of dicts with "role" and "content".
    """
    before = [] if system is None else [{"role": "system", "content": system}]
    return [*before, {"role": "user", "content": text}]


def _of_table(table: Table, is_chat: bool) -> list[Prompt]:
    if table.skipped:
        raise InputError(f"{table.skipped[0].path}: {table.skipped[0].reason}. Mend it, so that no prompt is left out.")
    if is_chat and forms.are_messages(table.values):
        table = forms.one_conversation(table)
    found = forms.prompts(table.values)
    if found is None or (found.messages and not is_chat):
        kind = "prompts" if is_chat else "texts to continue"
        raise InputError(
            f"{table.source}: no column holds {kind}. Received: {', '.join(table.values)}. Name it prompt"
            f"{', or messages' if is_chat else ''}."
        )
    names, prompts = found.columns, []
    for index, cells in enumerate(zip(*(table.column(name) for name in names), strict=True)):
        try:
            item = messages.prompt(dict(zip(names, cells, strict=True)), found)
        except InputError as error:
            raise InputError(f"{table.row_name(index)}: {error}. Mend it, so that no prompt is left out.") from None
        while item and item[-1]["role"] == ASSISTANT:
            item.pop()
        if not item:
            raise InputError(f"{table.row_name(index)}: it has no message before an answer.")
        prompts.append(item if is_chat else item[-1]["content"])
    return prompts
