"""kill -9 at seeded moments of real trainings: what goes on ends with the bits of what was never killed."""

import os
import shutil

import kills
import pytest


@pytest.mark.slow
@pytest.mark.multi_worker
@pytest.mark.parametrize("program", ["run", "replicas"])
def test_a_training_that_is_killed_ends_bit_equal_and_no_file_is_torn(tmp_path, monkeypatch, prepared, program):
    monkeypatch.setitem(os.environ, "TF_CPP_MIN_LOG_LEVEL", "3")
    if program == "run":
        shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    tally = kills.campaign(program, 3, seed=0, place=tmp_path)
    assert tally["time"] + tally["file operation"] == 3
    assert tally["ended equal"] >= 1
