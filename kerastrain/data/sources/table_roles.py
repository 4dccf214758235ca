"""Which column of a table holds the inputs, the targets and the parts, where the config does not say.

Takes a `Table` and `Columns`, returns `Columns` with every role filled, and notes about those that were found by
looking. A role that several columns may have is not guessed but refused. Must not open files.
"""

import dataclasses
import re
from collections.abc import Sequence

from kerastrain.data.sources import number_columns, slice_columns, text_pairs
from kerastrain.data.sources.parts import part_of
from kerastrain.data.sources.table import Columns, Table, key
from kerastrain.errors import InputError, unknown
from kerastrain.tasks import Task

USUAL_INPUTS = {"images": ("path", "image", "file", "file_name", "filename"), "text": ("text", "sentence")}
USUAL_TARGETS = {"single_label": "label", "multi_label": "labels", "regression": "target"}

# Further names, without case, spaces and punctuation. A first group wins over the next.
_INPUTS = {
    "images": (
        "filepath filepaths filenames files imagepath imagepaths imgpath imagefile imagefilename imagename imgname img "
        "images picture photo imgfile paths fname uri",
        "imageid imgid imageindex idcode pictureid photoid",
        "id name",
    ),
    "text": (
        "texts sentences comment commenttext comments review reviewtext reviews content contents tweet tweets message "
        "messages body headline question document documents doc sms post utterance phrase string article transcript "
        "reviewbody fulltext textcontent title description abstract summary subject",
    ),
}
_TARGETS = {
    "single_label": "label labels class classes category categories target targets sentiment species y classname "
    "classlabel labelname classindex classid labelid categoryid topic intent emotion breed diagnosis",
    "multi_label": "labels label tags tag classes categories class category genres genre topics targets target "
    "findinglabels attributeids y",
    "regression": "target targets value y score rating label price age",
}
_FLAGS = ("isvalid", "isval", "isvalidation", "istest", "istrain", "isholdout")
_NUMBERS_OF_ROWS = re.compile(r"(unnamed.*|index|idx|id|rowid|no|nr|guid|uuid)")
IMAGE_SUFFIXES = (
    *(".avif", ".bmp", ".dcm", ".gif", ".heic", ".heif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png"),
    *(".ppm", ".tif", ".tiff", ".webp"),
)
_NOUNS = {"images": "images", "text": "texts"}
_SAMPLE = 1000


def is_usual(name: str) -> bool:
    """Whether a text is a usual name of a column, so that the line that it is in is a header.

    Args:
        name: str.

    Returns:
        bool.
    """
    return key(name) in _ALL_USUAL


def completed(
    table: Table, columns: Columns, *, kind: str, task: Task | None, has_parts: bool = False
) -> tuple[Columns, tuple[str, ...]]:
    """Finds the columns that are not named.

    Args:
        table: Table.
        columns: Columns.
        kind: "images" or "text".
        task: as `Examples.task`; None if the table needs no targets.
        has_parts: bool, whether the table is one part, so that no column says the parts.

    Returns:
        tuple of Columns whose `input`, `targets` and `split` are named, as far as the table has them, and notes.

    Raises:
        InputError: a named column does not exist, a role has no column, or several columns may have it.
    """
    if kind == "text" and (columns.folder or columns.suffix):
        raise InputError(
            "`data.columns.folder` and `data.columns.suffix` are for images. Received: kind 'text'. Remove them."
        )
    text_pairs.check(columns, kind)
    number_columns.check(columns, usual_inputs=USUAL_INPUTS[kind], usual_target=task and USUAL_TARGETS[task])
    slice_columns.check(columns, usual_inputs=USUAL_INPUTS[kind], usual_target=task and USUAL_TARGETS[task])
    _check_named(table, columns, task)
    notes = []
    taken = {name for names in columns.named.values() for name in names}
    inputs = columns.inputs
    by_content = None
    if not inputs:
        inputs, found = _input(table, columns, kind, task, taken)
        by_content = found == "content"
        if by_content or found == "only":
            how = "by their contents" if by_content else "because no other column is left"
            notes.append(f"the {_NOUNS[kind]} are in column {inputs[0]!r}, {how}")
        taken |= set(inputs)
    _check_kind(table, inputs, kind)
    notes += text_pairs.notes(table.values, dataclasses.replace(columns, input=inputs))
    split = columns.split
    if split is None and not has_parts:
        split, note = _split(table, taken | set(columns.targets))
        notes += note
    targets = columns.targets
    if not targets and task is not None:
        targets, note = _targets(table, columns, task, taken | {split})
        notes += note
    columns = dataclasses.replace(
        columns, input=inputs[0] if len(inputs) == 1 else inputs, targets=targets, split=split
    )
    number_columns.check(columns)
    slice_columns.check(columns)
    return columns, tuple(notes)


