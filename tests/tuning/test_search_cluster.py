import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import commands
import pytest

from kerastrain.errors import InputError
from kerastrain.tuning import cluster, heartbeats

NAMES = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")


def role(name="tuner0", address="127.0.0.1", port="7777"):
    return cluster.from_environment(dict(zip(NAMES, (name, address, port), strict=True)))


def test_without_the_variables_a_search_is_local():
    assert cluster.from_environment({"PATH": "/bin"}) is None


def test_the_chief_is_who_has_chief_in_its_id():
    assert role("chief").is_chief
    assert not role("tuner1").is_chief
    assert role("tuner1") == cluster.Role("tuner1", "127.0.0.1", 7777)
    assert role("tuner1").worker_ids(2) == ("tuner1.0", "tuner1.1")


@pytest.mark.parametrize("missing", NAMES)
def test_a_part_of_the_variables_is_refused_with_the_name_of_the_rest(missing):
    environment = dict.fromkeys(NAMES, "1")
    del environment[missing]
    with pytest.raises(InputError, match=f"Set {missing}, or unset the others"):
        cluster.from_environment(environment)


@pytest.mark.parametrize("port", ["http", "0", "65536", "-1", "70 00"])
def test_a_port_that_is_none_is_refused(port):
    with pytest.raises(InputError, match=f"from 1 to 65535. Received: '{port}'"):
        role(port=port)


@pytest.mark.parametrize("name", ["../tuner", "a/b", "..", "tuner 0"])
def test_an_id_that_cannot_name_a_file_is_refused(name):
    with pytest.raises(InputError, match=re.escape(repr(name))):
        role(name)


def test_a_chief_with_workers_is_refused(tmp_path):
    with pytest.raises(InputError, match="trains nothing. Received: --workers 2 and KERASTUNER_TUNER_ID=chief"):
        cluster.require(role("chief"), tmp_path, 2)
    cluster.require(role("tuner0"), tmp_path, 2)


def test_a_process_without_the_shared_folder_is_refused():
    with pytest.raises(InputError, match="Received: KERASTUNER_TUNER_ID=tuner0 without --out"):
        cluster.require(role("tuner0"), None, 1)


def test_a_search_leaves_the_cluster_that_slurm_or_kubeflow_describes():
    environment = {"TF_CONFIG": "{}", "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "1"}
    cluster.leave_training_cluster(environment)
    assert environment == {"SLURM_PROCID": "1"}


def test_a_port_in_use_is_refused_before_grpc_would_share_it(tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(
            InputError, match=f"cannot listen at 127.0.0.1:{port}: Address already in use. Choose another"
        ):
            cluster.require(role("chief", port=str(port)), tmp_path, 1)
    cluster.require(role("chief", port=str(port)), tmp_path, 1)


def test_an_address_of_another_machine_is_refused(tmp_path):
    with pytest.raises(InputError, match="Set KERASTUNER_ORACLE_IP to an address of this machine"):
        cluster.require(role("chief", address="192.0.2.1"), tmp_path, 1)


def test_a_worker_waits_for_the_folder_of_the_chief(tmp_path):
    with pytest.raises(InputError, match="tuner0 waited 0.1 seconds for .*search.yaml"):
        cluster.wait_for_search(role(), tmp_path / "search", timeout_seconds=0.1)
    (tmp_path / "search").mkdir()
    timer = threading.Timer(0.2, (tmp_path / "search" / "search.yaml").touch)
    timer.start()
    cluster.wait_for_search(role(), tmp_path / "search", timeout_seconds=10)


def test_an_id_is_given_once_at_a_time(tmp_path):
    with heartbeats.beating(tmp_path, ["tuner0.0", "tuner0.1"]):
        with pytest.raises(InputError, match="Received: KERASTUNER_TUNER_ID for 'tuner0.1', which another process has"):
            heartbeats.beating(tmp_path, ["tuner0.1"]).__enter__()
        with heartbeats.beating(tmp_path, ["tuner1.0"]):
            pass
    with heartbeats.beating(tmp_path, ["tuner0.1"]):
        pass


@pytest.mark.slow
def test_a_worker_is_silent_once_it_is_killed_and_hears_that_it_was_given_up(tmp_path):
    program = f"""
import pathlib, time
from kerastrain.tuning import heartbeats
with heartbeats.beating(pathlib.Path({str(tmp_path)!r}), ["tuner0.0"], every_seconds=0.05):
    print("beats", flush=True)
    time.sleep(60)
"""
    worker = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    worker.stdout.readline()
    watch = heartbeats.Watch(tmp_path, stale_seconds=2)
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        assert not watch.silent("tuner0.0")
        time.sleep(0.02)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    until = time.monotonic() + 60
    while not watch.silent("tuner0.0"):
        assert time.monotonic() < until
        time.sleep(0.02)
    with heartbeats.beating(tmp_path, ["tuner0.0"], every_seconds=0.05) as signs:  # started again in time
        assert not watch.silent("tuner0.0")
        assert not signs.given_up
        watch.give_up("tuner0.0")
        assert signs.given_up


def test_a_worker_that_never_gave_a_sign_is_silent_after_the_same_time(tmp_path):
    watch = heartbeats.Watch(tmp_path, stale_seconds=0.5)
    assert not watch.silent("tuner9")
    time.sleep(0.6)
    assert watch.silent("tuner9")


def test_roles_need_no_tensorflow():
    program = (
        "import sys; from kerastrain.tuning import cluster, heartbeats; "
        "print({'tensorflow', 'keras_tuner', 'grpc'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "set()"


@pytest.mark.parametrize(
    ("name", "words", "sentence"),
    [
        ("chief", ["--out", "search", "--workers", "2"], "the chief of a search over several machines trains nothing"),
        ("tuner0", [], "share one folder. Received: KERASTUNER_TUNER_ID=tuner0 without --out"),
        ("../0", ["--out", "search"], "KERASTUNER_TUNER_ID must be made of letters"),
        ("tuner0", ["--out", "search", "--build", "model.py:build"], "a search with --build runs on one machine"),
    ],
)
def test_the_command_refuses_a_role_that_cannot_be(tmp_path, monkeypatch, capsys, name, words, sentence):
    monkeypatch.chdir(tmp_path)
    for variable, value in zip(NAMES, (name, "127.0.0.1", "7777"), strict=True):
        monkeypatch.setenv(variable, value)
    _, told = commands.runner(monkeypatch, capsys, "tune")(*words, "trials=2", code=2)
    assert sentence in told
    assert told.count("\n") == 1
    assert not list(tmp_path.iterdir())
