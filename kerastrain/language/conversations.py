"""Reads the texts that a language model learns from: conversations, or texts that it continues.

Takes a path, returns a `Corpus`. What is read and what is skipped is said. Must not import TensorFlow.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from kerastrain.data.image_files.quarantine import Quarantined
from kerastrain.data.sources import hugging_face, parts, table_files, table_folders
from kerastrain.data.sources.folders import check, is_clutter
from kerastrain.data.sources.table import Columns, Table, key
from kerastrain.data.sources.table_columns import is_present
from kerastrain.errors import InputError, counted
from kerastrain.language import documents, forms, messages
from kerastrain.language.corpus import PARTS, Corpus, Kind, first_skipped, without_repeats
from kerastrain.language.documents import Document
from kerastrain.language.forms import Form
from kerastrain.language.messages import Conversation

_TEXTS = ("text", "content", "document", "body", "story", "article", "code", "raw_content")
_MOST_NAMED = 8


def read(path: str | Path, *, kind: Kind, columns: Columns | None = None) -> Corpus:
    """Reads conversations or texts.

    | path | what is read |
    |---|---|
    | a table (.jsonl, .json, .csv, .tsv, .parquet, also .gz) | a conversation or a text for each row |
    | another file, for "language" | one text |
    | a folder with tables such as train.jsonl and test.jsonl | the rows of each |
    | a folder of text files, for "language" | a text for each; folders train, validation and test are parts |
    | "hf:NAME" | a data set of Hugging Face |

    Args:
        path: str or path, as in the table.
        kind: "chat" for conversations in one of the forms of `messages`, "language" for texts.
        columns: Columns; None finds them by their usual names.

    Returns:
        Corpus, with no item twice.

    Raises:
        FileNotFoundError: nothing exists at the path.
        InputError: it holds no conversations or texts.
    """
    columns = columns or Columns()
    if str(path).startswith(hugging_face.PREFIX):
        named = hugging_face.load(str(path))
        table = Table(named.source, dict(named.columns), range(1, len(named.parts) + 1), layout=named.layout)
        part_of = parts.parts_of(list(dict.fromkeys(named.parts)))
        notes = list(named.notes)
        if "train" in part_of.values():
            notes += [f"the part {name!r} is taken for {part}" for name, part in part_of.items() if name != part]
            notes += [f"did not read the part {name!r}" for name in dict.fromkeys(named.parts) if name not in part_of]
        corpus = _of_tables(named.source, [(None, table)], kind, columns, notes)
        if "train" in part_of.values():
            kept = {item.row for item in corpus.items}
            in_parts = [part_of.get(part) for row, part in enumerate(named.parts) if table.row_name(row) in kept]
            corpus = dataclasses.replace(corpus, predefined=in_parts)
        return _checked(corpus)
    if str(path).startswith("tfds:"):
        raise InputError(
            f"conversations and texts for language models are files, or hf:NAME. Received: {str(path)!r}. Write the rows of the "
            "set to a JSON Lines file, and give that."
        )
    root = Path(path).expanduser()
    if root.is_dir():
        return _checked(_of_folder(root, kind, columns))
    if not root.is_file():
        check(root, "a file or folder of conversations" if kind == "chat" else "a file or folder of texts")
        raise FileNotFoundError(f"no data at '{root}': the path does not exist.")
    if kind == "chat" or table_files.suffix(root) in table_files.SUFFIXES or table_files.is_of_lines(root):
        table = table_files.read(root, columns)
        return _checked(_of_tables(f"'{root}'", [(None, table)], kind, columns))
    return _checked(_of_documents(f"'{root}'", [(None, root)]))


def _of_folder(root: Path, kind: Kind, columns: Columns) -> Corpus:
    children = sorted(child for child in root.iterdir() if not is_clutter(child.name))
    tables = [child for child in children if table_folders.is_named_table(child)]
    if not tables and len(children) == 1 and children[0].is_dir():
        return _of_folder(children[0], kind, columns)
    if not tables:
        inside = [child for folder in children if folder.is_dir() for child in sorted(folder.iterdir())]
        tables = [child for child in inside if table_folders.is_named_table(child)]
    if not tables:
        if kind == "language":
            return _of_documents(f"'{root}'", *documents.files(root))
        names = ", ".join(child.name for child in children[:_MOST_NAMED]) or "nothing"
        raise InputError(
            f"'{root}' must hold tables of conversations, such as train.jsonl. Received: {names}. Give a file with a line such "
            'as {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]} for each.'
        )
    by_part = table_folders.files_by_part(tables)
    used = [file for files in by_part.values() for file in files]
    others = [file for file in tables if file not in used]
    if not by_part or set(by_part) == {"train"}:
        members, others = [(None, file) for file in (used or tables)], others if used else []
    elif "train" in by_part or len(others) == 1:
        by_part, others = ({"train": others, **by_part}, []) if "train" not in by_part else (by_part, others)
        members = [(part, file) for part in PARTS for file in by_part.get(part, [])]
    else:
        raise InputError(
            f"'{root}' contains {', '.join(file.name for file in tables)} but no train. Name the table of the training part "
            "train, or give the path of one table."
        )
    notes = [f"did not read '{file}', because its name denotes no part" for file in others]
    read_tables = [(part, table_files.read(file, columns)) for part, file in members]
    return _of_tables(f"'{root}'", read_tables, kind, columns, notes)


def _of_documents(source: str, files: Sequence[tuple[str | None, Path]], unread: Sequence[str] = ()) -> Corpus:
    items, in_parts, skipped, notes = documents.read(files)
    notes += unread
    layout = "one text" if len(files) == 1 else f"a text for each of {len(files):,} files"
    predefined = in_parts if any(in_parts) else None
    corpus = Corpus(source, "language", items, layout, predefined, (), tuple(skipped), tuple(notes))
    return without_repeats(corpus)


def _of_tables(
    source: str, tables: Sequence[tuple[str | None, Table]], kind: Kind, columns: Columns, notes: Sequence[str] = ()
) -> Corpus:
    items, in_parts, groups, skipped, notes, used = [], [], [], [], list(notes), Counter()
    for part, table in tables:
        skipped += table.skipped
        notes += table.notes
        split = columns.split or next((name for name in table.values if key(name) == "split"), None)
        splits = (
            None if split is None or part is not None else _splits(table, split, is_named=columns.split is not None)
        )
        group = table.column(columns.group) if columns.group else None
        reader = _conversations if kind == "chat" else _documents
        for index, item, fault in reader(table, columns, used):
            if fault:
                skipped.append(Quarantined(table.row_name(index), "incomplete", fault))
                continue
            items.append(item)
            in_parts.append(part or (splits[index] if splits else None))
            groups.append(str(group[index]) if group else "")
        read_columns = {name for form in used for name in form.columns} | {split, columns.group}
        read_columns |= {
            name for form in forms.forms(table.values, columns) for name in (form.below, form.system, form.tools)
        }
        if unread := [repr(name) for name in table.values if name not in read_columns]:
            more = f" and {len(unread) - _MOST_NAMED} more" if len(unread) > _MOST_NAMED else ""
            notes.append(f"{table.source}: did not read the columns {', '.join(unread[:_MOST_NAMED])}{more}")
    layout = tables[0][1].layout + (f" in {len(tables)} files" if len(tables) > 1 else "")
    if used:
        described = [f"{counted(count, 'rows')} with {form.described}" for form, count in used.most_common()]
        layout += f", {' and '.join(described)}" if len(used) > 1 else f", with {next(iter(used)).described}"
    predefined = in_parts if any(in_parts) else None
    corpus = Corpus(
        source, kind, items, layout, predefined, tuple(groups) if columns.group else (), tuple(skipped), tuple(notes)
    )
    return without_repeats(corpus)


def _conversations(table: Table, columns: Columns, used: Counter) -> Iterator[tuple[int, Conversation | None, str]]:
    """Yields (index, conversation or None, the fault) of each row."""
    for name in (columns.messages, columns.prompt, columns.response, columns.rejected, columns.system):
        if name is not None:
            table.column(name)  # which says that there is none
    found = forms.forms(table.values, columns)
    if not found and forms.are_messages(table.values):  # a JSON file with one conversation
        table, found = forms.one_conversation(table), [Form(messages="messages")]
    if not found:
        is_text = not table.has_names or any(key(name) in _TEXTS for name in table.values)
        hint = " For texts without roles, set data.kind=language." if is_text else ""
        if {"messageid", "messagetreeid"} & set(map(key, table.values)):
            hint = (
                " Its rows are messages of trees, as those of OpenAssistant: write the messages of a path in each row."
            )
        raise InputError(
            f"{table.source}: no columns hold conversations. Received: {', '.join(table.values)}. Name them messages, or prompt "
            f"and response, or set data.columns.prompt and data.columns.response.{hint}"
        )
    names = list(dict.fromkeys(name for form in found for name in form.columns))
    for index, cells in enumerate(zip(*(table.column(name) for name in names), strict=True)):
        row = dict(zip(names, cells, strict=True))
        form = next((form for form in found if not form.missing(row)), None)
        if form is None:
            missing = min((form.missing(row) for form in found), key=len)
            yield index, None, f"it has no {' and no '.join(map(repr, missing))}"
            continue
        try:
            item = messages.conversation(row, form, table.row_name(index))
        except InputError as error:
            yield index, None, str(error)
            continue
        used[form.without(row)] += 1
        yield index, item, ""


def _documents(table: Table, columns: Columns, used: Counter) -> Iterator[tuple[int, Document | None, str]]:
    if columns.input is not None:
        names = columns.inputs
    else:
        by_key = {key(name): name for name in reversed(list(table.values))}
        name = next((by_key[key(usual)] for usual in _TEXTS if key(usual) in by_key), None)
        are_chats = forms.forms(table.values, columns) or forms.are_messages(table.values)
        name = next(iter(table.values)) if name is None and len(table.values) == 1 and not are_chats else name
        if name is None:
            raise InputError(
                f"{table.source}: no column is called text. Received: {', '.join(table.values)}. "
                f"{'For conversations, set data.kind=chat. ' if are_chats else ''}Name the column with data.columns.input."
            )
        names = (name,)
    form = Form(prompt=names[0], below=names[1] if len(names) > 1 else None)
    for index, cells in enumerate(zip(*(table.column(name) for name in names), strict=True)):
        texts = [cell for cell in cells if is_present(cell)]
        if not all(isinstance(text, str) for text in texts):
            yield index, None, f"the column {names[0]!r} must hold texts, and has {messages.shown(texts[0])}"
        elif not any(text.strip() for text in texts):
            yield index, None, f"the column {names[0]!r} is empty"
        else:
            used[form] += 1
            yield index, Document(" ".join(texts), table.row_name(index)), ""


def _splits(table: Table, name: str, *, is_named: bool) -> list[str] | None:
    values = [str(value) for value in table.column(name)]
    if not is_named and any(parts.part_of(value) is None for value in set(values)):
        return None
    return list(parts.part_names(values, where=f"column {name!r} of {table.source}"))


def _checked(corpus: Corpus) -> Corpus:
    noun = "conversation" if corpus.kind == "chat" else "text"
    if not corpus.items:
        first = f": {first_skipped(corpus)}" if corpus.skipped else ""
        raise InputError(f"{corpus.source} holds no {noun} to learn from{first}.")
    notes = []
    if corpus.kind == "chat":
        if cut := sum(item.cut > 0 for item in corpus.items):
            notes.append(
                f"{counted(cut, 'conversations')} without an answer at the end: what follows the last one is not read"
            )
        if given := sum(len(item.given) for item in corpus.items):
            notes.append(
                f"{counted(given, 'answers')} inside prompts or with the weight 0: they are read, and not learned"
            )
    return dataclasses.replace(corpus, notes=(*corpus.notes, *notes))
