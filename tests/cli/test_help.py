"""Every page of help is printed without the libraries that the commands work with."""

import json
import subprocess
import sys

PROGRAM = """
import contextlib, io, json, sys
import typer.main
from kerastrain.cli import app

def pages(command, words):
    for name, inner in getattr(command, "commands", {}).items():
        yield from pages(inner, [*words, name])
    yield words

loaded = {}
for words in pages(typer.main.get_command(app), []):
    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
        app([*words, "--help"])
    assert text.getvalue().startswith("Usage: "), (words, text.getvalue())
    loaded[" ".join(words)] = [name for name in sys.argv[1:] if name in sys.modules]
print(json.dumps(loaded))
"""
SLOW = ["numpy", "scipy", "pandas", "sklearn", "matplotlib", "PIL", "h5py", "tensorflow", "keras"]
OURS = [
    "kerastrain.config.sections",
    "kerastrain.recipe.plan",
    "kerastrain.report.page",
    "kerastrain.diagnosis.verdict",
]


def test_no_help_imports_what_only_the_commands_need():
    # A process of its own, because this one has imported everything.
    words = [sys.executable, "-c", PROGRAM, *SLOW, *OURS]
    loaded = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert {"", "train", "tune", "data", "data scan", "find backbone"} <= set(loaded)
    assert not any(loaded.values()), loaded


def test_a_config_is_checked_without_what_only_training_needs(tmp_path):
    code = "import sys; from kerastrain.cli import app; app(sys.argv[1:], standalone_mode=False); print(*sys.modules)"
    words = [sys.executable, "-c", code, "check", "data.path=digits"]
    printed = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    slow = {"scipy.stats", "scipy.special", "pandas", "sklearn", "matplotlib", "tensorflow", "keras"}
    assert "fine_tune" in printed
    assert not slow & set(printed.splitlines()[-1].split())
