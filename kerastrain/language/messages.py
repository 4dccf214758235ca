"""Conversations from rows of tables, in the forms in which people keep them.

Takes the cells of a row; returns a `Conversation`, or says why it is none. Must not open files or import TensorFlow.

| columns | what they hold |
|---|---|
| messages, conversations, … | a list of {"role", "content"}, or of {"from", "value"} |
| prompt and response, question and answer, instruction and output, … | a message of the user and the answer |
| instruction, input and output | the input is put below the instruction |
| prompt, chosen and rejected | a message, or a list of them, and two answers |
| chosen and rejected | two conversations that begin alike: lists of messages, or texts with "Human: …" and "Assistant: …" |
| system, tools | the message of the system; JSON schemas of functions |
"""

import ast
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kerastrain.data.sources.table_columns import is_present
from kerastrain.errors import InputError
from kerastrain.language.forms import Form, has_text
from kerastrain.language.templates import ASSISTANT

_ROLES = {
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys((ASSISTANT, "gpt", "bot", "chatgpt", "model", "ai"), ASSISTANT),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("tool", "function", "observation", "ipython"), "tool"),
}
_KEPT = ("tool_calls", "tool_call_id", "name", "reasoning_content", "thinking")
_SHOWN = 30  # characters
_TURN = re.compile(r"(?:\A|\n\n)\s*(Human|Assistant):")


@dataclass(frozen=True)
class Conversation:
    """A conversation whose answers are learned.

    Args:
        messages: tuple of dicts with "role" ("system", "user", "assistant" or "tool") and "content".
        row: str, where it was found, such as "line 3 of 'qa.jsonl'".
        tools: tuple of dicts, JSON schemas of functions that the assistant may call; None for none.
        given: frozenset of int, the indices of the answers in `messages` that are not learned.
        rejected: tuple of dicts, what people liked less than the messages after the first `shared`; empty for none.
        shared: int, the number of messages that both have.
        cut: int, the number of messages after the last answer that were left out.
    """

    messages: tuple[Mapping[str, Any], ...]
    row: str = ""
    tools: tuple[Mapping, ...] | None = None
    given: frozenset[int] = frozenset()
    rejected: tuple[Mapping[str, Any], ...] = ()
    shared: int = 0
    cut: int = 0

    @property
    def prompt(self) -> tuple[Mapping[str, Any], ...]:
        """The messages before the first answer to the user."""
        answers = [index for index, message in enumerate(self.messages) if message["role"] == ASSISTANT]
        # Many conversations begin with the same greeting of the assistant.
        are_asked = (index for index in answers if any(each["role"] == "user" for each in self.messages[:index]))
        return self.messages[: next(are_asked, answers[0])]

    @property
    def content(self) -> str:
        """Everything that two equal conversations share, as one text."""
        return json.dumps([self.messages, self.tools, sorted(self.given), self.rejected], ensure_ascii=False)


def conversation(row: Mapping[str, Any], form: Form, name: str) -> Conversation:
    """The conversation of a row.

    Args:
        row: mapping from the names of columns to cells.
        form: Form.
        name: str, of the row.

    Returns:
        Conversation, which ends with an answer.

    Raises:
        InputError: the row holds none; the message is the rest of a sentence about it.
    """
    tools = _tools(row[form.tools], form.tools) if form.tools and has_text(row.get(form.tools)) else None
    rejected, given, shared = [], frozenset(), 0
    if form.messages:
        messages = message_list(row[form.messages])
    else:
        before, answer = _prompt(row, form), _answer(row[form.response])
        if form.rejected:
            rejected = _answer(row[form.rejected])
            if form.prompt is None:
                answer, rejected = _dialogue(answer), _dialogue(rejected)
            before, answer, rejected = _divided(before, answer, rejected)
            shared = len(before)
        messages = [*before, *answer]
        given = frozenset(range(len(before)))
    count = len(messages)
    messages = _with_system(messages, row, form)
    if len(messages) > count:
        given = frozenset(index + 1 for index in given)
        shared += bool(rejected)
    answers = [index for index, message in enumerate(messages) if message["role"] == ASSISTANT]
    if not answers:
        raise InputError("it has no message of the assistant" if messages else "it has no messages")
    last = answers[-1] + 1
    given |= {index for index in answers if messages[index].pop("weight", 1) == 0}
    for message in rejected:
        message.pop("weight", None)  # People who reject an answer say so with its column.
    given &= set(answers)
    _check(messages[:last], rejected, given, answers)
    return Conversation(
        messages=tuple(messages[:last]),
        row=name,
        tools=tuple(tools) if tools else None,
        given=given,
        rejected=tuple(rejected),
        shared=shared,
        cut=len(messages) - last,
    )


