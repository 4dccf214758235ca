"""The command line: verbs and paths; every number comes from a config or an override `section.key=value`.

Takes arguments, prints for people, and returns 0, or 2 with one sentence when what it was given cannot be used. Must
not hold logic: each verb is a few calls to public functions. TensorFlow starts only in the verbs that need it.
"""

# Each import adds its verbs to the program, and the help lists them in this order.
# isort: off
from kerastrain.cli import training_commands  # noqa: F401
from kerastrain.cli import data_commands  # noqa: F401
from kerastrain.cli import finder_commands  # noqa: F401
from kerastrain.cli import run_commands  # noqa: F401
from kerastrain.cli import launch_command  # noqa: F401
from kerastrain.cli import doctor_command  # noqa: F401

from kerastrain.cli.program import app, main

__all__ = ["app", "main"]
