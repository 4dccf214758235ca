"""The command line. Its arguments are paths and choices; all settings come from a config or overrides `section.key=value`.

Takes arguments, prints tables and messages, and exits with 0, or with 2 and an error message for invalid input. Must not
contain logic: each command is a few calls to public functions. Only the commands that need TensorFlow import it.
"""

# Each import adds its commands to the program. The help lists them in this order.
# isort: off
from kerastrain.cli import training_commands  # noqa: F401
from kerastrain.cli import tune_command  # noqa: F401
from kerastrain.cli import data_commands  # noqa: F401
from kerastrain.cli import finder_commands  # noqa: F401
from kerastrain.cli import predict_command  # noqa: F401
from kerastrain.cli import run_commands  # noqa: F401
from kerastrain.cli import compare_command  # noqa: F401
from kerastrain.cli import generate_command  # noqa: F401
from kerastrain.cli import compress_command  # noqa: F401
from kerastrain.cli import launch_command  # noqa: F401
from kerastrain.cli import data_worker_command  # noqa: F401
from kerastrain.cli import doctor_command  # noqa: F401

from kerastrain.cli.program import app, main

__all__ = ["app", "main"]
