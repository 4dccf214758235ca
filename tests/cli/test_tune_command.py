"""What `kerastrain tune` says and refuses, as a user types it."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time

import commands
import processes
import pytest
import yaml

from kerastrain import config as configs
from kerastrain.cli import settings

SMALL = ["data.image_size=[8, 8]", "fit.head_epochs=2", "fit.epochs=0", "fit.global_batch_size=256"]
RATES = "space.optimizer.learning_rate=[0.001, 0.01, 1e38]"


@pytest.fixture
def kerastrain(tmp_path, monkeypatch, capsys):
    """The command line in this process, for what trains nothing."""
    monkeypatch.chdir(tmp_path)
    return commands.runner(monkeypatch, capsys, "tune")


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A folder with a search of three trials, of which one fails, and what was printed."""
    place = tmp_path_factory.mktemp("search")
    done = processes.kerastrain(place, "tune", "algorithm=grid", RATES, *SMALL, "--out", "my search")
    assert done.stderr == ""
    return place, done.stdout


REFUSED = [
    (["--workers", "0"], "`workers` must be at least 1"),
    (["--workers", "9999"], "at most the number of cores"),
    (["space.model.dropot=[0.1, 0.2]"], "model.dropot: unknown key 'dropot'.*Did you mean 'dropout'"),
    (["space.model.dropout=[2, 3]"], "model.dropout: must be a number of at least 0 and below 1. Received: 2"),
    (["space={}"], "the space must contain at least one key"),
    (["constraints=[model.dropout > 5]"], "no point of the space meets 'model.dropout > 5'"),
    (["objective=validation.acuracy"], "unknown measure 'validation.acuracy'.*Did you mean 'validation.accuracy'"),
    (["objective=test.accuracy"], "models are compared on the validation part"),
    (["algorithm=grid"], "grid needs a step or a list of choices"),
    (["algorithm=hyperband", "fit.head_epochs=0", "fit.epochs=1"], "hyperband needs trials of at least 2 epochs"),
    (["data.path=flowers"], "flowers"),
    (["data.folds=5", "data.fold=all"], "data.fold"),
    (["--trials", "3"], "Settings are written without dashes: trials=3"),
    (["trails=3"], "Did you mean 'trials'"),
    (["nothing.yaml"], "there is no config file 'nothing.yaml'"),
    (["--out", "used"], "'used' exists already and is not overwritten"),
    (["--out", "file/search"], "'file/search' cannot be created: 'file' is a file"),
    (["--out", "a", "--resume", "b"], "Give one of them"),
    (["--resume", "nowhere"], "there is no search in 'nowhere'"),
    (["--resume", "used"], "'used' is not the folder of a search"),
    (["seeds=0"], "seeds"),
    (["--retrain", "objective=[validation.accuracy, model.parameters]"], "--retrain needs a single best trial"),
    (["--retrain", "data.folds=5"], "--retrain needs a validation part that is no fold"),
]


