"""What the README and examples/ show is run as it stands."""

import operator
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

import kerastrain as kt
from kerastrain import cli, config, testing
from kerastrain.cli import search_arguments
from kerastrain.recipe import search_space

ROOT = Path(__file__).resolve().parent.parent


def python(place, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(place / "state")}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_quickstart_walks_the_road_on_a_folder(tmp_path):
    folder = testing.colour_folder(tmp_path / "colours", count=40)
    printed = python(tmp_path, ROOT / "examples" / "quickstart.py", folder)
    assert "accuracy 1.0000" in printed
    assert (tmp_path / "quickstart" / "model.tflite").is_file()


@pytest.mark.slow
def test_the_script_in_the_readme_runs(tmp_path):
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    printed = python(tmp_path, "-c", block)
    accuracy, parity = printed.splitlines()[-2:]
    assert float(accuracy) > 0.9
    assert parity.startswith("digits.tflite")


@pytest.mark.chaos
def test_remedies_against_overfitting_close_the_gap(tmp_path):
    printed = python(tmp_path, ROOT / "examples" / "overfitting.py", "--epochs", 30)
    gaps = {row.split(" | ")[0][2:]: float(row.split(" | ")[3]) for row in printed.splitlines()[2:]}
    remedies = ["L1", "L2", "dropout", "stochastic depth", "less capacity", "label smoothing", "early stopping"]
    assert [*gaps] == ["none", *remedies, "augmentation", "L2 + dropout + augmentation"]
    assert not {name: gap for name, gap in gaps.items() if name != "none" and gap >= 0.7 * gaps["none"]}


@pytest.mark.parametrize("name", ["data", "training"])
def test_configs_in_the_docs_are_valid(name, tmp_path):
    text = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    sections = "data|fine_tune|fit|model|optimizer|schedule"
    written = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) + re.findall(rf"`((?:{sections}): {{.*?}})`", text)
    assert written
    for number, block in enumerate(written):
        (tmp_path / f"{number}.yaml").write_text(block, encoding="utf-8")
        config.load(tmp_path / f"{number}.yaml")
    lines = [line for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    assert lines
    for line in lines:
        config.load(overrides=[word for word in shlex.split(line, comments=True) if re.match(r"\w+\.\w+.*=", word)])


def tune_lines(text):
    """The commands `kerastrain tune` of a page, from its blocks and its tables."""
    blocks = "".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL))
    lines = re.findall(r"^kerastrain tune .*$", blocks, re.MULTILINE) + re.findall(r"`(kerastrain tune [^`]*)`", text)
    return [shlex.split(line, comments=True)[2:] for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/tuning.md", "docs/questions.md", "examples/tuning/README.md"])
def test_searches_on_every_page_are_valid(page, tmp_path, monkeypatch):
    text = (ROOT / page).read_text(encoding="utf-8")
    searches = [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "space:" in block]
    for number, block in enumerate(searches):
        (tmp_path / f"{number}.yaml").write_text(block, encoding="utf-8")
        given = search_arguments.read([str(tmp_path / f"{number}.yaml")])
        search_space.check(given.config, given.search)
    for name in ("search.yaml", "recipe.yaml"):
        shutil.copyfile(ROOT / "examples" / "tuning" / name, tmp_path / name)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    lines = tune_lines(text)
    assert lines
    for words in lines:
        words = words[: words.index("|")] if "|" in words else words[: words.index(">")] if ">" in words else words
        given = get_command(cli.app).commands["tune"].make_context("tune", words).params
        has_function = given["build"] is not None
        search, config, _ = search_arguments.read(given["arguments"] or [], has_function=has_function)
        if not has_function:
            search_space.check(config, search)


def test_every_answer_to_a_question_is_there():
    text = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
    rows = [row.split(" | ") for row in text.splitlines() if row.startswith("| ") and "kerastrain train …" not in row]
    assert len(rows) > 25
    for _, line, in_python, more in rows:
        config.load(
            overrides=[
                word
                for word in shlex.split(line.replace("`", " "))
                if re.match(r"[a-z_]+\.\w+=", word) and "compress RUN" not in line
            ]
        )
        for name in re.findall(r"`([a-z]+(?:\.\w+)+)", in_python):
            assert operator.attrgetter(name)(kt), name
        for place in re.findall(r"\]\((.*?)\)", more):
            assert (ROOT / "docs" / place).is_file(), place


@pytest.mark.slow
@pytest.mark.parametrize(("name", "printed"), [("data", "(32, 32, 32, 3) (32, 10)"), ("training", "[0.00047")])
def test_scripts_in_the_docs_run(name, printed, tmp_path):
    text = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert printed in python(tmp_path, "-c", block)


@pytest.mark.slow
def test_the_search_of_a_function_in_the_docs_runs(tmp_path):
    text = (ROOT / "docs" / "tuning.md").read_text(encoding="utf-8")
    (block,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "tuning.search(" in block]
    score, values = python(tmp_path, "-c", block).split(maxsplit=1)
    assert -0.01 < float(score) <= 0
    assert values.startswith("{'x': ")


def test_every_verb_of_the_command_line_stands_in_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    verbs = [command.name or command.callback.__name__ for command in cli.app.registered_commands]
    missing = [verb for verb in verbs if f"kerastrain {verb}" not in readme]
    assert not missing
