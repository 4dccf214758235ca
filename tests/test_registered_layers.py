"""Whatever opens `.keras` files knows every layer of kerastrain, also where nothing else has been imported."""

import ast
from pathlib import Path

import kerastrain

PACKAGE = Path(kerastrain.__file__).parent


def test_saving_imports_every_module_that_registers_layers():
    registering = {
        path.stem for path in (PACKAGE / "layers").glob("*.py") if "register_keras_serializable" in path.read_text()
    }
    tree = ast.parse((PACKAGE / "saving.py").read_text())
    imported = {
        alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module == "kerastrain.layers"
        for alias in node.names
    }
    assert registering
    assert registering <= imported
