"""Batches whose images a process decodes are those of this process; what cannot be served is a sentence."""

import contextlib
import os
import signal
import socket
import time

import numpy as np
import processes
import pytest
import tensorflow as tf
from PIL import Image

from kerastrain import config as configs
from kerastrain import data, distribute
from kerastrain.data import reading
from kerastrain.data.service import client, worker
from kerastrain.errors import InputError

SIZE = (6, 8)


def serve(port, ready):
    servers = worker.start(port, "localhost")
    ready.touch()
    signal.pause()
    del servers


@contextlib.contextmanager
def decoding_worker(folder):
    """The address of a worker in a process of its own, and the process."""
    with socket.create_server(("localhost", 0)) as one:
        port = one.getsockname()[1]
    process = processes.server().Process(target=serve, args=(port, folder / "ready"), daemon=True)
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


@pytest.mark.parametrize("source", ["files", pytest.param("records", marks=pytest.mark.slow)])
def test_batches_are_the_same_in_every_pass_from_any_step_and_for_some_devices(source, service, photos, tmp_path):
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
    }
    for devices, workers in ((None, [service] * 2), (distribute.Devices(1, 1, 3), [service])):
        own = list(data.batches(examples(place), 7, devices=devices, **options))
        served = data.batches(examples(place), 7, devices=devices, service=workers, **options)
        assert equal(own, served)
        assert len(list(served.take(3))) == 3  # a pass that is given up
        assert equal(own, served)


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


def test_what_cannot_be_served_is_refused(service, photos):
    with pytest.raises(InputError, match=r"decoded once and cached in memory\. Set data\.cache=none"):
        data.batches(examples(photos, cache="memory"), 4, service=[service])
    arrays = data.Examples(np.zeros(4, int), ("a",), np.zeros((4, *SIZE, 3), np.uint8))
    with pytest.raises(InputError, match="Received: inputs in memory"):
        data.batches(arrays, 4, service=[service])
    with pytest.raises(InputError, match="HOST:PORT. Received: 'decoder'"):
        client.Images(["decoder"], None, None, 1)


def test_the_config_wants_images_that_are_decoded_in_every_epoch():
    assert configs.validate({"data": {"cache": "none", "service": "a:50"}}).data.service == ("a:50",)
    for section, message in (
        ({"service": ["a:50"]}, "Received: cache=auto. Set cache=none"),
        ({"service": ["a:50"], "kind": "text", "cache": "none"}, "Received: kind=text"),
        ({"service": ["a"], "cache": "none"}, "HOST:PORT. Received: 'a'"),
    ):
        with pytest.raises(InputError, match=message):
            configs.validate({"data": section})
