"""The wheel: built here, installed beside what it requires and nothing else, used from another folder."""

import ast
import configparser
import csv
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections import defaultdict
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = Path(sysconfig.get_path("purelib"))
NAMED_OTHERWISE = {"mlflow": "mlflow-skinny"}  # distributions that need not be installed here


def call(*command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files_below(folder):
    paths = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(folder).as_posix() for path in paths}


def required(*extras):
    """The canonical names of what setup.cfg requires on this Python, for the extras as well."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = config["options"]["install_requires"].splitlines()
    for extra in extras:
        lines += config["options.extras_require"][extra].splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(each.name) for each in requirements if not each.marker or each.marker.evaluate()}


def with_dependencies(names):
    """The installed distributions of these names, and of all that they require themselves."""
    distributions, left = {}, list(names)
    while left:
        name = left.pop()
        if name not in distributions:
            distributions[name] = importlib.metadata.distribution(name)
            requirements = map(Requirement, distributions[name].requires or ())
            left += [
                canonicalize_name(each.name)
                for each in requirements
                if not each.marker or each.marker.evaluate({"extra": ""})
            ]
    return distributions


def link(distributions, folder):
    """Links the files of distributions into a folder of packages, as pip would copy them there."""
    files = {each.name: recorded(each) for each in importlib.metadata.distributions(path=[str(PACKAGES)])}
    owners = defaultdict(set)  # of each file and folder: distributions share folders such as google/
    for name, paths in files.items():
        for path in paths:
            for end in range(1, len(path) + 1):
                owners[path[:end]].add(name)
    linked = set()
    for each in distributions.values():
        for path in files[each.name]:
            whole = next(path[:end] for end in range(1, len(path) + 1) if len(owners[path[:end]]) == 1)
            if whole not in linked:
                linked.add(whole)
                folder.joinpath(*whole).parent.mkdir(parents=True, exist_ok=True)
                folder.joinpath(*whole).symlink_to(PACKAGES.joinpath(*whole))


def recorded(distribution):
    """The files of a distribution below the folder of packages, each as a tuple of names."""
    rows = csv.reader((distribution.read_text("RECORD") or "").splitlines())
    paths = [tuple(name.split("/")) for name, *_ in rows]
    return [path for path in paths if path[0] != ".." and "__pycache__" not in path]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy of the tree, by the setuptools that are here: an earlier build would leave its files to a later one."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("kerastrain", "saved_models"):
        shutil.copytree(ROOT / name, folder / "tree" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "tree")
    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, folder / "tree")
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_package_and_no_other(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {f"kerastrain/{name}" for name in files_below(ROOT / "kerastrain")}
    expected |= {f"kerastrain/saved_models/{name}" for name in files_below(ROOT / "saved_models") if "/" in name}
    assert names == expected
    data = {"py.typed", "report/page.html", "saved_models/fractal_small/variables/variables.index"}
    assert {f"kerastrain/{name}" for name in data} <= names


@pytest.mark.slow
def test_the_installed_wheel_runs_the_main_job_from_another_folder(wheel, tmp_path):
    """The environment holds what setup.cfg requires, with what that requires, and nothing else that is installed here."""
    call(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    link(with_dependencies(required()), packages)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    call(*pip, "install", "--quiet", "--no-index", "--no-deps", wheel)
    call(*pip, "check")
    place = tmp_path / "elsewhere"
    place.mkdir()
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    environment.pop("PYTHONPATH", None)
    options = {"cwd": place, "env": environment}
    script = """
import importlib, pkgutil
import kerastrain
from kerastrain.system import isolated_imports
libraries = ("tensorflow_hub", "tfmot", "keras_tuner", "tf_keras_vis")
print([getattr(isolated_imports, name)().__name__ for name in libraries])
for module in pkgutil.walk_packages(kerastrain.__path__, "kerastrain."):
    if not module.name.endswith(("__main__", "_program")):
        importlib.import_module(module.name)
for name in ("pkg_resources", "pytest", "pyarrow", "onnx"):
    assert importlib.util.find_spec(name) is None, name
print(kerastrain.__file__)
"""
    printed = call(python, "-c", script, **options).splitlines()
    assert printed[-2].count("'") == 8
    assert str(tmp_path) in printed[-1]
    command = tmp_path / "venv" / "bin" / "kerastrain"
    quick = ["fit.head_epochs=10", "fit.epochs=1", "export.formats=[tflite_int8]"]
    call(command, "train", *quick, "--run", "run", **options)
    metrics = json.loads((place / "run" / "metrics.json").read_text())
    assert metrics["test"]["accuracy"] > 0.8
    assert (place / "run" / "exports" / "model_int8.tflite").is_file()


def imported(path):
    """The modules that a file imports anywhere in it, with the extra that each needs, or None."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    shared = [node.value for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module, None
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("need"):
            keywords = {keyword.arg: keyword.value for keyword in node.keywords}
            if None in keywords:  # **_PURPOSE, a dict of the module
                keywords |= {
                    ast.literal_eval(key): value
                    for each in shared
                    for key, value in zip(each.keys, each.values, strict=True)
                    if key is not None
                }
            if isinstance(node.args[0], ast.Constant):
                yield node.args[0].value, ast.literal_eval(keywords["extra"])
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            first = node.args[0].values[0] if isinstance(node.args[0], ast.JoinedStr) else node.args[0]
            if isinstance(first, ast.Constant):
                yield first.value, None


def test_everything_imported_is_required():
    distributions, missing, seen = importlib.metadata.packages_distributions(), set(), set()
    for path in sorted((ROOT / "kerastrain").rglob("*.py")):
        for module, extra in imported(path):
            top = module.partition(".")[0]
            if top in sys.stdlib_module_names or top == "kerastrain":
                continue
            names = {canonicalize_name(name) for name in distributions.get(top, [NAMED_OTHERWISE.get(top, top)])}
            seen.add((top, extra))
            if not names & required(*([extra] if extra else [])):
                missing.add((path.relative_to(ROOT).as_posix(), module, extra))
    assert not missing
    assert {("keras", None), ("tensorflow_hub", None), ("pyarrow", "parquet")} <= seen
