"""The files of a data check in the folder of a run: `findings.json`, `proposals.csv`, `label_scores.csv` and thumbnails.

Takes a `DataCheck`, writes files. Must not look for faults.
"""

import shlex
from collections import Counter
from pathlib import Path

import numpy as np

from kerastrain import report
from kerastrain.data import exclusions
from kerastrain.data.sources.text_pairs import shown
from kerastrain.diagnosis.copies import RULE
from kerastrain.diagnosis.data_findings import KINDS, Finding
from kerastrain.recipe.data_checking import DataCheck, digests
from kerastrain.recipe.thumbnails import thumbnail
from kerastrain.system import files
from kerastrain.system.terminal import printable

FOLDER, TABLE = "data_check", "proposals.csv"
MOST_EXAMPLES = 12
"""The largest number of examples of a kind in `findings.json`, with a thumbnail each."""

_MOST_CHARACTERS, _MOST_OF_A_KEY = 300, 200
_SCORE_COLUMNS = ("score", "part", "input", "given_label", "proposed_label")


def require_free(directory: Path, *, replace: bool) -> None:
    """Checks that no earlier findings are lost, whose table may have been edited.

    Args:
        directory: Path of the run.
        replace: bool, whether they may be replaced.

    Raises:
        FileExistsError: there are some, and `replace` is False.
    """
    if (directory / FOLDER).exists() and not replace:
        raise FileExistsError(
            f"'{directory / FOLDER}' holds the findings of an earlier check, and is not overwritten. Use --replace; a run with "
            "data.exclude may need its table."
        )


def write_data_check(found: DataCheck, *, replace: bool = False) -> Path:
    """Writes the findings into the folder `data_check` of the run, all of them or none, and the report again.

    Args:
        found: DataCheck.
        replace: bool, whether the findings of an earlier check may be replaced.

    Returns:
        Path of the table of proposals.

    Raises:
        FileExistsError: there are some, and `replace` is False.
        WriteError: the folder cannot be written to.
    """
    require_free(found.directory, replace=replace)
    with files.atomic(found.directory / FOLDER) as folder:
        folder.mkdir()
        files.write_json(folder / "findings.json", _Writer(found, folder).record())
        exclusions.write(_proposals(found), folder / TABLE)
        exclusions.write(_scores(found), folder / "label_scores.csv", _SCORE_COLUMNS)
    report.write(found.directory)
    return found.directory / FOLDER / TABLE


def by_kind(findings: list[Finding]) -> dict[str, list[Finding]]:
    """Groups findings.

    Args:
        findings: list of Finding.

    Returns:
        dict from each kind that occurs, in the order of `KINDS`, to its findings.
    """
    return {kind: own for kind in KINDS if (own := [finding for finding in findings if finding.kind == kind])}


def name(found: DataCheck, index: int) -> str:
    """The name of an example for people: its path, the start of its text, or its number.

    Args:
        found: DataCheck.
        index: int.

    Returns:
        str of one line.
    """
    part, row = found.place(index)
    if part.keys is None and part.dtype != object:
        return f"example {row + 1} of {found.parts[index]}"
    line = " ".join(found.key(index).split()) if part.dtype != object else " ".join(shown(part.inputs[row]).split())
    return line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]}…"


