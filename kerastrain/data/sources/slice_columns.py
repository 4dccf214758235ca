"""Columns by whose values the measures of a model are divided, such as the camera or the hospital of each example.

Takes the roles of columns, and checks them. Must not import TensorFlow.
"""

from collections.abc import Sequence

from kerastrain.data.sources.table import Columns
from kerastrain.errors import InputError


def check(columns: Columns, *, usual_inputs: Sequence[str] = (), usual_target: str | None = None) -> None:
    """Checks that each column of slices is named once and is not what an example is or what is predicted.

    Args:
        columns: Columns.
        usual_inputs: sequence of str, the names that hold the inputs if `columns` names none.
        usual_target: str, the name that holds the targets if `columns` names none.

    Raises:
        InputError: a column is named twice, or is an input or a target too.
    """
    names = columns.slices
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        raise InputError(f"`data.columns.slices` must name each column once. Received: {twice[0]!r} twice. Remove one.")
    inputs = (*(columns.inputs or usual_inputs), *columns.pairs)
    if both := [name for name in names if name in inputs]:
        raise InputError(
            f"`data.columns.slices` must name columns with a few values for many examples. Received: {both[0]!r}, which holds "
            "the inputs. Remove it."
        )
    if both := [name for name in names if name in (columns.targets or (usual_target,))]:
        raise InputError(
            f"`data.columns.slices` must name other columns than the targets, which are measured class by class anyway. "
            f"Received: {both[0]!r}. Remove it."
        )
