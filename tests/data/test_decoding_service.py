"""Batches whose images a process decodes are those of this process; what cannot be served is a sentence."""

import contextlib
import gc
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import processes
import pytest
import tensorflow as tf
from PIL import Image

from kerastrain import config as configs
from kerastrain import data, distribute
from kerastrain.data import pipeline, reading
from kerastrain.data.service import client, orders, worker
from kerastrain.errors import InputError
from kerastrain.recipe import plan, stages

SIZE = (6, 8)


def serve(port, ready, host):
    servers = worker.start(port, host)
    ready.touch()
    signal.pause()
    del servers


@contextlib.contextmanager
def decoding_worker(folder, host="localhost"):
    """The address of a worker in a process of its own, and the process."""
    with socket.create_server(("localhost", 0)) as one:
        port = one.getsockname()[1]
    process = processes.server().Process(target=serve, args=(port, folder / "ready", host), daemon=True)
    process.start()
    while not (folder / "ready").exists():
        assert process.is_alive()
        time.sleep(0.05)
    yield f"localhost:{port}", process
    process.kill()
    process.join()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with decoding_worker(tmp_path_factory.mktemp("worker")) as (address, _):
        yield address


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number in range(30):
        (folder / str(number % 2)).mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 256, (16, 12, 3), np.uint8)).save(folder / str(number % 2) / f"{number}.png")
    return folder


def examples(place, cache="none"):
    return reading.read(data.listing(place, image_size=SIZE).examples, cache=cache)


def equal(one, other):
    pairs = zip(*(map(tf.nest.flatten, dataset) for dataset in (one, other)), strict=True)
    return all(np.array_equal(*values) for batches in pairs for values in zip(*batches, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "devices", "workers"),
    [("files", None, 2), pytest.param("records", distribute.Devices(1, 1, 3), 1, marks=pytest.mark.slow)],
)
def test_batches_are_the_same_in_every_pass_and_from_any_step(source, devices, workers, service, photos, tmp_path):
    place = (
        photos
        if source == "files"
        else data.write_tfrecords(data.listing(photos, image_size=SIZE), tmp_path / "set", shards=3)
    )
    options = {
        "shuffle": True,
        "sampling": "balanced",
        "epochs": 3,
        "augment": data.augment("flip", "mixup"),
        "start_step": 2,
        "devices": devices,
    }
    own = list(data.batches(examples(place), 7, **options))
    served = data.batches(examples(place), 7, service=[service] * workers, **options)
    assert equal(own, served)
    assert len(list(served.take(3))) == 3  # a pass that is given up
    assert equal(own, served)


@pytest.mark.slow
def test_a_pass_with_many_calls_is_received_once_and_ends_with_the_data_set(service, photos, monkeypatch):
    monkeypatch.setattr(pipeline, "processor_count", lambda: 40)
    threads, receive = [], client._Stream._receive

    def counting(*arguments):
        threads.append(threading.current_thread())
        receive(*arguments)

    monkeypatch.setattr(client._Stream, "_receive", counting)
    served = data.batches(examples(photos), 1, epochs=3, service=[service])
    assert len(list(served.take(60))) == 60
    assert len(threads) == 1
    del served
    gc.collect()
    threads[0].join(10)
    assert not threads[0].is_alive()


def test_the_first_calls_of_a_pass_may_come_in_any_order():
    starts = []

    def make(first):
        starts.append(first)
        return [(step, tf.constant(step)) for step in range(first, 80, 2)]

    stream = client._Stream("localhost:1", 3, 2, 16, make)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(2):  # passes
            asked = [pool.submit(stream.wait_for, step) for step in (9, 5, 3, 7)]
            assert [int(each.result(20)) for each in asked] == [9, 5, 3, 7]
    assert starts == [3, 3]
    assert int(stream.wait_for(61)) == 61
    assert starts == [3, 3, 61]
    stream.stop()


@pytest.mark.slow
def test_a_file_that_the_worker_cannot_read_is_named(service, photos, tmp_path):
    for number in (0, 1):
        path = tmp_path / str(number) / "gone.png"
        path.parent.mkdir()
        Image.new("RGB", (9, 9), (number, 0, 0)).save(path)
    found = examples(tmp_path)
    path.unlink()
    with (
        pytest.raises(InputError, match=r"cannot read: .*no image at '.*gone.png'.*under the same path"),
        data.surface_read_errors(),
    ):
        list(data.batches(found, 2, service=[service]))