@pytest.mark.slow
def test_what_cannot_be_searched_is_one_sentence_before_tensorflow_starts(tmp_path):
    script = f"""
import contextlib, io, os, re, sys
from kerastrain import cli
os.mkdir("used")
open("file", "w").close()
for arguments, sentence in {REFUSED!r}:
    sys.argv = ["kerastrain", "tune", *arguments]
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        try:
            cli.main()
        except SystemExit as end:
            assert end.code == 2, (arguments, end.code)
    assert re.search(sentence, errors.getvalue(), re.DOTALL), (arguments, errors.getvalue())
    assert errors.getvalue().startswith("kerastrain: "), (arguments, errors.getvalue())
    assert "Traceback" not in errors.getvalue(), arguments
sys.argv = ["kerastrain", "tune", "--dry-run", "--workers", str(min(2, len(os.sched_getaffinity(0))))]
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    cli.main()
assert "tensorflow" not in sys.modules
assert sorted(os.listdir()) == ["file", "used"], os.listdir()
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_dry_run_describes_the_search_and_prints_a_file_that_repeats_it(kerastrain, tmp_path):
    (tmp_path / "digits").mkdir()  # of which a message says that it is not the bundled data set
    printed, _ = kerastrain("trials=7", "space.model.dropout=[0, 0.2]", "--dry-run", "--workers", "1")
    assert {line for line in printed.splitlines() if line.startswith("# ")} >= {
        "# search      random, 7 trials",
        "# objective   validation.accuracy, highest is best, best epoch of each trial",
        "# space       model.dropout                    0, 0.2",
        "# examples: 1,259 train, 359 validation, 179 test",
        "# each trial  40 epochs: 30 of head and 10 of fine_tune",
    }
    (tmp_path / "search.yaml").write_text(printed)
    again, _ = kerastrain("search.yaml", "--dry-run")
    assert yaml.safe_load(again) == yaml.safe_load(printed)
    assert yaml.safe_load(printed)["trials"] == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits", "search.yaml"]


@pytest.mark.slow
def test_a_search_prints_a_line_for_each_start_and_end_and_the_table_best_first(searched):
    _, printed = searched
    lines = printed.splitlines()
    assert sum(bool(re.fullmatch(r"trial \d of 3 starts: optimizer.learning_rate=\S+", line)) for line in lines) == 3
    assert sum(bool(re.match(r"trial \d of 3: validation.accuracy 0\.\d{4} \(best", line)) for line in lines) == 2
    assert not re.search(r"epoch \d/\d", printed)
    rows = [line.split() for line in lines if re.match(r" +[12] +0\.\d{4} ", line)]
    assert [float(row[1]) for row in rows] == sorted((float(row[1]) for row in rows), reverse=True)
    assert rows[0][-1] == "best"


@pytest.mark.slow
def test_a_trial_that_fails_is_a_sentence(searched):
    _, printed = searched
    (line,) = re.findall(r"^trial 3 of 3 failed: .*$", printed, re.MULTILINE)
    assert "NaN or infinity at step 1" in line
    assert re.search(r"^failed  trial 3: NaN or infinity at step 1 ", printed, re.MULTILINE)
    assert not re.search(r"Traceback|WARNING|^[IWEF]\d{4} ", printed, re.MULTILINE)


@pytest.mark.slow
def test_the_printed_command_trains_the_winner(searched, monkeypatch, capsys):
    place, printed = searched
    (command,) = re.findall(r"^train it    (.*)$", printed, re.MULTILINE)
    program, verb, *words = shlex.split(command)
    assert (program, verb) == ("kerastrain", "train")
    monkeypatch.chdir(place)
    best = configs.load("my search/best.yaml")
    assert configs.load(*settings.divide(words)) == best
    assert best.optimizer.learning_rate in (0.001, 0.01)


@pytest.mark.slow
def test_a_finished_search_is_printed_again_and_trains_nothing(searched, kerastrain, monkeypatch):
    place, printed = searched
    monkeypatch.chdir(place)
    again, _ = kerastrain("--resume", "my search")
    assert again.startswith("the search in 'my search' is finished\n")
    assert again.splitlines()[-6:] == printed.splitlines()[-6:]
    same, _ = kerastrain("algorithm=grid", RATES, *SMALL, "--resume", "my search")
    assert same == again
    _, error = kerastrain("algorithm=grid", RATES, *SMALL, "fit.epochs=1", "trials=2", "--resume", "my search", code=2)
    assert "Received: other values of trials, fit.epochs." in error


@pytest.mark.slow
def test_a_search_in_which_every_trial_fails_exits_with_1_and_the_first_reason(tmp_path):
    rates = "space.optimizer.learning_rate=[1e37, 1e38]"
    done = processes.kerastrain(tmp_path, "tune", "algorithm=grid", rates, *SMALL, "--out", "search", code=1)
    assert re.match(r"kerastrain: no trial of the search completed. The first one failed with: .*NaN", done.stderr)
    assert "failed  trials 1, 2: " in done.stdout
    assert not (tmp_path / "search" / "best.yaml").exists()


@pytest.mark.slow
def test_a_search_that_is_stopped_says_how_it_is_resumed_and_is(tmp_path):
    words = ["tune", "algorithm=grid", "space.optimizer.learning_rate=[0.001, 0.01, 0.1]", *SMALL, "--out", "search"]
    streams = [tmp_path / "stdout", tmp_path / "stderr"]
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    process = processes.server().Process(target=processes._command, args=(tmp_path, words, environment, streams))
    process.start()
    while process.is_alive() and not (streams[0].is_file() and "trial 1 of 3 starts" in streams[0].read_text()):
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    process.join()
    printed = streams[0].read_text()
    assert process.exitcode == 75, printed + streams[1].read_text()
    assert printed.endswith("resume with: kerastrain tune --resume search\n")
    assert "stopped by SIGTERM" in printed
    resumed = processes.kerastrain(tmp_path, "tune", "--resume", "search").stdout
    # Where the machine stands still for a moment, trials end before the signal comes.
    ended = re.findall(r"^trial (\d) of 3: validation.accuracy ", printed + resumed, re.MULTILINE)
    assert ended == ["1", "2", "3"]
    assert f"trial {ended[-1]} of 3: " in resumed
    assert "train it    kerastrain train " in resumed
