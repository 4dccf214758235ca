"""Writes questions and answers about Python's standard library, from the docstrings that ship with the interpreter.

    python examples/language/make_data.py qa.jsonl [--most 400]

Each line is {"prompt": "What does `math.gcd` do?", "response": "Greatest Common Divisor."}: the first paragraph of a
docstring, in one line. The order is the same on every machine; the texts differ a little between versions of Python.
"""

import argparse
import hashlib
import importlib
import inspect
import json
import platform
from pathlib import Path

MODULES = (
    "base64",
    "bisect",
    "calendar",
    "cmath",
    "collections",
    "colorsys",
    "copy",
    "csv",
    "datetime",
    "decimal",
    "difflib",
    "fractions",
    "functools",
    "glob",
    "gzip",
    "heapq",
    "html",
    "itertools",
    "json",
    "keyword",
    "locale",
    "math",
    "operator",
    "os",
    "os.path",
    "pathlib",
    "pprint",
    "random",
    "re",
    "secrets",
    "shlex",
    "shutil",
    "statistics",
    "string",
    "struct",
    "tempfile",
    "textwrap",
    "time",
    "types",
    "unicodedata",
    "urllib.parse",
    "uuid",
    "zlib",
)
CLASSES = (str, list, dict, set, tuple, bytes, int, float)
SHORTEST, LONGEST = 20, 240  # characters of an answer


def functions():
    """Yields (dotted name, object) of functions and methods with a docstring."""
    builtins = importlib.import_module("builtins")
    for name, value in sorted(vars(builtins).items()):
        if name.islower() and inspect.isbuiltin(value):
            yield name, value
    for owner in CLASSES:
        for name, value in sorted(vars(owner).items()):
            if not name.startswith("_") and callable(value):
                yield f"{owner.__name__}.{name}", value
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in sorted(getattr(module, "__all__", None) or vars(module)):
            value = getattr(module, name, None)
            if not name.startswith("_") and inspect.isroutine(value):
                yield f"{module_name}.{name}", value


def answer(value):
    """The first paragraph of a docstring without its signature, in one line; None if it is too short or too long."""
    paragraphs = [" ".join(part.split()) for part in (inspect.getdoc(value) or "").split("\n\n")]
    sentences = [text for text in paragraphs if text and not text.partition("(")[0].replace(".", "").isidentifier()]
    text = sentences[0] if sentences else ""
    return text if SHORTEST <= len(text) <= LONGEST and text.isascii() else None


def main():
    """Writes the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--most", type=int, default=400)
    options = parser.parse_args()
    rows = {}
    for name, value in functions():
        text = answer(value)
        if text and text not in rows.values():
            rows[name] = text
    names = sorted(rows, key=lambda name: hashlib.sha256(name.encode()).digest())[: options.most]
    lines = [json.dumps({"prompt": f"What does `{name}` do?", "response": rows[name]}) for name in names]
    options.file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{options.file}: {len(lines)} questions and answers about Python {platform.python_version()}")


if __name__ == "__main__":
    main()
