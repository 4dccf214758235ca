"""What every test relies on: two logical CPU devices, fixed seeds, warnings as errors, no network."""

import gc
import os
import signal
import socket
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("MPLBACKEND", "agg")

import pytest

collect_ignore = ["support"]  # programs that tests start
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job in the background ignores, as do its children


def pytest_configure(config):
    """Prepares TensorFlow, except in the process that only hands out tests to others."""
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        return
    import keras  # noqa: F401, to be frozen below
    import tensorflow as tf

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    gc.freeze()  # What the imports made lives for the rest of the run, and need not be traversed again.
    # Tracing makes many objects that live on, of which Python's own thresholds took a twelfth of the time.
    gc.set_threshold(50_000, 20, 50)


@pytest.fixture(autouse=True)
def _seeded():
    import keras

    keras.utils.set_random_seed(0)
    yield
    keras.backend.clear_session(free_memory=False)  # Only the counters of names.


@pytest.fixture(autouse=True, scope="module")
def _swept():
    yield
    # Before so much garbage has accumulated that it takes a minute, during whatever test comes next. What is left lives for
    # the rest of the run, and need not be traversed again.
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    connect = socket.socket.connect

    def local_only(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"tests must not use the network; something asked for {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def shared():
    """A function that gives a path in KERASTRAIN_SHARED, a folder of real photos, texts and weights, or skips the test."""
    folder = Path(os.environ.get("KERASTRAIN_SHARED", Path(__file__).parents[2] / "shared"))

    def found(name):
        if not (folder / name).exists():
            pytest.skip(f"needs {name} in the folder of the environment variable KERASTRAIN_SHARED")
        return folder / name

    return found


@pytest.fixture
def free_addresses():
    """A function that gives so many addresses "127.0.0.1:port" that nothing listens on."""

    def addresses(count):
        servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        ports = [server.getsockname()[1] for server in servers]
        for server in servers:
            server.close()
        return tuple(f"127.0.0.1:{port}" for port in ports)

    return addresses
