"""Imports run downward only: every module sees those above it in this table, its own package, and nothing else."""

import ast
from pathlib import Path

import kerastrain

PACKAGE = Path(kerastrain.__file__).parent
LEVELS = [
    {"errors", "tasks"},
    {"archives", "durations", "extras", "files", "freed_memory", "signals", "terminal"},
    {"drawing", "tpe"},
    {"optimizer_arguments", "schedules"},
    {"config", "trust"},
    {"ecosystem", "runtime"},
    {"wrapping"},
    {"distribute", "hub_modules"},
    {"checkpoints"},
    {"hub_calls"},
    {"hub_source"},
    {"hub_layer"},
    {
        "applications",
        "data",
        "freezing",
        "heads",
        "layer_rates",
        "memory",
        "quantized_layers",
        "schedule_free",
        "text_layers",
    },
    {"bad_numbers"},
    {"callbacks", "cutting", "evaluation", "lora", "optimizers"},
    {"model_files"},
    {"backbone_loading", "text_backbones"},
    {"backbones"},
    {"models"},
    {"compress", "explain", "export", "finders", "report", "testing", "tuning"},
    {"plan", "runs"},
    {"recipe"},
    {"ladder"},
    {"finished", "search"},
    {"cli"},
    {"__main__"},
]
SEE_CONFIG = {"plan", "runs", "recipe", "ladder", "finished", "search", "cli", "config"}
NO_TENSORFLOW = {
    "__init__",
    "archives",
    "errors",
    "extras",
    "files",
    "freed_memory",
    "durations",
    "config",
    "drawing",
    "optimizer_arguments",
    "plan",
    "signals",
    "cli",
    "tasks",
    "terminal",
}


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path, path.relative_to(PACKAGE).with_suffix("").parts


def imported(path, everywhere):
    """Dotted names imported by a module: everywhere in it, or when it is imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = ast.walk(tree) if everywhere else tree.body
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def level(name):
    return next(number for number, names in enumerate(LEVELS) if name in names)


def test_every_module_stands_in_the_table():
    assert {parts[0] for _, parts in modules()} - {"__init__"} == set.union(*LEVELS)


def test_every_import_runs_downward():
    wrong = []
    for path, (family, *_) in modules():
        if family == "__init__":
            continue
        for name in imported(path, everywhere=True):
            root, _, rest = name.partition(".")
            target = rest.split(".")[0]
            if root == "kerastrain" and target not in ("", "__version__", family) and level(target) >= level(family):
                wrong.append(f"{family} imports {target}")
    assert not wrong


def test_parts_and_tools_never_see_a_config():
    wrong = [
        str(path)
        for path, (family, *_) in modules()
        if family not in SEE_CONFIG
        and any(name.startswith("kerastrain.config") for name in imported(path, everywhere=True))
    ]
    assert not wrong


def test_what_answers_without_tensorflow_does_not_import_it():
    wrong = [
        str(path)
        for path, (family, *_) in modules()
        if family in NO_TENSORFLOW
        and any(name.split(".")[0] in ("tensorflow", "keras") for name in imported(path, everywhere=False))
    ]
    assert not wrong


def test_only_ecosystem_imports_the_four_libraries():
    names = ("tensorflow_hub", "tensorflow_model_optimization", "keras_tuner", "tf_keras_vis")
    wrong = [
        str(path)
        for path, (family, *_) in modules()
        if family != "ecosystem" and any(name.startswith(names) for name in imported(path, everywhere=True))
    ]
    assert not wrong
