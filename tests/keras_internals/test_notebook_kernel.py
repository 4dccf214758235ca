"""The kernel of a notebook restarts while a data set is half read: a real kernel, as Jupyter restarts it."""

import json
import sys
import time

import pytest
from jupyter_client import KernelManager
from jupyter_client.kernelspec import KernelSpecManager

from kerastrain import testing

CELL = """
import time
import kerastrain as kt

split = kt.data.image_folder({folder!r}, image_size=(16, 16), validation_fraction=0.2)
# The first batch is there at once; others are still being read in the background when the kernel ends.
read = type(split.train).read
type(split.train).read = lambda self, rows, *epoch: (time.sleep(3 if 0 not in rows else 0), read(self, rows, *epoch))[1]
iterator = iter(kt.data.batches(split.train, 2))
_ = next(iterator)
"""


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """The manager of a kernel of this interpreter, as Jupyter starts it, and a client that runs cells."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    spec = tmp_path / "kernels" / "this" / "kernel.json"
    spec.parent.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec.write_text(json.dumps({"argv": argv, "display_name": "this", "language": "python"}))
    specs = KernelSpecManager(kernel_dirs=[str(spec.parent.parent)], ensure_native_kernel=False)
    manager = KernelManager(kernel_name="this", kernel_spec_manager=specs)
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def run(client, cell):
    printed = []
    reply = client.execute_interactive(
        cell, timeout=60, output_hook=lambda message: printed.append(message["content"].get("text", ""))
    )
    assert reply["content"]["status"] == "ok", reply["content"]
    return "".join(printed)


# An interrupt now and then finds TensorFlow where it cannot be interrupted ("free(): invalid next size"), and the kernel dies.
@pytest.mark.chaos
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_kernel_is_interrupted_and_restarts_at_once_while_a_data_set_is_half_read(kernel, tmp_path):
    manager, client = kernel
    folder = testing.colour_folder(tmp_path / "colours", count=40)
    run(client, CELL.format(folder=str(folder)))
    # With `stop_on_error`, the kernel may abort the next cell too, which it takes for one that was waiting.
    client.execute("print('reading', flush=True)\nfor batch in iterator: pass", stop_on_error=False)
    while client.get_iopub_msg(timeout=60)["content"].get("text") != "reading\n":
        pass
    manager.interrupt_kernel()
    reply = client.get_shell_msg(timeout=60)
    assert reply["content"]["ename"] == "KeyboardInterrupt"
    assert run(client, "print(6 * 7)").strip() == "42"
    began = time.monotonic()
    manager.restart_kernel()
    assert time.monotonic() - began < manager.shutdown_wait_time  # after which a kernel that hangs is killed
    client.wait_for_ready(timeout=60)
    assert run(client, "print(6 * 7)").strip() == "42"
