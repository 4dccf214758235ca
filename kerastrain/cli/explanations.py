"""Prints which words of a text speak for and against a class.

Takes `explaining.ExplainedText`. Must not compute anything.
"""

from rich.style import Style
from rich.text import Text

from kerastrain import report
from kerastrain.cli.program import console, plain
from kerastrain.system.terminal import printable

_LONGEST_SHOWN = 200  # characters of a text
_MOST_WORDS = 12  # for and against
_SMALLEST_SHOWN = 0.005  # which would be 0.00
_SMALLEST_COLOURED = 0.1  # of the largest value
_COLOURS = {"for": (31, 95, 191), "against": (217, 119, 54)}  # those of the page


def print_explanation(explained) -> None:
    """Prints a text with its answer, the words with the largest values for and against it, and how they were found.

    On a terminal with colours, words for the answer are on blue, and words against it underlined on orange.
    """
    record = explained.record
    shown = report.explained_texts.shown(record)
    row = f"{shown['row']}: " if shown["row"] else ""
    note = f" ({shown['at_once']} adjacent words have one value)" if shown["at_once"] > 1 else ""
    console.print(
        Text(printable(f"{row}{shown['label']} {shown['answer']}: ")) + _coloured(shown["texts"]) + Text(note)
    )
    words = sorted(explained.explanation.words, key=lambda word: -abs(word.value))
    _print_words("for", [word for word in words if word.value >= _SMALLEST_SHOWN])
    _print_words("against", [word for word in words if word.value <= -_SMALLEST_SHOWN])
    for sentence in report.explained_texts.notes(record):
        console.print(plain(f"  {sentence}"))


def _coloured(texts: list) -> Text:
    result = Text()
    segments = [segment for text in texts for segment in ((" | ", None, 0.0), *text)][1:]
    for part, value, share in segments:
        room = _LONGEST_SHOWN - len(result)
        style = Style() if value is None or share < _SMALLEST_COLOURED else _style(value, share)
        result.append(printable(part[:room]), style)
        if len(part) > room:
            return result.append("…")
    return result


def _style(value: float, share: float) -> Style:
    kind = "for" if value > 0 else "against"
    # Mixed with white, so that black letters can be read on every terminal.
    red, green, blue = (round(255 + (channel - 255) * 0.75 * share) for channel in _COLOURS[kind])
    return Style.parse(f"black on rgb({red},{green},{blue})" + (" underline" if kind == "against" else ""))


def _print_words(name: str, words: list) -> None:
    shown = ", ".join(f"{' '.join(word.text.split())} {word.value:+.2f}" for word in words[:_MOST_WORDS])
    more = f", and {len(words) - _MOST_WORDS:,} more" if len(words) > _MOST_WORDS else ""
    console.print(plain(f"  {name:8}{shown or '-'}{more}"))
