"""docs/architecture.md names rooms, levels, functions and files that exist."""

import importlib
import re
from pathlib import Path

import test_layers

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_table_of_rooms_is_the_one_that_imports_are_checked_against():
    rows = re.findall(r"^\| (\d+) \| (.+?) \|", TEXT, re.MULTILINE)
    table = {name: int(level) for level, names in rows for name in re.findall(r"`(\w+)(?:/|\.py)`", names)}
    assert table == {room: level for room, level in test_layers.LEVELS.items() if room != "__main__"}


def test_every_function_of_the_walk_exists():
    names = set(re.findall(r"`((?!tf\.|keras\.|model\.)[a-z_]+(?:\.[a-zA-Z_]+)+)`", TEXT))
    functions = {name for name in names if not re.search(r"\.(py|md|json|txt|yaml|html|keras)$", name)}
    assert len(functions) > 25
    for name in functions:
        found = importlib.import_module("kerastrain")
        for part in name.removeprefix("kerastrain.").split("."):
            # Modules of a package are attributes only after they have been imported.
            path = f"{found.__name__}.{part}"
            found = getattr(found, part) if hasattr(found, part) else importlib.import_module(path)


def test_every_file_of_the_page_exists():
    for name in re.findall(r"`([a-z_0-9]+/[a-z_0-9/.]*)`", TEXT):
        homes = (ROOT, ROOT / "kerastrain", ROOT / "kerastrain" / "data")
        assert any((home / name).exists() for home in homes), name
