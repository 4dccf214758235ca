"""Imports run downward only: a room imports rooms of lower levels, and itself."""

import ast
from pathlib import Path

import kerastrain

PACKAGE = Path(kerastrain.__file__).parent
LEVELS = {
    "errors": 0,
    "decoding": 1,
    "system": 1,
    "tasks": 1,
    "durations": 2,
    "keras_internals": 2,
    "objectives": 2,
    "tokenization": 2,
    "hub": 3,
    "layers": 3,
    "presets": 3,
    "runtime": 3,
    "schedules": 3,
    "tracing": 3,
    "train_step": 3,
    "tuning": 3,
    "diagnosis": 4,
    "distribute": 4,
    "evaluation": 4,
    "explain": 4,
    "losses": 4,
    "memory": 4,
    "optimizers": 4,
    "transfer": 4,
    "checkpoints": 5,
    "config": 5,
    "data": 5,
    "saving": 5,
    "backbones": 6,
    "callbacks": 6,
    "finders": 6,
    "report": 6,
    "testing": 6,
    "tracking": 7,
    "compress": 7,
    "language": 7,
    "models": 7,
    "export": 8,
    "run_directory": 8,
    "compression_search": 9,
    "recipe": 10,
    "cli": 11,
    "__main__": 12,
}
SEE_CONFIG = {"config", "run_directory", "compression_search", "recipe", "cli"}
NO_TENSORFLOW = {
    "__init__",
    "cli",
    "config",
    "data.__init__",
    "decoding",
    "distribute.__init__",
    "durations",
    "errors",
    "evaluation.catalog",
    "evaluation.measure_names",
    "hub.bundled",
    "hub.handles",
    "keras_internals.kerashub_presets",
    "language.__init__",
    "language.conversations",
    "language.corpus",
    "language.documents",
    "language.forms",
    "language.messages",
    "language.sequences",
    "language.templates",
    "language.token_texts",
    "objectives",
    "optimizers.__init__",
    "optimizers.arguments",
    "presets",
    "recipe.__init__",
    "recipe.compared_files",
    "recipe.comparing",
    "recipe.fold_plan",
    "recipe.inputs",
    "recipe.language_data",
    "recipe.language_requirements",
    "recipe.monitors",
    "recipe.networks",
    "recipe.plan",
    "recipe.requirements",
    "recipe.search_files",
    "recipe.search_objectives",
    "recipe.search_requirements",
    "recipe.search_space",
    "recipe.starting_run",
    "recipe.trial_config",
    "recipe.user_function",
    "report",
    "schedules.__init__",
    "system",
    "tasks",
    "tokenization",
    "tracking.__init__",
    "tracking.contents",
    "tracking.figures",
    "tracking.mlflow_tracker",
    "tracking.tracked_run",
    "tracking.wandb_tracker",
    "tuning.__init__",
    "tuning.constraints",
    "tuning.hyperparameters",
    "tuning.importance",
    "tuning.parameters",
    "tuning.recorded_space",
    "tuning.space",
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


def test_every_room_has_a_level():
    assert {parts[0] for _, parts in modules()} - {"__init__"} == set(LEVELS)


def test_every_import_runs_downward():
    wrong = []
    for path, (family, *_) in modules():
        if family == "__init__":
            continue
        for name in imported(path, everywhere=True):
            root, _, rest = name.partition(".")
            target = rest.split(".")[0]
            if root == "kerastrain" and target not in ("", "__version__", family) and LEVELS[target] >= LEVELS[family]:
                wrong.append(f"{path}: {family} imports {target}")
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
        for path, parts in modules()
        if {parts[0], ".".join(parts)} & NO_TENSORFLOW
        and any(name.split(".")[0] in ("tensorflow", "keras") for name in imported(path, everywhere=False))
    ]
    assert not wrong


def test_only_isolated_imports_imports_the_four_libraries():
    names = ("tensorflow_hub", "tensorflow_model_optimization", "keras_tuner", "tf_keras_vis")
    wrong = [
        str(path)
        for path, parts in modules()
        if parts != ("system", "isolated_imports")
        and any(name.startswith(names) for name in imported(path, everywhere=True))
    ]
    assert not wrong
