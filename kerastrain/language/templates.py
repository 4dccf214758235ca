"""Conversations as texts, by the chat template of a tokenizer, and the characters that the assistant writes.

Takes messages and `LanguageTokens`, returns texts and places in them. Templates are Jinja programs of other people: they run
in Jinja's sandbox, with what the library transformers gives them. Must not import TensorFlow.
"""

import dataclasses
import functools
import json
import os
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from kerastrain.errors import InputError
from kerastrain.tokenization import guarded_text
from kerastrain.tokenization.language_tokens import LanguageTokens

ASSISTANT = "assistant"
DATE = datetime(2024, 7, 26)
"""The date that templates write as today's, so that a resumed run reads the texts of the first; Llama 3's own default."""

_BEGIN, _END = "\ufdd0", "\ufdd1"  # Unicode reserves them for the inside of programs.
_MARK = re.compile(f"([{_BEGIN}{_END}])")
_SHOWN = 40  # characters
_SAMPLE = "An answer."
_SAMPLE_MESSAGES = ({"role": "user", "content": "?"}, {"role": ASSISTANT, "content": _SAMPLE})


def chosen(tokens: LanguageTokens, setting: str | None) -> LanguageTokens:
    """The tokenizer with the chat template of a setting.

    Args:
        tokens: LanguageTokens.
        setting: str, the path of a file with a template, or of a tokenizer_config.json, or the Jinja text itself; None for
            the tokenizer's own.

    Returns:
        LanguageTokens, whose template can be compiled.

    Raises:
        InputError: there is no template, or it has a fault.
    """
    if setting is None:
        if tokens.template is None:
            raise InputError(
                "the tokenizer has no chat template, which makes a text of a conversation: the model may be one that continues "
                "texts. Set data.chat_template to a file with the template of its chat model, or data.kind=language for texts."
            )
        template = tokens.template
    else:
        template = setting if re.search(r"\{[{%#]", setting) else _read(setting)
    _compiled(template)
    tokens = tokens.with_template(template)
    stop = tokens.specials.get(_end_of_answers(tokens))
    if stop is None or stop in tokens.stops:
        return tokens
    return dataclasses.replace(tokens, stops=(*tokens.stops, stop))


def rendered(
    messages: Sequence[Mapping[str, Any]],
    tokens: LanguageTokens,
    for_reply: bool = False,
    *,
    tools: Sequence[Mapping] | None = None,
) -> str:
    """The text of a conversation.

    Args:
        messages: sequence of mappings with "role" and "content".
        tokens: LanguageTokens with a template.
        for_reply: bool, whether the text ends with what stands before a reply of the assistant.
        tools: sequence of mappings, JSON schemas of functions that the assistant may call, or None.

    Returns:
        str, with the special tokens written out.

    Raises:
        InputError: the template does not take such a conversation; the message says why.
    """
    return _MARK.sub("", _text(messages, tokens, for_reply, tools))


def prompt(messages: Sequence[Mapping[str, Any]], tokens: LanguageTokens) -> list[int]:
    """The token ids of a conversation that waits for a reply. What people typed is never read as a control token.

    Args:
        messages: as for `rendered`.
        tokens: as for `rendered`.

    Returns:
        list of int.

    Raises:
        InputError: as for `rendered`, or the template leaves out a message of the system.
    """
    marked = [{**message, "content": guarded_text.guarded(message["content"], tokens)} for message in messages]
    text = rendered(marked, tokens, for_reply=True)
    _check_complete(text, [message for message in marked if message["role"] == "system"])
    return guarded_text.ids(text, tokens)