def _tools(cell: Any, name: str) -> list[dict]:
    """JSON schemas of functions; those of OpenAI's older form lack what is around them."""
    tools = _listed(cell)
    if not all(isinstance(tool, Mapping) for tool in tools):
        raise InputError(f"the column {name!r} must hold JSON schemas of functions, and has {shown(cell)}")
    return [
        dict(tool) if "function" in tool or "name" not in tool else {"type": "function", "function": tool}
        for tool in tools
    ]


def prompt(row: Mapping[str, Any], form: Form) -> list[dict]:
    """The messages of a row that wait for an answer.

    Args:
        row: mapping from the names of columns to cells.
        form: Form from `forms.prompts`.

    Returns:
        list of dicts with "role" and "content".

    Raises:
        InputError: the row holds none; the message is the rest of a sentence about it.
    """
    found = message_list(row[form.messages]) if form.messages else _prompt(row, form)
    return _with_system(found, row, form)


def _with_system(messages: list[dict], row: Mapping[str, Any], form: Form) -> list[dict]:
    if form.system and has_text(row.get(form.system)) and (not messages or messages[0]["role"] != "system"):
        return [_message({"role": "system", "content": row[form.system]}, 0), *messages]
    return messages


def _prompt(row: Mapping[str, Any], form: Form) -> list[dict]:
    cell = row.get(form.prompt) if form.prompt else None
    if form.prompt is None:
        return []
    value = _listed(cell, strict=False)
    if isinstance(value, list):
        return message_list(value)
    names = [name for name in (form.prompt, form.below) if name is not None and is_present(row.get(name))]
    text = "\n\n".join(filter(str.strip, (_text(row[name], f"the column {name!r}") for name in names)))
    if not text.strip():
        raise InputError(f"the column {form.prompt!r} is empty")
    return [{"role": "user", "content": text}]


def _answer(cell: Any) -> list[dict]:
    value = _listed(cell, strict=False)
    if isinstance(value, list):
        return message_list(value)
    if isinstance(value, Mapping):
        return message_list([value])
    return [{"role": ASSISTANT, "content": _text(cell, "the answer")}]


def _dialogue(answer: list[dict]) -> list[dict]:
    """The messages of a text with "Human: …" and "Assistant: …" in turn, as some data sets of preferences hold it."""
    _, *parts = _TURN.split(answer[0]["content"]) if len(answer) == 1 else [""]
    if len(parts) < 4:
        return answer
    return [
        {"role": _ROLES[role.lower()], "content": text.strip()}
        for role, text in zip(parts[::2], parts[1::2], strict=True)
    ]


def _divided(before: list[dict], chosen: list[dict], rejected: list[dict]) -> tuple[list[dict], list[dict], list[dict]]:
    """Divides two conversations into what they share and the answers in which they differ."""
    count = 0
    while count < min(len(chosen), len(rejected)) - 1 and chosen[count] == rejected[count]:
        count += 1
    if count:  # whole conversations, whose beginning the prompt repeats
        before, chosen, rejected = chosen[:count], chosen[count:], rejected[count:]
    if not before:
        raise InputError(
            "it has no prompt: neither a column with it, nor messages that its chosen and rejected answers share"
        )
    if before[-1]["role"] == ASSISTANT:
        raise InputError(
            "its prompt ends with an answer of the assistant, and not with a message before the two answers"
        )
    while rejected and rejected[-1]["role"] != ASSISTANT:
        rejected = rejected[:-1]
    if not rejected:
        raise InputError("its rejected answer has no message of the assistant")
    if chosen == rejected:
        raise InputError("its chosen and rejected answers are equal")
    return before, chosen, rejected


