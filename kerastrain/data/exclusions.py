"""Examples that a table of proposals leaves out or gives another label, as `kerastrain data check` writes it.

Takes the path of the table and a `Listing`; returns the `Listing` without these examples. Every row must match, so that
nothing is left out by mistake. Must not import TensorFlow.
"""

import csv
import dataclasses
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from kerastrain.data import overlap
from kerastrain.data.examples import Examples
from kerastrain.data.sources.class_names import folded
from kerastrain.data.splitting.listings import Listing
from kerastrain.errors import InputError, counted, unknown
from kerastrain.system import files
from kerastrain.system.terminal import printable

ACTIONS = ("exclude", "relabel", "look")
COLUMNS = (
    "action",
    "kind",
    "part",
    "input",
    "given_label",
    "proposed_label",
    "score",
    "reason",
    "duplicate_of",
    "key",
    "digest",
)
"""The columns of a table that `write` writes."""

_COLUMNS = ("action", "key", "digest", "kind", "given_label", "proposed_label")
_DIGEST = re.compile(r"blake2:([0-9a-f]{16})")
_NAMED = 3
_FORMULA_STARTS = ("=", "+", "-", "@", "'")


@dataclasses.dataclass(frozen=True)
class Proposal:
    """A row of the table.

    Args:
        line: int, its line in the file.
        action: str, one of `ACTIONS`.
        key: str, the key of the example as in `Examples.keys`; may be empty.
        digest: int, its `overlap.digests`, or None.
        kind: str, why it was proposed; may be empty.
        given_label: str, its label when it was proposed; may be empty.
        proposed_label: str, the label to give; only for "relabel".
    """

    line: int
    action: str
    key: str
    digest: int | None
    kind: str = ""
    given_label: str = ""
    proposed_label: str = ""

    @property
    def name(self) -> str:
        """The name of the example in messages."""
        return repr(self.key) if self.key else f"the digest {digest_text(self.digest)}"


def digest_text(digest: int) -> str:
    """A digest as it is written in the table, which no spreadsheet takes for a number.

    Args:
        digest: int in [0, 2**64), from `overlap.digests`.

    Returns:
        str such as "blake2:00000000000000ff".
    """
    return f"blake2:{int(digest):016x}"


def read(path: str | Path) -> list[Proposal]:
    """Reads a table of proposals.

    Args:
        path: path of a CSV file with the columns `action` (exclude, relabel or look) and `key` or `digest`; for relabel also
            `proposed_label`. Other columns may be there too. The separator is a comma, a semicolon or a tab.

    Returns:
        list of Proposal, in the order of the rows.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: a column is missing, or a cell is none of the values of its column.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"`data.exclude`: there is no file {str(path)!r}. Give a proposals.csv of `kerastrain data check`."
        )
    try:
        lines = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(
            f"`data.exclude` must be a CSV file in UTF-8. Received: {str(path)!r}, which is not UTF-8. Save it so."
        ) from None
    header = lines.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    rows = csv.DictReader(io.StringIO(lines, newline=""), delimiter=separator)
    names = [(name or "").strip().lower() for name in rows.fieldnames or ()]
    rows.fieldnames = names
    if "action" not in names or not {"key", "digest"} & set(names):
        missing = "action" if "action" not in names else "key"
        raise InputError(
            f"`data.exclude` must have the columns action, and key or digest. Received: {str(path)!r} with the columns "
            f"{', '.join(filter(None, names)) or 'of an empty file'}, without {missing}. Give a proposals.csv of "
            "`kerastrain data check`."
        )
    proposals = []
    for row in rows:
        cells = {name: _unguarded((row.get(name) or "").strip()) for name in _COLUMNS}
        if any(cells.values()):
            proposals.append(_proposal(cells, rows.line_num, path))
    return proposals


def write(rows: Iterable[Mapping[str, object]], path: str | Path, columns: Sequence[str] = COLUMNS) -> Path:
    """Writes a table of proposals, in which no cell is a formula of a spreadsheet: it would begin with an apostrophe.

    Args:
        rows: iterable of mappings from the names of columns to values; missing ones are empty.
        path: path of the CSV file, which is replaced if it exists.
        columns: sequence of str, the columns.

    Returns:
        Path of the file.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_guarded(row.get(name)) for name in columns] for row in rows)
    return files.write_text(path, text.getvalue())


def apply(listing: Listing, proposals: Sequence[Proposal], *, source: str, without: Sequence[str] = ()) -> Listing:
    """Leaves out and relabels examples.

    An example is found by its key, if its digest is that of the row; else, such as after it was renamed, by its digest.

    Args:
        listing: Listing.
        proposals: sequence of Proposal; those with "look" are ignored.
        source: str, the name of the table in messages.
        without: sequence of str, classes that were left out already, whose rows need not match.

    Returns:
        Listing with a note about what was done.

    Raises:
        InputError: a row matches no example, an example has changed since, two rows contradict each other, or a label is
            unknown.
    """
    wanted = [row for row in proposals if row.action != "look"]
    if not wanted:
        return dataclasses.replace(
            listing, notes=(*listing.notes, f"data.exclude: no row of {source} is to be excluded")
        )
    gone = {folded(label) for label in without}
    rows_of, missing = _matched(listing.examples, wanted)
    missing = [row for row in missing if folded(row.given_label) not in gone]
    if missing:
        more = f" and {len(missing) - _NAMED:,} more" if len(missing) > _NAMED else ""
        named = ", ".join(f"line {row.line} ({row.name})" for row in missing[:_NAMED]) + more
        raise InputError(
            f"every row of `data.exclude` must match an example. Received: {source}, of which {named} match"
            f"{'es' if len(missing) == 1 else ''} no example of {listing.source}, or one that has changed since. Remove the "
            f"{'row' if len(missing) == 1 else 'rows'}, or run `kerastrain data check` again."
        )
    return _changed(listing, _agreed(rows_of, source), source)


