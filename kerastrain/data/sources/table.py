"""A table in memory: columns of Python values by name, and the roles of its columns.

Must not open files or import TensorFlow.
"""

import bisect
import dataclasses
import itertools
import re
from collections.abc import Callable, Mapping, Sequence

from kerastrain.data.image_files.quarantine import Quarantined
from kerastrain.errors import InputError, unknown

OF_CONVERSATIONS = ("messages", "prompt", "response", "rejected", "system")
"""The fields of `Columns` that only conversations have."""

_MOST_SHOWN = 80  # characters


@dataclasses.dataclass(frozen=True)
class Columns:
    """The roles of the columns of a table.

    Args:
        input: str, the column of image paths or texts, or tuple of str, columns of texts that are joined in this order by
            a space; None finds a column with a usual name, such as path, image, file or text.
        pair: str, the column of the second text of each pair, such as the hypothesis for a premise, or tuple of str, columns
            that are joined in this order by a space; None if an example is one text or image.
        numbers: tuple of str, the columns of numbers that are inputs beside the image or the text, such as an age; empty if
            there are none. They may be missing in some rows.
        targets: tuple of str. For "single_label" one column of classes; for "multi_label" one column of classes joined
            by `separator`, or a column of 0 and 1 for each class; for "regression" one or more columns of numbers.
            Empty finds a column with a usual name, such as label, labels or target, or the only one that is left.
        separator: str between the classes in a "multi_label" column; None for "|", or the one that the column uses.
        split: str, the column of parts, such as train, val and test; None for the column split, if there is one.
        weight: str, the column of weights in the loss, numbers >= 0; None for 1 each.
        group: str, the column of groups that must stay in one part, such as patients; None for no groups.
        slices: tuple of str, columns by whose values the measures are divided, such as a camera; empty for none.
        folder: str, the folder that the image paths are relative to, itself relative to the folder of the table; None for
            the folder of the table, or the only one in which the images are found.
        suffix: str, the suffix of the image files if the table leaves it out, such as ".jpg"; None finds it.
        messages: str, for conversations: the column of lists of messages.
        prompt: str, for conversations: the column of the user's message; with `response`.
        response: str, for conversations: the column of the answer.
        rejected: str, for conversations: the column of the answer that people liked less.
        system: str, for conversations: the column of the system's message.
    """

    input: str | tuple[str, ...] | None = None
    pair: str | tuple[str, ...] | None = None
    numbers: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    separator: str | None = None
    split: str | None = None
    weight: str | None = None
    group: str | None = None
    slices: tuple[str, ...] = ()
    folder: str | None = None
    suffix: str | None = None
    messages: str | None = None
    prompt: str | None = None
    response: str | None = None
    rejected: str | None = None
    system: str | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the input columns; empty if none is named."""
        return (self.input,) if isinstance(self.input, str) else tuple(self.input or ())

    @property
    def pairs(self) -> tuple[str, ...]:
        """The names of the columns of the second texts; empty if an example is one text or image."""
        return (self.pair,) if isinstance(self.pair, str) else tuple(self.pair or ())

    @property
    def texts(self) -> tuple[tuple[str, ...], ...]:
        """The names of the columns of each text of an example: of one text, or of two."""
        return (self.inputs, self.pairs) if self.pairs else (self.inputs,)

    @property
    def named(self) -> dict[str, tuple[str, ...]]:
        """The columns that are named, by the field that names them."""
        fields = {
            "input": self.inputs,
            "pair": self.pairs,
            "numbers": tuple(self.numbers),
            "targets": tuple(self.targets),
            "slices": tuple(self.slices),
        }
        others = ("split", "weight", "group", *OF_CONVERSATIONS)
        fields |= {name: (value,) for name in others if (value := getattr(self, name)) is not None}
        return {name: columns for name, columns in fields.items() if columns}


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns of Python values by name.

    Args:
        source: str, its name in messages.
        values: mapping from the name of each column to its n values: str, numbers, None, or sequences of those.
        rows: sequence of n int, the position of each row in its source.
        unit: "line", "row" or "record", the unit of `rows`.
        classes: mapping from the name of each column of class numbers to its class names.
        layout: str, how the file was read, such as "a table separated by commas".
        notes: tuple of str, what was left out or is unusual, as `Listing.notes`.
        skipped: tuple of Quarantined, the rows that could not be read.
        repeated: frozenset of str, the names that several columns have.
        has_names: bool, whether the source names its columns; else they are called "1", "2", ….
        has_decimal_comma: bool, whether numbers may be written with a comma.
        origins: tuple of (int, str), the first index and the source of each part, if it comes from several.
    """

    source: str
    values: Mapping[str, Sequence]
    rows: Sequence[int]
    unit: str = "row"
    classes: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    layout: str = "a table"
    notes: tuple[str, ...] = ()
    skipped: tuple[Quarantined, ...] = ()
    repeated: frozenset[str] = frozenset()
    has_names: bool = True
    has_decimal_comma: bool = False
    origins: tuple[tuple[int, str], ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> Sequence:
        """Returns the values of a column.

        Args:
            name: str, the name of the column.

        Returns:
            sequence of n values.

        Raises:
            InputError: there is no such column, or there are several.
        """
        if name not in self.values:
            nameless = "" if self.has_names else " Its first line is data, so its columns are called by their numbers."
            raise InputError(f"{self.source}: {unknown('column', name, self.values)}{nameless}")
        if name in self.repeated:
            raise InputError(
                f"the column names in the header of {self.source} must be unique. Received: {name!r} twice. Rename one."
            )
        return self.values[name]

    def check(self, name: str, is_valid: Callable[[object], bool], rule: str) -> Sequence:
        """Returns the values of a column after checking each of them.

        Args:
            name: str, the name of the column.
            is_valid: callable (value) -> bool.
            rule: str, what a valid value is, for the message.

        Returns:
            sequence of n values.

        Raises:
            InputError: there is no such column, or a value is invalid (the message names the first such row).
        """
        values = self.column(name)
        invalid = [index for index, value in enumerate(values) if not is_valid(value)]
        if invalid:
            others = len(invalid) - 1
            more = f" Invalid too: {others} more {'row' if others == 1 else 'rows'}." if others else ""
            raise InputError(
                f"{self.row_name(invalid[0])}: column {name!r} must hold {rule}. Received: "
                f"{_shown(values[invalid[0]])}.{more}"
            )
        return values

    def row_name(self, index: int) -> str:
        """Names a row in messages, such as "line 3 of 'faces.csv'".

        Args:
            index: int in [0, n).

        Returns:
            str.
        """
        source = self.source
        if self.origins:
            source = self.origins[bisect.bisect_right(self.origins, index, key=lambda origin: origin[0]) - 1][1]
        return f"{self.unit} {self.rows[index]} of {source}"

    def subset(self, indices: Sequence[int]) -> "Table":
        """Selects rows.

        Args:
            indices: sequence of int in [0, n), ascending.

        Returns:
            Table.
        """
        if len(indices) == len(self):
            return self
        origins = tuple((bisect.bisect_left(indices, first), source) for first, source in self.origins)
        return dataclasses.replace(
            self,
            values={name: [column[index] for index in indices] for name, column in self.values.items()},
            rows=[self.rows[index] for index in indices],
            origins=origins,
        )


def key(name: str) -> str:
    """Form of a column name without case, spaces and punctuation.

    Args:
        name: str.

    Returns:
        str.

    Example:
        >>> key("Image Index"), key("file_name")
        ('imageindex', 'filename')
    """
    return re.sub(r"[\W_]+", "", name.casefold())


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def joined(source: str, tables: Sequence[Table]) -> Table:
    """Puts tables below each other.

    Args:
        source: str, the name of the whole in messages.
        tables: sequence of Table, at least one, of the same unit. Columns that not all of them have are dropped.

    Returns:
        Table.
    """
    first, *others = tables
    names = [name for name in first.values if all(name in table.values for table in others)]
    starts = itertools.accumulate((len(table) for table in tables[:-1]), initial=0)
    return Table(
        source,
        {name: list(itertools.chain.from_iterable(table.values[name] for table in tables)) for name in names},
        list(itertools.chain.from_iterable(table.rows for table in tables)),
        first.unit,
        layout=first.layout,
        notes=tuple(itertools.chain.from_iterable(table.notes for table in tables)),
        skipped=tuple(itertools.chain.from_iterable(table.skipped for table in tables)),
        repeated=frozenset().union(*(table.repeated for table in tables)),
        has_names=first.has_names,
        has_decimal_comma=any(table.has_decimal_comma for table in tables),
        origins=tuple(zip(starts, (table.source for table in tables), strict=True)),
    )