def _check_named(table: Table, columns: Columns, task: Task | None) -> None:
    for field, names in columns.named.items():
        if field not in ("input", "pair", "numbers") and task is None:
            continue
        for name in names:
            if name not in table.values:
                nameless = (
                    "" if table.has_names else " Its first line is data, so its columns are called by their numbers."
                )
                raise InputError(
                    f"{table.source}: {unknown('column', name, table.values)}{nameless} Correct `data.columns.{field}`."
                )
            table.column(name)


def _input(table: Table, columns: Columns, kind: str, task: Task | None, taken: set[str]) -> tuple[tuple[str], str]:
    """Returns the column of inputs, and how it was found: "name", "only" or "content"."""
    free = [name for name in table.values if name not in taken]
    named = _with_usual_name(free, USUAL_INPUTS[kind], _INPUTS[kind])
    if len(named) > 1:
        several = ""
        if kind == "text" and (pair := text_pairs.settings(table.values)):
            several = f", or read pairs of texts with {pair}"
        elif kind == "text":
            several = f", or to several that are joined in order, such as [{', '.join(named[:3])}]"
        raise InputError(
            f"{table.source} has several columns that may hold the {_NOUNS[kind]}: {', '.join(named)}. Set "
            f"`data.columns.input` to one of them{several}."
        )
    if named:
        return (named[0],), "name"
    other = "text" if kind == "images" else "images"
    others = _with_usual_name(free, USUAL_INPUTS[other], _INPUTS[other][:1])
    if others:
        raise InputError(
            f"{table.source} has no column of {_NOUNS[kind]}, and its column {others[0]!r} seems to hold {_NOUNS[other]}. "
            f"Set data.kind={other}, or `data.columns.input` to the column of the {_NOUNS[kind]}."
        )
    useful = [name for name in free if not _NUMBERS_OF_ROWS.fullmatch(key(name))] if table.has_names else free
    targets = columns.targets or (_with_usual_name(free, (), (_TARGETS[task],)) if task else ())
    left = [name for name in useful if name not in targets and not _is_split(table, name)]
    if len(left) == 1 and (targets or task is None or len(useful) == 1):
        return (left[0],), "only"
    by_content = [name for name in left if _may_be_input(table, name, left, kind, task)]
    if len(left) == 2 and len(by_content) == 1 and not targets and task is not None:
        return (by_content[0],), "content"
    raise InputError(_no_input(table, kind))


def _no_input(table: Table, kind: str) -> str:
    if not table.has_names:
        first = ", ".join(repr(_shown(column[0])) for column in table.values.values())
        example = "text,label" if kind == "text" else "path,label"
        return (
            f"the first line of {table.source} is data and does not name its columns: {first}. Add a line such as "
            f"{example} before it, or name the columns by their numbers, such as data.columns.input=1 "
            "data.columns.targets=2."
        )
    *names, last = USUAL_INPUTS[kind]
    pair = text_pairs.settings(table.values) if kind == "text" else ""
    return (
        f"{table.source} has no column {', '.join(names)} or {last}. It has: {', '.join(table.values)}. Set "
        f"`data.columns.input` to the column of the {_NOUNS[kind]}{f', or read pairs of texts with {pair}' if pair else ''}."
    )


def _check_kind(table: Table, inputs: Sequence[str], kind: str) -> None:
    values = [str(value).strip() for name in inputs for value in _some(table.column(name)) if value is not None]
    values = [value for value in values if value]
    like_images = [value for value in values if is_image_name(value)]
    if kind == "images" and len(inputs) > 1:
        raise InputError(
            f"`data.columns.input` must be one column for images. Received: {', '.join(inputs)}. Several are joined for "
            "texts only."
        )
    like_texts = [value for value in values if len(value.split()) >= 4 and not re.search(r"[/\\]", value)]
    if kind == "images" and not like_images and len(like_texts) > len(values) / 2:
        raise InputError(
            f"column {inputs[0]!r} of {table.source} must hold paths of images. Received: {_shown(like_texts[0])!r}, "
            "apparently a text. Set data.kind=text, or `data.columns.input` to the column of the images."
        )
    if kind == "text" and len(inputs) == 1 and values and len(like_images) > 0.9 * len(values):
        raise InputError(
            f"column {inputs[0]!r} of {table.source} must hold texts. Received: {like_images[0]!r}, apparently an image. "
            "Set data.kind=images, or `data.columns.input` to the column of the texts."
        )


