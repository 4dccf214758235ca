"""The command that writes text with the language model of a run."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from kerastrain.cli.conversation import converse, show
from kerastrain.cli.program import app, start_tensorflow
from kerastrain.errors import InputError
from kerastrain.system.terminal import printable


@app.command()
def generate(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="Folder of a finished run, or a pretrained model: a folder of Hugging Face, hf:OWNER/NAME.",
        ),
    ],
    prompts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PROMPT]...", help="What the user says, or a text to continue. - reads standard input."
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(help="Prompts of a file: a table with a column prompt or messages, or a prompt per line."),
    ] = None,
    chat: Annotated[bool, typer.Option("--chat", help="Hold a conversation on the terminal.")] = False,
    system: Annotated[str | None, typer.Option(help="Instructions for the whole conversation.")] = None,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw",
            help="Continue the prompt itself, without the chat template. Special tokens in it are read as such.",
        ),
    ] = False,
    max_tokens: Annotated[int, typer.Option(min=1, help="Most tokens to write.")] = 256,
    temperature: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="0 takes the likeliest token, 1 draws as likely as the model says. Default: 0, or 1 with --top-p or --top-k.",
            show_default=False,
        ),
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Draw from the fewest likeliest tokens that have this probability together.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(min=1, help="Draw from so many of the likeliest tokens.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Decides what is drawn.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each prompt.")] = False,
) -> None:
    """Write text with a language model.

    A model that learned from conversations answers each prompt; one that learned from texts continues it. The text is printed
    as it is written; with several prompts, each is printed before its answer. Without a prompt, standard input is one.

    With --chat, Ctrl-C stops an answer, and Ctrl-D ends the conversation.
    """
    if chat and (prompts or as_json or raw or file):
        raise InputError("--chat asks on the terminal. Received: a prompt, --file, --json or --raw. Give one of them.")
    if raw and system is not None:
        raise InputError("--raw continues a text, which has no system message. Received: --system. Remove one.")
    options = {"max_new_tokens": max_tokens, **_sampling(temperature, top_p, top_k), "seed": seed}
    texts = [] if chat else _texts(prompts, file)
    start_tensorflow(prints="results")
    from kerastrain import recipe
    from kerastrain.language import prompts as files

    writer = recipe.writer(model)
    is_chat = (chat or writer.is_chat) and not raw
    if system is not None and not is_chat:
        raise InputError("--system is for models that answer. Received: a model that continues texts. Remove it.")
    if chat:
        if writer.tokens.template is None:
            raise InputError(
                "--chat needs a model with a chat template. Received: one that continues texts. Give a prompt."
            )
        converse(writer, system, options)
        return
    asked = [files.conversation(text, system) if is_chat else text for text in texts]
    if file is not None:
        asked += [_with_system(prompt, system) for prompt in files.read(file, is_chat=is_chat)]
    for prompt in asked:
        writer.check(prompt)  # so that a fault in the last one shows before the first is answered
    for prompt in asked:
        answer = writer.stream(prompt, **options)
        if as_json:
            text = "".join(answer)
            record = {
                "prompt": _plain(prompt, system),
                "answer": text,
                "tokens": len(answer.ids),
                "ended": answer.is_ended,
            }
            print(json.dumps(record, ensure_ascii=False), flush=True)
            continue
        if len(asked) > 1:
            print(printable(f"> {_last(prompt)}"))
        show(answer, max_tokens)


def _sampling(temperature: float | None, top_p: float | None, top_k: int | None) -> dict:
    """The options that decide which token is taken, checked before TensorFlow starts."""
    if temperature is None:
        temperature = 0.0 if top_p is None and top_k is None else 1.0
    if not math.isfinite(temperature):
        raise InputError(f"--temperature must be a number of at least 0. Received: {temperature}.")
    if top_p is not None and not 0 < top_p <= 1:
        raise InputError(f"--top-p must lie in (0, 1]. Received: {top_p:g}.")
    if temperature == 0 and (top_p is not None or top_k is not None):
        name = "--top-k" if top_p is None else "--top-p"
        raise InputError(f"--temperature 0 takes the likeliest token. Received: {name} too, which draws. Remove one.")
    return {"temperature": temperature, "top_p": top_p, "top_k": top_k}


def _texts(prompts: Sequence[str] | None, file: Path | None) -> list[str]:
    """The prompts, with what standard input holds in place of "-"; it is the prompt where there is no other."""
    if not prompts and file is None and not sys.stdin.isatty():
        prompts = ["-"]
    if not prompts and file is None:
        raise InputError(
            'a prompt must be given, such as `kerastrain generate RUN "Hello"`, or --chat. Received: none.'
        )
    if file is not None and not file.is_file():
        raise FileNotFoundError(f"no file of prompts at '{file}': the path does not exist.")
    texts, read = [], None
    for prompt in prompts or ():
        if prompt == "-":
            read = _standard_input() if read is None else read
        text = read if prompt == "-" else prompt
        if not text.strip():
            source = "standard input" if prompt == "-" else "an empty prompt"
            raise InputError(
                f"a prompt must have at least one word. Received: {source}{' without one' * (prompt == '-')}."
            )
        texts.append(text)
    return texts


def _standard_input() -> str:
    from kerastrain.data.sources import text_encoding

    text, _ = text_encoding.decoded(sys.stdin.buffer.read(), Path("standard input"))
    return text.replace("\r\n", "\n").removesuffix("\n")


def _with_system(prompt: str | Sequence[Mapping], system: str | None) -> str | Sequence[Mapping]:
    if system is None or isinstance(prompt, str) or prompt[0]["role"] == "system":
        return prompt
    return [{"role": "system", "content": system}, *prompt]


def _last(prompt: str | Sequence[Mapping]) -> str:
    return prompt if isinstance(prompt, str) else prompt[-1]["content"]


def _plain(prompt: str | Sequence[Mapping], system: str | None) -> str | Sequence[Mapping]:
    """A prompt as it was given: the text, or the messages if there are several."""
    is_single = not isinstance(prompt, str) and len(prompt) == 1 + (system is not None)
    return _last(prompt) if is_single else prompt
