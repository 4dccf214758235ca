"""The folder of a stopped run: when it can be resumed, and the error messages when it cannot."""

import contextlib
import os

import pytest

from kerastrain import config as configs
from kerastrain import run_directory
from kerastrain.errors import InputError
from kerastrain.system import files

CONFIG = configs.load(overrides=["fit.epochs=3"])


@pytest.fixture
def stopped(tmp_path):
    with run_directory.create(tmp_path / "run", CONFIG, data_sha256="abc"):
        files.write_text(run_directory.resume_folder(tmp_path / "run") / "000001" / "state.json", "{}")
    return tmp_path / "run"


def test_a_run_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(run_directory.runtime, "record", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError), run_directory.create(tmp_path / "run", CONFIG):
        pass
    assert os.listdir(tmp_path) == []


def test_a_stopped_run_says_how_to_go_on(stopped):
    with pytest.raises(
        FileExistsError,
        match=f"holds a run that has not finished. Resume it with `kerastrain train --resume {stopped}`",
    ):
        run_directory.refuse_existing(stopped)
    with pytest.raises(InputError, match="before its training finished. Resume it with `kerastrain train --resume"):
        run_directory.load(stopped)


def test_a_run_goes_on_with_its_own_config(stopped):
    own = configs.automatic.unmeasured(CONFIG)  # what a run of an earlier version left open
    assert run_directory.resumable(stopped) == run_directory.resumable(stopped, CONFIG) == own
    other = configs.load(overrides=["fit.epochs=5", "runtime.seed=1"])
    with pytest.raises(InputError, match=r"Received: fit.epochs=5 \(in the run 3\), runtime.seed=1 \(in the run 0\)"):
        run_directory.resumable(stopped, other)
    often = configs.load(overrides=["fit.epochs=3", "fit.checkpoint_every=10 steps", "fit.on_nonfinite=roll_back"])
    with run_directory.reopen(stopped, run_directory.resumable(stopped, often), data_sha256="abc"):
        assert run_directory.resumable(stopped).fit.checkpoint_every == "10 steps"


def test_a_run_goes_on_with_its_own_data(stopped):
    message = "a run can only be resumed with the data that it was started with. Received: at .*, files were added"
    with pytest.raises(InputError, match=message), run_directory.reopen(stopped, CONFIG, data_sha256="def"):
        pass


def test_a_damaged_record_of_a_run_is_named(stopped):
    (stopped / "environment.json").write_text('{"data_sha256": "ab')
    message = "environment.json' must hold JSON, as it was written. Received: a damaged file"
    with pytest.raises(InputError, match=message), run_directory.reopen(stopped, CONFIG, data_sha256="abc"):
        pass


def test_a_changed_backbone_is_refused_unless_it_is_trained_or_was_not_recorded(tmp_path):
    for recorded, now, is_refused in (
        ("abc", "def", True),
        ("abc", "abc", False),
        ("abc", None, False),
        (None, "a", False),
    ):
        run = tmp_path / f"{recorded}_{now}"
        with run_directory.create(run, CONFIG, backbone_sha256=recorded):
            pass
        refused = pytest.raises(
            InputError, match="the files of 'auto' have changed since .* was started. Restore them, or"
        )
        with (
            refused if is_refused else contextlib.nullcontext(),
            run_directory.reopen(run, CONFIG, backbone_sha256=now),
        ):
            pass


def test_what_a_killed_process_left_is_swept(stopped):
    (stopped / ".model.abcd1234.tmp").mkdir()
    with run_directory.reopen(stopped, CONFIG, data_sha256="abc"):
        assert not (stopped / ".model.abcd1234.tmp").exists()


def test_a_second_process_is_kept_out(stopped):
    first, second = (run_directory.reopen(stopped, CONFIG, data_sha256="abc") for _ in range(2))
    with first, pytest.raises(InputError, match="another process is training in"), second:
        pass


def test_a_finished_run_has_nothing_to_go_on_with(stopped):
    run_directory.finish(stopped, 1.23456)
    assert (stopped / "finished.json").read_text() == '{\n  "seconds": 1.235\n}\n'
    assert not run_directory.resume_folder(stopped).exists()
    with pytest.raises(InputError, match="is finished and cannot be resumed. Its model is '.*model.keras'"):
        run_directory.resumable(stopped)
    with pytest.raises(FileExistsError, match="exists already and is not overwritten"):
        run_directory.refuse_existing(stopped)


def test_no_run_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a run directory: it has no config.yaml"):
        run_directory.resumable(tmp_path / "none")


def test_a_run_below_a_file_is_one_sentence(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(FileExistsError, match=r"notes.txt/run' cannot be created: '.*notes.txt' is a file"):
        run_directory.refuse_existing(tmp_path / "notes.txt" / "run")
