"""The record of the machine in a run, and the output of `kerastrain doctor`."""

import json
import subprocess

import yaml
from typer.testing import CliRunner

from kerastrain import runtime
from kerastrain.cli import app


def git(folder, *arguments):
    author = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    subprocess.run(["git", *author, *arguments], cwd=folder, check=True, capture_output=True)


def test_the_record_says_which_commit_and_whether_files_differ_from_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert runtime.record()["git"] is None
    git(tmp_path, "init")
    (tmp_path / "recipe.yaml").write_text("fit: {epochs: 1}\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "one")
    clean = runtime.record()["git"]
    (tmp_path / "recipe.yaml").write_text("fit: {epochs: 2}\n")
    changed = runtime.record()["git"]
    assert len(clean["commit"]) == 40
    assert (clean["changed"], changed["changed"]) == (False, True)


def test_the_record_is_plain_and_names_command_and_processor(monkeypatch):
    monkeypatch.setattr("sys.argv", ["/usr/bin/kerastrain", "train", "data.path=my flowers"])
    record = runtime.record()
    assert record["command"] == "kerastrain train 'data.path=my flowers'"
    assert json.loads(json.dumps(record)) == record
    assert record["processor"].endswith("cores")


def test_doctor_prints_the_strategy_that_auto_would_take():
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    facts = yaml.safe_load(result.output)
    assert facts["strategy"] == {
        "auto": "none",
        "because": "the machine has no GPU, and one CPU device uses all cores",
    }
