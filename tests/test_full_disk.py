"""A disk that is full from some moment of a real run on: one sentence, nothing lost, and with room the run goes on."""

import os

import kills
import pytest


@pytest.mark.slow
@pytest.mark.multi_worker
def test_a_disk_that_fills_up_at_any_moment_of_a_run_costs_nothing_that_was_there(tmp_path, monkeypatch):
    monkeypatch.setitem(os.environ, "TF_CPP_MIN_LOG_LEVEL", "3")
    kills.prepare(tmp_path)
    said = kills.fill(tmp_path, 6, seed=0)
    assert len(said) >= 4  # a moment right before the end may find nothing more to make
    for words in said:
        assert "the disk is full" in words, words
        assert len(words.splitlines()) == 1
