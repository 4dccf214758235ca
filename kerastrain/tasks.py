"""What a model is to say of an example: the three tasks that data, models and measures know by the same names.

Must not import anything of kerastrain.
"""

from typing import Literal, get_args

Task = Literal["single_label", "multi_label", "regression"]
"""One class of several; any number of the classes at once; or numbers."""

TASKS = get_args(Task)
