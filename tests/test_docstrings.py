"""Every public function says what it takes, what it returns and what it raises."""

import ast
import re
from pathlib import Path

import pytest

import kerastrain

PACKAGE = Path(kerastrain.__file__).parent
ROOMS = sorted(path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists())
# Typer prints the docstring of a command as its help, and the help of each argument from its annotation.
ROOMS.remove("cli")
# Keras defines what these methods take and return.
OF_KERAS = re.compile(
    r"on_\w+|call|build|get_config|from_config|compute_\w+|(save|load)_own_variables|(save|load)_assets|"
    r"update_state|result|reset_state|(train|test|predict)_step|__call__|apply|update_step"
)


def functions(room):
    """(place, node, docstring, parameters) of the public functions and methods of a room, and of its public classes."""
    path = PACKAGE / room
    for file in sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                for method in node.body:
                    if isinstance(method, ast.FunctionDef) and not OF_KERAS.fullmatch(method.name):
                        # The docstring of a class describes what its constructor takes.
                        described = node if method.name == "__init__" else method
                        if method.name == "__init__" or not method.name.startswith("_"):
                            yield described_function(file, f"{node.name}.{method.name}", method, described)
            elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                yield described_function(file, node.name, node, node)


def described_function(file, name, function, described):
    place = f"{file.relative_to(PACKAGE.parent)}:{function.lineno} {name}"
    return place, function, ast.get_docstring(described) or "", parameters(function)


def parameters(function):
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    names = [argument.arg for argument in every if argument is not None]
    return [name for name in names if name not in ("self", "cls") and not name.startswith("_")]


def section(docstring, title):
    """The lines of one Google-style section."""
    found = re.search(rf"^{title}:(.*?)(?=^\S|\Z)", docstring, re.MULTILINE | re.DOTALL)
    return found.group(1) if found else ""


def raised(function):
    """Names of the exceptions that the function itself raises; what an `except` hands on again does not count."""
    inner = {
        id(below)
        for node in ast.walk(function)
        if isinstance(node, (ast.FunctionDef, ast.Lambda, ast.ClassDef)) and node is not function
        for below in ast.walk(node)
    }
    for node in ast.walk(function):
        if id(node) not in inner and isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            yield ast.unparse(node.exc.func).split(".")[-1]


@pytest.mark.parametrize("room", ROOMS)
def test_every_parameter_of_a_public_function_is_described(room):
    lacking = []
    for place, _, docstring, names in functions(room):
        described = section(docstring, "Args")
        missing = [name for name in names if not re.search(rf"^\s+\*{{0,2}}{name}\b", described, re.MULTILINE)]
        if missing:
            lacking.append(f"{place}: {', '.join(missing)}")
    assert not lacking, "\n".join(["`Args:` lacks", *lacking])


@pytest.mark.parametrize("room", ROOMS)
def test_every_error_that_a_public_function_raises_is_described(room):
    lacking = []
    for place, function, docstring, _ in functions(room):
        described = section(docstring, "Raises")
        missing = sorted({name for name in raised(function) if not re.search(rf"\b{name}\b", described)})
        if missing:
            lacking.append(f"{place}: {', '.join(missing)}")
    assert not lacking, "\n".join(["`Raises:` lacks", *lacking])


@pytest.mark.parametrize("room", ROOMS)
def test_every_value_that_a_public_function_returns_is_described(room):
    lacking = []
    for place, function, docstring, names in functions(room):
        returns = function.returns is not None and ast.unparse(function.returns) not in ("None", "bool", "str", "int")
        # Without parameters the one sentence says it all.
        if returns and names and not function.name.startswith("__"):
            told = section(docstring, "Returns") or section(docstring, "Yields")
            if not told and not any("property" in ast.unparse(mark) for mark in function.decorator_list):
                lacking.append(place)
    assert not lacking, "\n".join(["`Returns:` lacks", *lacking])
