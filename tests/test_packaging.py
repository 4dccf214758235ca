"""The wheel: built here, installed into an empty environment with the newest setuptools, used from another folder."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def call(*command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    call(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT)
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_what_the_main_job_needs(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "kerastrain").rglob("*.py")}
    assert modules <= names
    data = {"py.typed", "report/page.html", "saved_models/fractal_small/saved_model.pb"}
    assert {f"kerastrain/{name}" for name in data} <= names
    assert not [name for name in names if name.startswith(("tests", "examples", "saved_models"))]


@pytest.mark.slow
def test_the_installed_wheel_runs_the_main_job_from_another_folder(wheel, tmp_path):
    call(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    constraints = ("--constraint", ROOT / "constraints.txt")
    call(python, "-m", "pip", "install", "--quiet", *constraints, wheel)
    call(python, "-m", "pip", "install", "--quiet", "--upgrade", "setuptools")
    place = tmp_path / "elsewhere"
    place.mkdir()
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    environment.pop("PYTHONPATH", None)
    options = {"cwd": place, "env": environment}
    script = """
from kerastrain.system import isolated_imports
print([isolated_imports.tensorflow_hub().__name__, isolated_imports.tfmot().__name__, isolated_imports.keras_tuner().__name__,
       isolated_imports.tf_keras_vis().__name__])
import importlib.util, kerastrain
assert importlib.util.find_spec("pkg_resources") is None
print(kerastrain.__file__)
"""
    printed = call(python, "-c", script, **options).splitlines()
    assert printed[-2].count("'") == 8
    assert str(tmp_path) in printed[-1]
    command = tmp_path / "venv" / "bin" / "kerastrain"
    call(
        command,
        "train",
        "fit.head_epochs=10",
        "fit.epochs=1",
        "export.formats=[tflite_int8]",
        "--run",
        "run",
        **options,
    )
    metrics = json.loads((place / "run" / "metrics.json").read_text())
    assert metrics["test"]["accuracy"] > 0.8
    assert (place / "run" / "exports" / "model_int8.tflite").is_file()
