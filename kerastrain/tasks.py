"""Names of the three tasks, shared by data, models and evaluation.

Must not import anything of kerastrain.
"""

from typing import Literal, get_args

Task = Literal["single_label", "multi_label", "regression"]
"""single_label: exactly one of several classes. multi_label: any number of the classes. regression: real numbers."""

TASKS = get_args(Task)
