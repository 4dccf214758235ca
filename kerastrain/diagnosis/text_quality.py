"""Texts that are unlike the others of their set: another language, boilerplate, nearly nothing.

Takes texts, returns the indices with a score and a sentence. A text is accused only if it stands out from its set: a set in
two languages, or of single words, accuses none.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache

import numpy as np

from kerastrain.diagnosis.data_findings import Finding
from kerastrain.diagnosis.function_words import FUNCTION_WORDS
from kerastrain.diagnosis.outliers import STANDS_OUT, below

_WORD = re.compile(r"[^\W\d_]+")
_JOINED_SCRIPTS = {"HIRAGANA": "CJK", "KATAKANA": "CJK", "FULLWIDTH": "LATIN"}
_COMMON_FRACTION = 0.05  # A script or language of so many texts belongs to the set.
_FEWEST_WORDS, _MOST_OWN_FRACTION = 3, 0.25
_PHRASE_WORDS, _FEWEST_TEXTS, _PHRASE_FRACTION, _COVERED, _MOST_FRACTION = 8, 5, 0.005, 0.5, 0.2
_LEAST_SPREAD = 0.2  # of the logarithm of the number of words
_SHOWN = 60


def text_quality(texts: Sequence[str]) -> list[Finding]:
    """Finds texts that stand out from their set.

    | kind | what |
    |---|---|
    | empty | no letter and no digit |
    | short | one word, where the median text has at least 8 and this stands out |
    | other_language | most letters are of a script that fewer than 5 % of the texts use; or at least 3 function words of a \
language of fewer than 5 % of the texts, and at most a quarter as many of the usual ones |
    | boilerplate | at least half of the words are in sequences of 8 words that many texts share, unless a fifth of all \
texts do |

    Args:
        texts: sequence of n str.

    Returns:
        list of Finding, the worst first within a kind.
    """
    words = [_WORD.findall(text.casefold()) for text in texts]
    empty = [index for index, text in enumerate(texts) if not any(map(str.isalnum, text))]
    findings = [Finding(index, "empty", 1.0, "no letter and no digit") for index in empty]
    findings += _short(texts, set(empty))
    by_script = _other_scripts(texts)
    findings += by_script
    accused = {finding.index for finding in by_script}
    findings += [finding for finding in _other_languages(words) if finding.index not in accused]
    return findings + _boilerplate(words)


def _short(texts: Sequence[str], empty: set[int]) -> list[Finding]:
    counts = np.array([len(text.split()) for text in texts])
    if not len(counts) or np.median(counts) < 8:
        return []
    scores = below(np.log1p(counts), least_spread=_LEAST_SPREAD)
    rows = [row for row in np.flatnonzero((counts < 2) & (scores > STANDS_OUT)).tolist() if row not in empty]
    reason = f"one word, where the median text has {np.median(counts):.0f}"
    return [Finding(row, "short", float(scores[row]), reason) for row in rows]


def _other_scripts(texts: Sequence[str]) -> list[Finding]:
    counts = [Counter(filter(None, map(_script, text))) for text in texts]
    main = [count.most_common(1)[0][0] if count else None for count in counts]
    known = sum(name is not None for name in main)
    used = Counter(filter(None, main))
    rare = {name for name, count in used.items() if count < _COMMON_FRACTION * known}
    usual = " and ".join(name.capitalize() for name, _ in used.most_common(2) if name not in rare)
    findings = [
        Finding(
            row,
            "other_language",
            counts[row][name] / counts[row].total(),
            f"{counts[row][name] / counts[row].total():.0%} of its letters are {name.capitalize()}, those of most texts {usual}",
        )
        for row, name in enumerate(main)
        if name in rare
    ]
    return sorted(findings, key=lambda finding: -finding.score)


@cache
def _script(character: str) -> str | None:
    if not character.isalpha():
        return None
    name = unicodedata.name(character, "").partition(" ")[0].partition("-")[0]
    return _JOINED_SCRIPTS.get(name, name) or None


def _other_languages(words: Sequence[Sequence[str]]) -> list[Finding]:
    hits = np.array(
        [[sum(word in known for word in text) for known in FUNCTION_WORDS.values()] for text in words], np.int64
    ).reshape(len(words), len(FUNCTION_WORDS))
    names = list(FUNCTION_WORDS)
    recognized = hits.max(axis=1) >= _FEWEST_WORDS
    if not recognized.any():
        return []
    best = hits.argmax(axis=1)
    counts = np.bincount(best[recognized], minlength=len(names))
    usual = counts >= _COMMON_FRACTION * recognized.sum()
    own = hits[:, usual].max(axis=1)
    findings = []
    for row in np.flatnonzero(recognized & ~usual[best] & (own <= _MOST_OWN_FRACTION * hits.max(axis=1))).tolist():
        known = FUNCTION_WORDS[names[best[row]]]
        shown = ", ".join(list(dict.fromkeys(word for word in words[row] if word in known))[:4])
        usually = names[int(counts.argmax())]
        reason = f"its function words are {names[best[row]]} ({shown}), those of most texts {usually}"
        findings.append(Finding(row, "other_language", float(hits[row].max()), reason))
    return sorted(findings, key=lambda finding: -finding.score)


def _boilerplate(words: Sequence[Sequence[str]]) -> list[Finding]:
    phrases = [[hash(tuple(text[start : start + _PHRASE_WORDS])) for start in _starts(text)] for text in words]
    distinct = [np.unique(np.array(own, np.int64)) for own in phrases]
    values, counts = np.unique(np.concatenate([*distinct, np.zeros(0, np.int64)]), return_counts=True)
    common = counts >= max(_FEWEST_TEXTS, _PHRASE_FRACTION * len(words))
    texts_with = dict(zip(values[common].tolist(), counts[common].tolist(), strict=True))
    findings = []
    for row, (text, own) in enumerate(zip(words, phrases, strict=True)):
        shared = [start for start, phrase in enumerate(own) if phrase in texts_with]
        if not shared:
            continue
        covered = np.zeros(len(text), bool)
        for start in shared:
            covered[start : start + _PHRASE_WORDS] = True
        if covered.mean() >= _COVERED:
            shown = " ".join(text[shared[0] : shared[0] + _PHRASE_WORDS])[:_SHOWN]
            count = texts_with[own[shared[0]]]
            reason = f"{covered.mean():.0%} of its words are in phrases that {count:,} texts share, such as '{shown}'"
            findings.append(Finding(row, "boilerplate", float(covered.mean()), reason))
    if len(findings) > _MOST_FRACTION * len(words):
        return []  # Such texts are what the set consists of.
    return sorted(findings, key=lambda finding: -finding.score)


def _starts(text: Sequence[str]) -> range:
    return range(len(text) - _PHRASE_WORDS + 1)