@pytest.mark.slow
def test_a_worker_that_is_lost_ends_the_training(photos, tmp_path):
    with decoding_worker(tmp_path) as (address, process):
        batches = iter(data.batches(examples(photos), 1, epochs=50, service=[address]))
        next(batches)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        with (
            pytest.raises(InputError, match=f"the decoding worker {address} was lost.*resume the run"),
            data.surface_read_errors(),
        ):
            list(batches)
    with pytest.raises(InputError, match=f"the decoding worker {address} is missing.*kerastrain data-worker --port"):
        data.batches(examples(photos), 1, service=[address])


@pytest.mark.slow
def test_a_worker_with_a_name_that_leads_nowhere_is_refused(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(client, "_ANSWER_SECONDS", 2.0)
    with (
        decoding_worker(tmp_path, host="nowhere.invalid") as (address, _),
        pytest.raises(InputError, match="must be reached by the name of its --host.*--host localhost"),
    ):
        data.batches(examples(photos), 1, service=[address])


@pytest.mark.slow
def test_what_cannot_be_served_is_refused(service, photos):
    with pytest.raises(InputError, match=r"decoded once and cached in memory\. Set data\.cache=none"):
        data.batches(examples(photos, cache="memory"), 4, service=[service])
    arrays = data.Examples(np.zeros(4, int), ("a",), np.zeros((4, *SIZE, 3), np.uint8))
    with pytest.raises(InputError, match="Received: inputs in memory"):
        data.batches(arrays, 4, service=[service])
    with pytest.raises(InputError, match="HOST:PORT. Received: 'decoder'"):
        client.Images(["decoder"], None, None, 0, 1, calls=1)
    with pytest.raises(InputError, match="`lengths` for texts"):
        data.batches(examples(photos), 4, shuffle=True, lengths=np.ones(30, int), service=[service])


@pytest.mark.slow
def test_the_log_says_which_phases_are_decoded(service, photos, caplog):
    config = configs.validate({"data": {"cache": "none", "service": service}})
    phase = plan.Phase("fit", 1, 1, 0, 0.1, "constant", {})
    features = data.Examples(np.zeros(4, int), ("a",), np.zeros((4, 3), np.float32))
    with caplog.at_level("INFO", logger="kerastrain"):
        for train, said in ((examples(photos), f"are decoded by data.service=[{service}]"), (features, "is not used")):
            stages.training_batches(stages.Stage(None, train), config, phase, start_step=0)
            assert said in caplog.messages[-1]


def test_a_worker_needs_free_ports_and_a_name():
    with socket.create_server(("", 0)) as one:
        port = one.getsockname()[1]
        for first in (port, port - 1):
            with pytest.raises(InputError, match=f"ports {first} and {first + 1} must be free"):
                worker.start(first, "localhost")
    with pytest.raises(InputError, match="Received: 'a:1'"):
        worker.start(port, "a:1")


def test_a_worker_with_other_versions_is_refused(photos, monkeypatch):
    content = orders.packed(orders.of(examples(photos), 4, shuffle=True, sampling="uniform", seed=0))
    assert orders.unpacked(content).options["shuffle"]
    monkeypatch.setattr(orders, "_versions", lambda: {"pillow": "1.0"})
    with pytest.raises(InputError, match="Received: {'pillow': '1.0'}. Install the same there"):
        orders.unpacked(content)


def test_the_config_wants_images_that_are_decoded_in_every_epoch():
    assert configs.validate({"data": {"cache": "none", "service": "a:50"}}).data.service == ("a:50",)
    for section, message in (
        ({"service": ["a:50"]}, "Received: cache=auto. Set cache=none"),
        ({"service": ["a:50"], "kind": "text", "cache": "none"}, "Received: kind=text"),
        ({"service": ["a"], "cache": "none"}, "HOST:PORT. Received: 'a'"),
    ):
        with pytest.raises(InputError, match=message):
            configs.validate({"data": section})