def _guarded(value: object) -> str:
    if value is None or isinstance(value, int | float):
        return "" if value is None else f"{value:.6g}"
    line = printable(value).replace("\n", " ")
    return f"'{line}" if line.startswith(_FORMULA_STARTS) else line


def _unguarded(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA_STARTS) else cell


def _proposal(cells: Mapping[str, str], line: int, path: Path) -> Proposal:
    where = f"line {line} of {str(path)!r}"
    action = cells["action"].lower()
    if action not in ACTIONS:
        raise InputError(f"`data.exclude`: {where}: {unknown('action', cells['action'], ACTIONS)}")
    digest = _DIGEST.fullmatch(cells["digest"]) if cells["digest"] else None
    if cells["digest"] and digest is None:
        raise InputError(
            f"`data.exclude`: {where}: digest must be as `kerastrain data check` writes it, such as "
            f"{digest_text(255)}. Received: {cells['digest']!r}. Correct it, or leave it empty."
        )
    if not (cells["key"] or digest):
        raise InputError(f"`data.exclude`: {where} has neither key nor digest. Add one, or remove the row.")
    if action == "relabel" and not cells["proposed_label"]:
        raise InputError(f"`data.exclude`: {where}: relabel needs a proposed_label. Received: none. Write the label.")
    value = None if digest is None else int(digest[1], 16)
    return Proposal(line, action, cells["key"], value, cells["kind"], cells["given_label"], cells["proposed_label"])


def _matched(examples: Examples, wanted: Sequence[Proposal]) -> tuple[dict[int, list[Proposal]], list[Proposal]]:
    """The rows of the table for each example, and those without an example."""
    by_key = {}
    if examples.keys is not None:
        for index, key in enumerate(examples.keys):
            by_key.setdefault(key, []).append(index)
    named = {row: by_key.get(row.key, []) for row in wanted}
    checked = sorted({index for row, indices in named.items() if row.digest is not None for index in indices})
    digest_of = dict(zip(checked, _digests(examples, checked), strict=True))
    found, others = {}, []
    for row, indices in named.items():
        same = [index for index in indices if row.digest is None or digest_of[index] == row.digest]
        if same:
            for index in same:
                found.setdefault(index, []).append(row)
        else:
            others.append(row)
    missing = [row for row in others if row.digest is None]
    if len(missing) < len(others):  # Only now are all files read.
        by_digest = {}
        for index, digest in enumerate(_digests(examples, range(len(examples)))):
            by_digest.setdefault(digest, []).append(index)
        for row in others:
            if row.digest is not None and row.digest in by_digest:
                for index in by_digest[row.digest]:
                    found.setdefault(index, []).append(row)
            elif row.digest is not None:
                missing.append(row)
    return found, sorted(missing, key=lambda row: row.line)


def _digests(examples: Examples, indices: Sequence[int]) -> list[int]:
    readable = []
    for index in indices:
        try:
            readable.append(int(overlap.digests(examples.subset(np.array([index])))[0]))
        except (InputError, OSError):
            readable.append(None)  # A broken file is reported when it is read.
    return readable


def _agreed(rows_of: Mapping[int, Sequence[Proposal]], source: str) -> dict[int, Proposal]:
    agreed = {}
    for index, rows in rows_of.items():
        if len(set(map(_wish, rows))) > 1:
            first = rows[0]
            second = next(row for row in rows if _wish(row) != _wish(first))
            raise InputError(
                f"the rows of `data.exclude` must agree. Received: {source}, whose lines {first.line} and {second.line} want "
                f"{_wish(first)} and {_wish(second)} for {first.name}. Remove one."
            )
        agreed[index] = rows[0]
    return agreed


def _wish(row: Proposal) -> str:
    return f"relabel to {row.proposed_label!r}" if row.action == "relabel" else row.action


def _changed(listing: Listing, agreed: Mapping[int, Proposal], source: str) -> Listing:
    examples = listing.examples
    relabelled = {index: row for index, row in agreed.items() if row.action == "relabel"}
    if relabelled and examples.task != "single_label":
        row = next(iter(relabelled.values()))
        raise InputError(
            f"`data.exclude` relabels only examples of one class each. Received: line {row.line} of {source} with relabel, for "
            f"task {examples.task!r}. Write exclude or look."
        )
    targets = examples.targets.copy()
    numbers = {folded(label): number for number, label in reversed(list(enumerate(examples.labels)))}
    for index, row in relabelled.items():
        if folded(row.proposed_label) not in numbers:
            raise InputError(
                f"`data.exclude`: line {row.line} of {source}: {unknown('class', row.proposed_label, examples.labels)}"
            )
        exact = row.proposed_label in examples.labels
        targets[index] = examples.labels.index(row.proposed_label) if exact else numbers[folded(row.proposed_label)]
    kept = np.array([index for index in range(len(examples)) if index not in agreed or index in relabelled], np.int64)
    left_out = [row for row in agreed.values() if row.action == "exclude"]
    notes = []
    if left_out:
        kinds = Counter(row.kind.replace("_", " ") or "without a kind" for row in left_out)
        described = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
        notes.append(f"data.exclude: left out {counted(len(left_out), 'examples')} of {source} ({described})")
    if relabelled:
        notes.append(f"data.exclude: relabelled {counted(len(relabelled), 'examples')} of {source}")
    return dataclasses.replace(
        listing,
        examples=dataclasses.replace(examples, targets=targets).subset(kept),
        predefined_split=None if listing.predefined_split is None else listing.predefined_split[kept],
        notes=(*listing.notes, *notes),
    )
