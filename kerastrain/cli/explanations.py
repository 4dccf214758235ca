"""Prints which words of a text speak for and against a class.

Takes `explaining.ExplainedText`. Must not compute anything.
"""

from kerastrain.cli.program import console, plain
from kerastrain.data.sources import text_pairs

_LONGEST_SHOWN = 200  # characters of a text
_MOST_WORDS = 12  # for and against
_SMALLEST_SHOWN = 0.005  # which would be 0.00


def print_explanation(explained) -> None:
    """Prints a text with its answer, and the words with the largest values for and against it."""
    text = text_pairs.shown(explained.explanation.text)
    text = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
    answer = f"{explained.answer:.4g}" if explained.is_number else f"{explained.answer:.1%}"
    row = f"{explained.row}: " if explained.row else ""
    at_once = explained.explanation.words_at_once
    note = f" ({at_once} adjacent words have one value)" if at_once > 1 else ""
    console.print(plain(f"{row}{explained.label} {answer}: {text}{note}"))
    words = sorted(explained.explanation.words, key=lambda word: -abs(word.value))
    _print_words("for", [word for word in words if word.value >= _SMALLEST_SHOWN])
    _print_words("against", [word for word in words if word.value <= -_SMALLEST_SHOWN])


def _print_words(name: str, words: list) -> None:
    shown = ", ".join(f"{' '.join(word.text.split())} {word.value:+.2f}" for word in words[:_MOST_WORDS])
    more = f", and {len(words) - _MOST_WORDS:,} more" if len(words) > _MOST_WORDS else ""
    console.print(plain(f"  {name:8}{shown or '-'}{more}"))
