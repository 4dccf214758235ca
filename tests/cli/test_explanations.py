"""How an explained text looks on a terminal, without colours, and in a pipe."""

import io

import pytest
from rich.console import Console

from kerastrain.cli import explanations
from kerastrain.explain import Completeness, Deletion, TextExplanation, WordValue
from kerastrain.recipe.explaining import ExplainedText

WORDS = (WordValue("fine\x1b[2J", 2, 10, 2.0), WordValue("dull", 11, 15, -1.0), WordValue("film", 16, 20, 0.01))
EXPLAINED = ExplainedText(
    TextExplanation(
        "a fine\x1b[2J dull film [bold]",
        1,
        1.5,
        WORDS,
        1,
        "integrated_gradients",
        Completeness(1.01, 1.01, 8, "zeros", True),
    ),
    "good",
    0.75,
    False,
    Deletion(1, 0.75, 0.2, 0.9),
)
PLAIN = [
    r"good 75.0%: a fine\x1b[2J dull film [bold]",
    r"  for     fine\x1b[2J +2.00, film +0.01",
    "  against dull -1.00",
    "  integrated gradients: the values add up to +1.01: the log-odds of the text less those of one whose embeddings are zeros "
    "(8 steps)",
    "  without the word that speaks most for the answer 20.0%; with it alone 90.0%",
]


@pytest.fixture
def printed(monkeypatch):
    def call(**options):
        file = io.StringIO()
        monkeypatch.setattr(explanations, "console", Console(file=file, soft_wrap=True, highlight=False, **options))
        explanations.print_explanation(EXPLAINED)
        return file.getvalue()

    return call


def test_words_are_coloured_only_on_a_terminal_with_colours(printed, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert printed().splitlines() == PLAIN
    coloured = printed(force_terminal=True, color_system="truecolor")
    assert "\x1b[30;48;2;87;135;207mfine\\x1b[2J\x1b[0m" in coloured
    assert "\x1b[4;30;48;2;241;204;180mdull\x1b[0m" in coloured  # underlined, too
    assert " film [bold]" in coloured  # Its value is too small for a colour.
    assert "48;" not in printed(force_terminal=True, color_system="truecolor", no_color=True)


def test_long_texts_are_cut(printed, monkeypatch):
    monkeypatch.setattr(explanations, "_LONGEST_SHOWN", 6)
    assert printed().splitlines()[0] == "good 75.0%: a fine…"