def _check(messages: Sequence[Mapping], rejected: Sequence[Mapping], given: frozenset[int], answers: list[int]) -> None:
    if given >= set(answers):
        raise InputError("none of its answers is to be learned: each has the weight 0")
    for index, message in enumerate([*messages, *rejected]):
        is_answer = message["role"] == ASSISTANT
        if is_answer and not message["content"].strip() and not message.get("tool_calls"):
            raise InputError(
                "its answer is empty" if len(answers) == 1 else f"message {index + 1}, an answer, is empty"
            )
    if all(not message["content"].strip() for message in messages if message["role"] != ASSISTANT):
        raise InputError("nothing is said before its answer")


def message_list(cell: Any) -> list[dict]:
    """Reads messages in one of the forms in which people keep them.

    Args:
        cell: object: a list of mappings with a role and a content, or its text as JSON or as Python writes it.

    Returns:
        list of dicts with "role" ("system", "user", "assistant" or "tool") and "content".

    Raises:
        InputError: it holds something else; the message is the rest of a sentence about it.
    """
    value = _listed(cell)
    return [_message(item, index) for index, item in enumerate(value)]


def _message(item: Any, index: int) -> dict:
    if isinstance(item, dict) and len(item) == 2:  # The usual case must be quick.
        role, content = item.get("role"), item.get("content")
        if isinstance(content, str) and isinstance(role, str) and role in _ROLES:
            return {"role": _ROLES[role], "content": content}
    where = f"message {index + 1}"
    if not isinstance(item, Mapping):
        raise InputError(f"{where} must be an object with a role and a content, and is {shown(item)}")
    role = next((item[name] for name in ("role", "from", "author", "speaker") if item.get(name) is not None), None)
    if role is None:
        raise InputError(f"{where} has no role")
    known = _ROLES.get(str(role).strip().lower())
    if known is None:
        raise InputError(f"{where} has the unknown role {shown(role)}: user, assistant, system and tool are known")
    content = next((item[name] for name in ("content", "value", "text", "message") if item.get(name) is not None), None)
    kept = {name: item[name] for name in _KEPT if item.get(name)}
    if calls := kept.get("tool_calls") or ([item["function_call"]] if item.get("function_call") else None):
        kept["tool_calls"] = _calls(calls, where)
    if content is None and not kept.get("tool_calls"):
        raise InputError(f"{where} has no content")
    message = {"role": known, "content": "" if content is None else _text(content, where), **kept}
    weight = item.get("weight", 1)
    return {**message, "weight": weight} if known == ASSISTANT and weight not in (1, None) else message


def _calls(value: Any, where: str) -> list[dict]:
    """Calls of functions as templates take them: {"type", "function": {"name", "arguments"}}, with the arguments as an object."""
    if not isinstance(value, list) or not all(isinstance(call, Mapping) for call in value):
        raise InputError(f"{where} must have a list of calls of functions, and has {shown(value)}")
    found = []
    for call in value:
        function = call.get("function", call)
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise InputError(f"{where} has a call of a function without a name")
        arguments = function.get("arguments")
        if isinstance(arguments, str):  # as the files of OpenAI have it
            try:
                arguments = json.loads(arguments or "{}")
            except ValueError:
                raise InputError(f"{where} has arguments of a function that are no JSON: {shown(arguments)}") from None
        others = {name: call[name] for name in ("id",) if call.get(name)}
        found.append({**others, "type": "function", "function": {"name": function["name"], "arguments": arguments}})
    return found


def _text(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(part, Mapping) for part in value):
        other = next((part.get("type") for part in value if part.get("type", "text") != "text"), None)
        if other is not None:
            raise InputError(f"{where} has a part of the type {shown(other)}, and only texts are read")
        return "".join(str(part.get("text") or "") for part in value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)  # CSV files and spreadsheets read "4" as a number.
    raise InputError(f"{where} must be a text, and is {shown(value)}")


def _listed(value: Any, *, strict: bool = True) -> Any:
    """A list, which tables that hold only texts write as JSON or as Python does."""
    if isinstance(value, str) and value.lstrip()[:2] in ("[{", "[]") or (strict and isinstance(value, str)):
        for read in (json.loads, ast.literal_eval):
            try:
                value = read(value)
                break
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
    if strict and not isinstance(value, list | tuple):
        raise InputError(f"a list of messages is expected, and it has {shown(value)}")
    return list(value) if isinstance(value, tuple) else value


def shown(value: Any) -> str:
    """A value in a message, cut.

    Args:
        value: object.

    Returns:
        str.
    """
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