def answers(
    messages: Sequence[Mapping[str, Any]], tokens: LanguageTokens, *, tools: Sequence[Mapping] | None = None
) -> tuple[str, list[tuple[int, int]]]:
    """The text of a conversation, and the characters in it that the assistant writes.

    An answer begins after what stands before a reply, and ends after the token that ends a turn. A template with
    `{% generation %}` marks them itself.

    Args:
        messages: as for `rendered`.
        tokens: as for `rendered`.
        tools: as for `rendered`.

    Returns:
        (str, the text; list of (int, int), the first character of each answer and the one after its last).

    Raises:
        InputError: as for `rendered`, or the template does not continue a conversation as it begins one, so that answers
            cannot be found.
    """
    text, places = _unmarked(_text(messages, tokens, False, tools))
    _check_complete(text, messages)
    if marks_answers(tokens):
        return text, places
    for index, message in enumerate(messages):
        if message["role"] == ASSISTANT:
            begin = _begin(text, messages[:index], tokens, tools)
            end = _closed_end(text, begin, message, tokens)
            if end is None:
                end = _open_end(text, begin, rendered(messages[: index + 1], tokens, tools=tools), message, tokens)
            _check_calls(text[begin:end], message)
            places.append((begin, end))
    return text, places


def marks_answers(tokens: LanguageTokens) -> bool:
    """Whether a template marks the answers itself.

    Args:
        tokens: LanguageTokens with a template.

    Returns:
        bool.
    """
    return _compiled(tokens.template).marks


def notes(tokens: LanguageTokens) -> list[str]:
    """What is worth knowing of a template.

    Args:
        tokens: LanguageTokens with a template.

    Returns:
        list of str, without full stops.
    """
    said = []
    if "strftime_now" in tokens.template:
        said.append(
            f"the chat template writes today's date; it is always {DATE:%d %b %Y}, so that a resumed run reads the same"
        )
    if marks_answers(tokens):
        said.append("the chat template marks what the assistant writes by {% generation %}")
    if header := _header_of_answers(tokens):
        said.append(
            f"the chat template writes {header!r} before an answer, and not where a reply begins, so that it is learned as a "
            "part of the answer"
        )
    if _end_of_answers(tokens) == "":
        said.append(
            "the chat template writes no special token after an answer, so that the model does not learn to end one"
        )
    return said


def _end_of_answers(tokens: LanguageTokens) -> str | None:
    """The special token that a template writes after an answer; "" if it writes none, None if it rejects a short conversation."""
    try:
        _, found, rest = rendered(_SAMPLE_MESSAGES, tokens).rpartition(_SAMPLE)
    except InputError:
        return None
    rest = rest.lstrip()
    return max((token for token in tokens.specials if rest.startswith(token)), key=len, default="") if found else None


def _header_of_answers(tokens: LanguageTokens) -> str:
    """What a template writes between the beginning of a reply and an answer; "" for a template with a usual beginning."""
    try:
        start, text = rendered(_SAMPLE_MESSAGES[:1], tokens, True), rendered(_SAMPLE_MESSAGES, tokens)
    except InputError:
        return ""
    return text[len(start) :].partition(_SAMPLE)[0].strip() if text.startswith(start) else ""


class _Generation(jinja2.ext.Extension):
    """The tag `{% generation %}` of transformers, around what the assistant writes."""

    tags = {"generation"}  # noqa: RUF012 (Jinja's interface)

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_marked"), [], [], body).set_lineno(line)

    def _marked(self, caller) -> str:
        return f"{_BEGIN}{caller()}{_END}"


class _Compiled:
    """A compiled template."""

    def __init__(self, template: str):
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
        )
        environment.filters["tojson"] = _tojson
        environment.globals.update(raise_exception=_raise, strftime_now=DATE.strftime)
        self.template = environment.from_string(template)
        self.marks = re.search(r"\{%-?\+?\s*generation\s*[-+]?%\}", template) is not None


@functools.lru_cache(8)
def _compiled(template: str) -> _Compiled:
    try:
        return _Compiled(template)
    except jinja2.TemplateSyntaxError as error:
        raise InputError(
            f"the chat template has a fault in line {error.lineno}: {str(error.message).rstrip('.')}."
        ) from None


def _text(messages: Sequence, tokens: LanguageTokens, for_reply: bool, tools: Sequence | None) -> str:
    # Libraries write absent fields as null, which templates would print.
    messages = [{key: value for key, value in message.items() if value is not None} for message in messages]
    try:
        return _compiled(tokens.template).template.render(
            messages=messages, tools=tools, documents=None, add_generation_prompt=for_reply, **tokens.names
        )
    except Exception as error:  # A template is a program, which fails in any way.
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise InputError(f"the chat template does not take it: {reason}") from None


