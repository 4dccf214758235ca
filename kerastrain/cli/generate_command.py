"""The command that writes text with the language model of a run."""

import contextlib
import json
import sys
from typing import Annotated

import typer

from kerastrain.cli.program import RunFolder, app, start_tensorflow
from kerastrain.errors import InputError
from kerastrain.system.terminal import printable


@app.command()
def generate(
    run: RunFolder,
    prompts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PROMPT]...", help="What the user says, or a text to continue. - reads standard input."
        ),
    ] = None,
    chat: Annotated[bool, typer.Option("--chat", help="Hold a conversation on the terminal.")] = False,
    system: Annotated[str | None, typer.Option(help="Instructions for the whole conversation.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Continue the prompt itself, without the chat template.")] = False,
    max_tokens: Annotated[int, typer.Option(min=1, help="Most tokens to write.")] = 256,
    temperature: Annotated[
        float, typer.Option(min=0, help="0 takes the likeliest token; 1 draws as likely as the model says.")
    ] = 0.0,
    top_p: Annotated[float, typer.Option(help="Draws from the likeliest tokens of this probability.")] = 1.0,
    top_k: Annotated[int | None, typer.Option(min=1, help="Draws from so many of the likeliest tokens.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Decides what is drawn.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each prompt.")] = False,
) -> None:
    """Write text with the language model of a run.

    The answer to a prompt is written as it comes. With several prompts, each answer follows its prompt.
    """
    if chat and (prompts or as_json or raw):
        raise InputError("--chat asks on the terminal. Received: a prompt, --json or --raw. Give one of them.")
    texts = _texts(prompts or [])
    if not chat and not texts:
        raise InputError(
            'a prompt must be given, such as `kerastrain generate RUN "Hello"`, or --chat. Received: none.'
        )
    start_tensorflow(prints="results")
    from kerastrain.recipe import writing

    writer = writing.writer(run)
    if raw and system is not None:
        raise InputError("--raw continues a text, which has no system message. Received: --system. Remove one.")
    options = {"max_new_tokens": max_tokens, "temperature": temperature, "top_p": top_p, "top_k": top_k, "seed": seed}
    before = [] if system is None else [{"role": "system", "content": system}]
    is_chat = writer.tokens.template is not None and not raw
    if chat:
        _converse(writer, before, options)
        return
    for text in texts:
        prompt = [*before, {"role": "user", "content": text}] if is_chat else text
        if as_json:
            print(
                json.dumps({"prompt": text, "answer": writer.write(prompt, **options)}, ensure_ascii=False), flush=True
            )
            continue
        if len(texts) > 1:
            print(printable(f"> {text}"))
        _streamed(writer, prompt, options)


def _converse(writer, messages: list[dict], options: dict) -> None:
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            text = input("> ").strip()
            if not text:
                continue
            messages = [*messages, {"role": "user", "content": text}]
            messages.append({"role": "assistant", "content": _streamed(writer, messages, options)})
    print()


def _streamed(writer, prompt, options: dict) -> str:
    pieces = []
    for piece in writer.stream(prompt, **options):
        pieces.append(piece)
        print(printable(piece), end="", flush=True)
    print()
    return "".join(pieces)


def _texts(prompts: list[str]) -> list[str]:
    """The prompts, with what standard input holds in place of "-"."""
    return [sys.stdin.read().strip() if prompt == "-" else prompt for prompt in prompts]
