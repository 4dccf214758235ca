"""Real signals and kills at moments of a real compression: nothing finished is lost, and it ends with the same bits."""

import contextlib
import functools
import json
import os
import shutil
import signal
import sys
import time
import zipfile

import kills
import processes
import pytest

SETTINGS = ["prune.epochs=2", "cluster.epochs=1", "calibration_counts=[4]"]


@pytest.fixture
def compressed(tmp_path, monkeypatch, prepared):
    """A function of a name, arguments, and a fault as of `kills.child`; gives exit code, number of file operations, words."""
    monkeypatch.setitem(os.environ, "TF_CPP_MIN_LOG_LEVEL", "3")
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    context = processes.server()

    def compress(name, *arguments, at=None, send=signal.SIGKILL, **fault):
        folder = tmp_path / name
        if not folder.exists():
            shutil.copytree(tmp_path / "run_whole", folder)
        count, words = context.Value("i", 0), tmp_path / f"{name}.words"
        writing = os.open(words, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        program = functools.partial(_compress, arguments=["compress", "run", *arguments], words=words)
        process = context.Process(target=kills.child, args=(program, folder, None, count), kwargs=fault)
        process.start()
        os.close(writing)
        if at is not None:
            with contextlib.suppress(ProcessLookupError):
                while process.is_alive() and not at(folder / "run"):
                    time.sleep(0.002)
                os.kill(process.pid, send)
        process.join()
        return process.exitcode, count.value, words.read_text()

    return compress


def _compress(folder, arguments, words):
    from kerastrain.cli import main

    processes.enter(dict(os.environ), [words, words])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    sys.argv = ["kerastrain", *arguments]
    main()


def exists(pattern):
    return lambda run: any((run / "compressed.unfinished").glob(pattern))


def contents(run):
    """The bytes of the files, and the record but for times and memory."""
    record = json.loads((run / "compressed/compression.json").read_text())
    for result in record["results"]:
        del result["time_ratio"], result["memory_ratio"]
    others = [path for path in (run / "compressed").iterdir() if path.suffix not in (".json", ".keras")]
    weights = {}
    for path in (run / "compressed").glob("*.keras"):
        with zipfile.ZipFile(path) as archive:
            weights[path.name] = kills._datasets(archive.read("model.weights.h5"))
    return record, {path.name: path.read_bytes() for path in others}, weights


@pytest.mark.slow
def test_a_compression_that_is_stopped_and_killed_goes_on_and_ends_with_the_same_bits(compressed, tmp_path):
    code, _, words = compressed("whole", *SETTINGS)
    assert code == 0, words
    moments = [
        (exists("records/baseline_float32.json"), signal.SIGINT, 75),
        (exists("checkpoints/pruned/*/manifest.json"), signal.SIGKILL, -9),
        (exists("pruned.keras"), signal.SIGTERM, 75),
        (exists("records/pruned_clustered_float32.json"), signal.SIGUSR1, 75),
    ]
    for at, number, expected in moments:
        code, _, words = compressed("cut", *SETTINGS, at=at, send=number)
        assert code == expected, words
        if expected == 75:
            assert f"stopped by {number.name}" in words
            assert "resume with: kerastrain compress --resume run" in words
        run = tmp_path / "cut/run"
        assert not (run / "compressed").exists()
        assert not [path.name for path in run.iterdir() if path.name.startswith(".")]
    done = len(list((run / "compressed.unfinished/records").glob("p*.json")))
    code, _, words = compressed("cut", "prune.epochs=3", "cluster.epochs=1")
    assert code == 2
    assert "prune.epochs=3 (in the unfinished one 2)" in words
    assert "kerastrain compress --resume run" in words
    code, _, words = compressed("cut", "--resume")
    assert code == 0, words
    assert f"{done + 1} candidates are done" in words
    assert "steps of" not in words  # nothing is trained again
    assert contents(run) == contents(tmp_path / "whole/run")
    assert not [path.name for path in run.iterdir() if "unfinished" in path.name or path.name.startswith(".")]
    code, _, words = compressed("cut", "--resume")
    assert code == 2
    assert "has no unfinished compression" in words
