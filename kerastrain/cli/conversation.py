"""A conversation with a language model on the terminal.

Takes a `Writer`; reads standard input and prints. Must not import TensorFlow.
"""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator

from kerastrain.errors import InputError, counted
from kerastrain.system.terminal import printable, readable


def converse(writer, system: str | None, options: dict) -> None:
    """Answers each line of standard input until its end.

    Ctrl-C stops an answer, of which the conversation keeps what there is. The oldest messages of a conversation that is too long
    for the model are left out, which is said.

    Args:
        writer: language.writer.Writer with a chat template.
        system: str, instructions for the whole conversation, or None.
        options: dict, the options of `Writer.write`.

    Raises:
        InputError: the chat template does not accept a system message.
    """
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401, with which `input` edits a line and remembers earlier ones
    sys.stdin.reconfigure(errors="surrogateescape")  # so that bytes that are not UTF-8 are refused in a sentence
    messages = [] if system is None else [{"role": "system", "content": system}]
    if system is not None:
        writer.ids([*messages, {"role": "user", "content": "?"}])
    _say("Ctrl-C stops an answer, Ctrl-D ends the conversation.")
    while True:
        try:
            text = input("> ")
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if text.strip():
            messages = _answered(writer, [*messages, {"role": "user", "content": text}], options)


def _answered(writer, messages: list[dict], options: dict) -> list[dict]:
    """Answers the last message, and returns the conversation with the answer, or without the message if there is none."""
    try:
        kept = writer.fitting(messages, max_new_tokens=options["max_new_tokens"])
        answer = writer.stream(kept, **options)
    except InputError as error:
        _say(f"kerastrain: {error}")
        return messages[:-1]
    if left_out := len(messages) - len(kept):
        places = counted(writer.positions, "tokens")
        _say(
            f"the conversation is longer than {places}: its oldest {counted(left_out, 'messages')} are left out from now on"
        )
    with _noting_interrupts() as is_stopped:
        show(answer, options["max_new_tokens"], is_stopped=is_stopped)
    return [*kept, {"role": "assistant", "content": answer.text}] if answer.text.strip() else kept[:-1]


def show(answer, max_tokens: int, *, is_stopped: Callable[[], bool] = bool) -> None:
    """Prints a text while it is written; on a terminal without characters that control it.

    Args:
        answer: language.writer.Answer.
        max_tokens: int >= 1, the most tokens that were asked for.
        is_stopped: callable that returns True once somebody has stopped it.
    """
    is_terminal = sys.stdout.isatty()
    sys.stdout.reconfigure(errors="backslashreplace")
    for piece in answer:
        print(readable(piece) if is_terminal else piece, end="", flush=True)
        if is_stopped():
            break
    print(flush=True)
    if not answer.is_ended and not is_stopped():
        is_full = len(answer.ids) < max_tokens
        reason = "because the model was made for no more" if is_full else "the most that --max-tokens allows"
        _say(f"the text is not finished: it stopped after {counted(len(answer.ids), 'tokens')}, {reason}")


@contextlib.contextmanager
def _noting_interrupts() -> Iterator[Callable[[], bool]]:
    """Notes Ctrl-C instead of raising an error, which gets lost where libraries clean up; the second one raises it."""
    pressed = threading.Event()

    def note(number, frame):
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    before = signal.signal(signal.SIGINT, note)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _say(text: str) -> None:
    print(printable(text), file=sys.stderr, flush=True)
