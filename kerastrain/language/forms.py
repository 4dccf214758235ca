"""Which columns of a table make a conversation.

Takes names of columns, returns `Form`s. Must not import TensorFlow.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kerastrain.data.sources.table import Columns, Table, key
from kerastrain.data.sources.table_columns import is_present

MESSAGES = ("messages", "conversations", "conversation", "dialog", "dialogue", "chat", "turns")
_PAIRS = (
    *(("prompt", "response"), ("prompt", "completion"), ("prompt", "answer"), ("prompt", "output")),
    *(("instruction", "output"), ("instruction", "response"), ("instruction", "completion"), ("instruction", "answer")),
    *(
        ("question", "answer"),
        ("question", "response"),
        ("query", "response"),
        ("query", "answer"),
        ("input", "output"),
    ),
    *(("user", "assistant"), ("human", "assistant"), ("input", "response"), ("problem", "solution")),
)
_PROMPTS = ("prompt", "question", "instruction", "query", "input")
_BELOW = {"instruction": ("input", "context"), "question": ("context",), "prompt": ("context",), "query": ("context",)}


@dataclass(frozen=True)
class Form:
    """Which columns of a table make a conversation.

    Args:
        messages: str, the column of lists of messages, or None.
        prompt: str, the column of the user's message, or of messages, or None.
        below: str, the column of what is put below the prompt, or None.
        response: str, the column of the answer, or None.
        rejected: str, the column of the answer that people liked less, or None.
        system: str, the column of the system's message, or None.
        tools: str, the column of functions, or None.
    """

    messages: str | None = None
    prompt: str | None = None
    below: str | None = None
    response: str | None = None
    rejected: str | None = None
    system: str | None = None
    tools: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return tuple(name for name in vars(self).values() if name is not None)

    @property
    def described(self) -> str:
        """The columns in words."""
        *first, last = map(repr, self.columns)
        return f"{', '.join(first)} and {last}" if first else last

    def without(self, row: Mapping[str, Any]) -> "Form":
        """The form without the columns that a row need not have, and does not.

        Args:
            row: mapping from the names of columns to cells.

        Returns:
            Form.
        """
        optional = {name: getattr(self, name) for name in ("below", "system", "tools")}
        unused = {name: None for name, column in optional.items() if column and not has_text(row.get(column))}
        return replace(self, **unused) if unused else self

    def missing(self, row: Mapping[str, Any]) -> list[str]:
        """The columns that a row lacks for this form.

        Args:
            row: mapping from the names of columns to cells.

        Returns:
            list of str; empty if the row has the form.
        """
        needed = (self.messages, self.prompt, self.response, self.rejected)
        return [name for name in needed if name is not None and not is_present(row.get(name))]


def are_messages(names: Iterable[str]) -> bool:
    """Whether the rows of a table are the messages of one conversation.

    Args:
        names: iterable of str, the names of the columns.

    Returns:
        bool.
    """
    keys = set(map(key, names))
    return {"role", "content"} <= keys or {"from", "value"} <= keys


def one_conversation(table: Table) -> Table:
    """A table with one row, of a table whose rows are the messages of a conversation.

    Args:
        table: Table with the columns of `are_messages`.

    Returns:
        Table with the column "messages".
    """
    rows = [dict(zip(table.values, cells, strict=True)) for cells in zip(*table.values.values(), strict=True)]
    return Table(table.source, {"messages": [rows]}, [table.rows[0]], table.unit)


def forms(names: Iterable[str], columns: Columns) -> list[Form]:
    """The forms that the columns of a table can have, the first counts for a row that has several.

    Args:
        names: iterable of str, the names of the columns.
        columns: Columns, of which those for conversations count; those that it names are the only form.

    Returns:
        list of Form; empty if no columns make a conversation.
    """
    by_key = {key(name): name for name in names}
    others = {
        "system": columns.system or by_key.get("system", by_key.get("systemprompt")),
        "tools": by_key.get("tools", by_key.get("functions")),
    }
    if columns.messages or columns.prompt or columns.response:
        chosen = {name: getattr(columns, name) for name in ("messages", "prompt", "response", "rejected")}
        return [Form(**chosen, **others)]
    found = []
    if "chosen" in by_key and "rejected" in by_key:
        answers = {"response": by_key["chosen"], "rejected": by_key["rejected"]}
        for prompt in (name for name in (*_PROMPTS, *MESSAGES) if name in by_key):
            found.append(Form(prompt=by_key[prompt], below=_below(by_key, prompt), **answers, **others))
        found.append(Form(**answers, **others))  # Both answers may begin with the prompt.
    found += [Form(messages=by_key[name], **others) for name in MESSAGES if name in by_key]
    for prompt, response in _PAIRS:
        if prompt in by_key and response in by_key:
            below = _below(by_key, prompt)
            found.append(Form(prompt=by_key[prompt], below=below, response=by_key[response], **others))
    return found


def prompts(names: Iterable[str]) -> Form | None:
    """The columns of a table that make a prompt, to which the answer is not known.

    Args:
        names: iterable of str, the names of the columns.

    Returns:
        Form without a response, or None.
    """
    by_key = {key(name): name for name in names}
    system = by_key.get("system", by_key.get("systemprompt"))
    if column := next((by_key[name] for name in MESSAGES if name in by_key), None):
        return Form(messages=column, system=system)
    prompt = next((name for name in (*_PROMPTS, "user", "human", "problem", "text") if name in by_key), None)
    if prompt is None:
        return Form(prompt=by_key.popitem()[1]) if len(by_key) == 1 else None
    return Form(prompt=by_key[prompt], below=_below(by_key, prompt), system=system)


def _below(by_key: Mapping[str, str], prompt: str) -> str | None:
    """The column of what a prompt is about, which is put below it."""
    return next((by_key[name] for name in _BELOW.get(prompt, ()) if name in by_key), None)


def has_text(cell: Any) -> bool:
    """Whether a cell says something.

    Args:
        cell: object.

    Returns:
        bool.
    """
    return is_present(cell) and bool(str(cell).strip())