class _Writer:
    """Makes the record of `findings.json`, and the thumbnails that it names."""

    def __init__(self, found: DataCheck, folder: Path):
        self._found, self._folder, self._thumbnails = found, folder, {}

    def record(self) -> dict:
        """The content of `findings.json`."""
        found = self._found
        actions = Counter(finding.action for finding in found.findings)
        return {
            "examples": found.split.sizes,
            "findings": [self._kind(kind, own) for kind, own in by_kind(found.findings).items()],
            "checked": list(found.checked),
            "labels_by": f"{found.labels_by}; {found.labels.sentence}",
            "features_by": found.features_by,
            "label_error_fraction": found.labels.error_fraction,
            "rule": RULE,
            "proposals": {action: actions[action] for action in exclusions.ACTIONS},
            "command": shlex.join(
                [
                    *("kerastrain", "train", str(found.directory / "config.yaml")),
                    f"data.exclude={found.directory / FOLDER / TABLE}",
                ]
            ),
        }

    def _kind(self, kind: str, findings: list[Finding]) -> dict:
        parts = Counter(self._found.parts[finding.index] for finding in findings)
        return {
            "kind": kind,
            "sentence": KINDS[kind],
            "count": len(findings),
            "parts": dict(parts),
            "exclude": sum(finding.action == "exclude" for finding in findings),
            "examples": [self._example(finding) for finding in findings[:MOST_EXAMPLES]],
        }

    def _example(self, finding: Finding) -> dict:
        found, index = self._found, finding.index
        record = {"key": found.key(index)[:_MOST_CHARACTERS], "part": found.parts[index], "label": found.label(index)}
        record |= {"score": round(finding.score, 6), "reason": finding.reason, "action": finding.action}
        if finding.proposed is not None:
            record["proposed"] = found.split.labels[finding.proposed]
        record |= self._shown(index, "")
        if (other := finding.copy_of) is not None:
            record |= {"other": found.key(other)[:_MOST_CHARACTERS], "other_part": found.parts[other]}
            record |= {"other_label": found.label(other), **self._shown(other, "other_")}
        return record

    def _shown(self, index: int, prefix: str) -> dict[str, str]:
        part, row = self._found.place(index)
        if part.dtype == object:
            return {f"{prefix}text": shown(part.inputs[row])[:_MOST_CHARACTERS]}
        if part.image_size is None:
            return {}
        if index not in self._thumbnails:
            self._thumbnails[index] = f"thumbnails/{len(self._thumbnails) + 1}.jpg"
            files.write_bytes(self._folder / self._thumbnails[index], thumbnail(part.image(row)))
        return {f"{prefix}picture": f"{FOLDER}/{self._thumbnails[index]}"}


def _proposals(found: DataCheck) -> list[dict]:
    ordered = [finding for findings in by_kind(found.findings).values() for finding in findings]
    digest_of = digests(found, sorted({finding.index for finding in ordered}))
    rows, relabelled = _earlier(found.config.data.exclude)
    for finding in ordered:
        index, copy_of = finding.index, finding.copy_of
        row = {"action": finding.action, "kind": finding.kind, "part": found.parts[index], "input": name(found, index)}
        row |= {"given_label": found.label(index), "score": finding.score, "reason": finding.reason}
        row["proposed_label"] = None if finding.proposed is None else found.split.labels[finding.proposed]
        row |= {"duplicate_of": None if copy_of is None else name(found, copy_of)}
        row |= {"key": _safe_key(found, index), "digest": exclusions.digest_text(digest_of[index])}
        if relabelled & {row["key"], row["digest"]}:
            row["action"] = "look"  # A person has decided about its label.
        rows.append(row)
    return rows


def _earlier(table: str | None) -> tuple[list[dict], set[str]]:
    """The rows of the table that the run itself left out, which hold for the next run too; and what names relabelled examples."""
    rows, relabelled = [], set()
    for proposal in exclusions.read(table) if table else ():
        if proposal.action == "look":
            continue
        digest = None if proposal.digest is None else exclusions.digest_text(proposal.digest)
        row = {"action": proposal.action, "kind": proposal.kind, "given_label": proposal.given_label, "digest": digest}
        row |= {"proposed_label": proposal.proposed_label, "key": proposal.key, "reason": "the run was trained so"}
        rows.append(row)
        if proposal.action == "relabel":
            relabelled |= {name for name in (proposal.key, digest) if name}
    return rows, relabelled


def _safe_key(found: DataCheck, index: int) -> str | None:
    """The key if a table holds it as it is; else the digest names the example."""
    part, row = found.place(index)
    key = None if part.keys is None else part.keys[row]
    return key if key is not None and len(key) <= _MOST_OF_A_KEY and printable(key) == key == key.strip() else None


def _scores(found: DataCheck) -> list[dict]:
    scores, proposed = found.labels.scores, found.labels.proposed
    rows = []
    for index in np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable").tolist():
        if np.isnan(scores[index]):
            continue
        row = {"score": float(scores[index]), "part": found.parts[index], "input": name(found, index)}
        row["given_label"] = found.label(index)
        row["proposed_label"] = None if proposed is None else found.split.labels[proposed[index]]
        rows.append(row)
    return rows
