import json

import pytest

from kerastrain.errors import InputError
from kerastrain.report import explained_texts

RECORD = {
    "input": "a <b>fine</b> film",
    "label": "good & <new>",
    "probability": 0.75,
    "log_odds": 1.1,
    "words_at_once": 1,
    "words": [
        {"word": "a", "start": 0, "end": 1, "value": 0.0},
        {"word": "<b>fine</b>", "start": 2, "end": 13, "value": 1.25},
        {"word": "film", "start": 14, "end": 18, "value": -0.5},
    ],
}


def test_a_page_highlights_words_and_escapes_them(tmp_path):
    page = explained_texts.write(tmp_path / "new", [RECORD], title="run <1>").read_text()
    assert 'a <span class="for" style="--share: 1.0" title="+1.250">&lt;b&gt;fine&lt;/b&gt;</span> ' in page
    assert '<span class="against" style="--share: 0.4" title="-0.500">film</span></p>' in page
    assert "<b>good &amp; &lt;new&gt; 75.0%</b>" in page
    assert "<title>run &lt;1&gt; · explained texts</title>" in page
    assert "<b>fine" not in page
    assert explained_texts.read(tmp_path / "new") == [RECORD]


def test_both_texts_of_a_pair_are_shown_with_their_own_words():
    words = [
        {"word": "man", "start": 2, "end": 5, "value": 2.0, "of": "input"},
        {"word": "b", "start": 0, "end": 1, "value": 1.0, "of": "pair"},
    ]
    record = {"input": "a man", "pair": "b c", "label": "x", "number": 2.5, "words_at_once": 3, "words": words}
    shown = explained_texts.shown(record)
    assert (shown["answer"], shown["at_once"]) == ("2.5", 3)
    assert shown["texts"] == [
        [("a ", None, 0.0), ("man", 2.0, 1.0), ("", None, 0.0)],
        [("", None, 0.0), ("b", 1.0, 0.5), (" c", None, 0.0)],
    ]


def test_an_explanation_of_the_same_text_and_label_replaces_the_earlier_one():
    other = {**RECORD, "label": "bad"}
    newer = {**RECORD, "probability": 0.5}
    assert explained_texts.joined([newer], [RECORD, other]) == [newer, other]


def test_texts_with_line_separators_stay_one_line(tmp_path):
    record = {**RECORD, "input": "a\u2028b\nc\u0085", "words": []}
    explained_texts.write(tmp_path, [record, RECORD], title="run")
    assert len((tmp_path / "texts.jsonl").read_text().splitlines()) == 2
    assert explained_texts.read(tmp_path, most=1) == [record]


def test_a_broken_file_is_named_with_its_line(tmp_path):
    (tmp_path / "texts.jsonl").write_text(json.dumps(RECORD) + "\n{")
    with pytest.raises(InputError, match=r"line 2 of `.*texts\.jsonl` must be JSON\. Received: .*\. Remove the file\."):
        explained_texts.read(tmp_path)
    (tmp_path / "texts.jsonl").write_text("[]\n")
    with pytest.raises(InputError, match=r"line 1 of `.*` must have input, label, words, words_at_once\."):
        explained_texts.read(tmp_path)


def test_notes_say_how_values_were_found_and_how_far_they_can_be_trusted():
    occlusion = "a value is what the log-odds lose without the word; values do not add up"
    assert explained_texts.notes(RECORD) == [f"occlusion: {occlusion}"]
    complete = {"difference": 1.5, "total": 1.1, "steps": 256, "baseline": "zeros", "reached": False}
    deletion = {"words": 2, "whole": 0.75, "without": 0.25, "only": 0.9}
    newer = {**RECORD, "method": "integrated_gradients", "reason": "so", "completeness": complete, "deletion": deletion}
    assert explained_texts.notes(newer) == [
        "integrated gradients, because so: the values add up to +1.10, and not to +1.50, the log-odds of the text less those of "
        "one whose embeddings are zeros: take them as approximate (256 steps)",
        "without the 2 words that speak most for the answer 25.0%; with them alone 90.0%",
    ]