def _targets(table: Table, columns: Columns, task: Task, taken: set) -> tuple[tuple[str, ...], list[str]]:
    free = [name for name in table.values if name not in taken]
    usual = USUAL_TARGETS[task]
    if usual in free:
        return (usual,), []
    named = [name for name in free if key(name) in _TARGETS[task].split()]
    likely = ("target",) if task == "regression" else ("label", "labels")
    first = [name for name in named if key(name) in likely]
    named = first if len(first) == 1 else named
    noun = {"single_label": "classes", "multi_label": "labels", "regression": "numbers"}[task]
    if task == "multi_label" and not named:
        named = [name for name in free if _are_truths(table.column(name))] if len(free) > 1 else []
        if len(named) > 1:
            return tuple(named), [f"the labels are the columns of 0 and 1: {_listed(named)}"]
    if len(named) > 1:
        others = "" if task == "single_label" else " or several"
        raise InputError(
            f"{table.source} has several columns that may hold the {noun}: {', '.join(named)}. Set "
            f"`data.columns.targets` to one{others} of them."
        )
    if not named:
        useful = [name for name in free if not _NUMBERS_OF_ROWS.fullmatch(key(name))] if table.has_names else free
        useful = [name for name in useful if not _is_split(table, name)]
        if len(useful) == 1:
            return (useful[0],), [f"the {noun} are in column {useful[0]!r}, because no other column is left"]
        raise InputError(_no_targets(table, task, noun, useful))
    return (named[0],), [f"the {noun} are in column {named[0]!r}"]


def _no_targets(table: Table, task: Task, noun: str, free: Sequence[str]) -> str:
    usual = USUAL_TARGETS[task]
    if not free:
        return f"{table.source} has no column of {noun}. It has: {', '.join(table.values)}. Add a column {usual}."
    hint = ""
    if task == "single_label" and len(free) > 1 and all(_are_truths(table.column(name)) for name in free):
        hint = " Columns of 0 and 1 are the labels of data.task=multi_label."
    return f"{table.source}: {unknown('column', usual, table.values)} Set `data.columns.targets` to the {noun}.{hint}"


def _split(table: Table, taken: set[str]) -> tuple[str | None, list[str]]:
    if "split" in table.values and "split" not in taken:
        return "split", []
    named = [name for name in table.values if name not in taken and _is_split(table, name)]
    if named:
        return None, [f"column {named[0]!r} names parts and is not read; data.columns.split={named[0]} uses it"]
    flags = [name for name in table.values if name not in taken and key(name) in _FLAGS]
    return None, [f"column {name!r} is not read; a column of parts holds names such as train and val" for name in flags]


def _is_split(table: Table, name: str) -> bool:
    if name in table.repeated or key(name) in _TARGETS["single_label"].split():
        return False
    parts = set()
    for value in table.values[name]:
        part = part_of(value) if isinstance(value, str) else None
        if part is None:
            return False
        parts.add(part)
    return "train" in parts and len(parts) > 1


def _with_usual_name(names: Sequence[str], exact: Sequence[str], groups: Sequence[str]) -> list[str]:
    """Returns the names of the best group that occurs: an exact name, one but for case and punctuation, then others."""
    found = next((name for name in exact if name in names), None)
    found = found or next((name for usual in exact for name in names if key(name) == key(usual)), None)
    if found is not None:
        return [found]
    for group in groups:
        found = [name for name in names if key(name) in group.split()]
        if found:
            return found
    return []


def _may_be_input(table: Table, name: str, both: Sequence[str], kind: str, task: Task) -> bool:
    """Whether one of two columns is that of the inputs: by suffixes, or because it differs more and is longer."""
    other = next(candidate for candidate in both if candidate != name)
    values, others = (
        [str(value).strip() for value in _some(table.column(column)) if value is not None] for column in (name, other)
    )
    if kind == "images":
        return bool(values) and sum(map(is_image_name, values)) > len(values) / 2
    distinct, other_distinct = len(set(values)), len(set(others))
    length, other_length = sum(map(len, values)), sum(map(len, others))
    repeats = task == "regression" or 2 * other_distinct <= len(others)
    return repeats and length > other_length and (task == "regression" or distinct > other_distinct)


def _are_truths(values: Sequence) -> bool:
    return {str(value).strip().lower() for value in _some(values)} <= {"0", "1", "0.0", "1.0", "true", "false", "-1"}


def _some(values: Sequence) -> list:
    return [values[index] for index in range(min(len(values), _SAMPLE))]


def is_image_name(name: str) -> bool:
    """Whether a text ends in a suffix of image files.

    Args:
        name: str.

    Returns:
        bool.

    Example:
        >>> is_image_name("photos/1.JPG"), is_image_name("1")
        (True, False)
    """
    return "\n" not in name and name.lower().endswith(IMAGE_SUFFIXES)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


_ALL_USUAL = {
    *(key(name) for names in USUAL_INPUTS.values() for name in names),
    *(name for groups in _INPUTS.values() for group in groups for name in group.split()),
    *(name for names in _TARGETS.values() for name in names.split()),
    "split",
}