def _unmarked(text: str) -> tuple[str, list[tuple[int, int]]]:
    """A text without the marks of answers, and where they were."""
    whole, places, begin = "", [], 0
    for piece in _MARK.split(text):
        if piece == _BEGIN:
            begin = len(whole)
        elif piece == _END:
            places.append((begin, len(whole)))
        else:
            whole += piece
    return whole, [(begin, end) for begin, end in places if begin < end]


def _check_complete(text: str, messages: Sequence[Mapping[str, Any]]) -> None:
    """Raises an error if a template leaves out a message, as those without a system role or calls of functions do."""
    for message in messages:
        content = _content(message)
        if content not in text and json.dumps(content, ensure_ascii=False)[1:-1] not in text:
            raise InputError(f"the chat template leaves out or changes a message of the role {message['role']!r}")
        _check_calls(text, message)


def _check_calls(text: str, message: Mapping[str, Any]) -> None:
    for call in message.get("tool_calls") or ():
        name = (call.get("function") or call).get("name")
        if not name or name not in text:
            raise InputError("the chat template leaves out calls of functions")


def _content(message: Mapping[str, Any]) -> str:
    """The words of a message that every template keeps: without spaces around, and thoughts, which templates drop."""
    return str(message.get("content") or "").rpartition("</think>")[2].strip()


def _begin(text: str, before: Sequence[Mapping[str, Any]], tokens: LanguageTokens, tools: Sequence | None) -> int:
    """Where an answer begins: after what stands before a reply to the messages `before` it."""
    try:
        prompt = rendered(before, tokens, True, tools=tools)
    except InputError:
        if before:
            raise
        raise InputError("the assistant speaks first, which the chat template does not foresee") from None
    if not text.startswith(prompt):
        if not before:
            raise InputError("the assistant speaks first, which the chat template does not foresee")
        shared = len(os.path.commonprefix((text, prompt)))
        ours, theirs = (value[shared : shared + _SHOWN] for value in (text, prompt))
        raise InputError(f"the chat template writes {theirs!r} before a reply, where the conversation has {ours!r}")
    return len(prompt)


def _closed_end(text: str, begin: int, message: Mapping[str, Any], tokens: LanguageTokens) -> int | None:
    """The end of an answer with the token that ends its turn; None if the template writes none."""
    content, calls = _content(message), message.get("tool_calls")
    for match in _stop_pattern(tokens.stop_texts).finditer(text, begin):
        written = text[begin : match.start()].rstrip()
        if written.endswith(content) or (calls and content in written):
            return match.end()
    return None


def _open_end(text: str, begin: int, upto: str, message: Mapping[str, Any], tokens: LanguageTokens) -> int:
    """The end of an answer without such a token: that of its content, or of a special token that follows at once."""
    limit = max(begin, len(os.path.commonprefix((text, upto))))
    start = text.rfind(content := _content(message), begin, limit)
    if start < 0:
        raise InputError("the chat template changes an answer, and writes no token at its end")
    rest = text[start + len(content) :].lstrip()
    special = max((token for token in tokens.specials if rest.startswith(token)), key=len, default="")
    return len(text) - len(rest) + len(special) if special else start + len(content)


@functools.lru_cache(8)
def _stop_pattern(texts: tuple[str, ...]) -> re.Pattern:
    return re.compile("|".join(map(re.escape, texts)) or r"(?!)")


def _read(setting: str) -> str:
    path = Path(setting).expanduser()
    if not path.is_file():
        raise InputError(
            f"`data.chat_template` must be a file with a chat template, or its Jinja text. Received: {setting!r}, which is no "
            "file."
        )
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    if path.suffix == ".json":
        try:
            text = json.loads(text).get("chat_template")
        except (ValueError, AttributeError):
            text = None
        if not isinstance(text, str):
            raise InputError(
                f"`data.chat_template`: {setting!r} holds no chat_template. Give a file with the Jinja text."
            )
    return text


def _tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False) -> str:
    """Unlike Jinja's filter, it does not escape the characters of HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str):
    raise jinja2.TemplateError(message)
