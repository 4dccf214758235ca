"""The command that decodes images for trainings on other machines: `kerastrain data-worker --port 5050`."""

import signal
import sys
from typing import Annotated

import typer

from kerastrain.cli.program import app, start_tensorflow
from kerastrain.system.terminal import printable


@app.command("data-worker")
def data_worker(
    port: Annotated[
        int, typer.Option(min=1, max=65534, help="Port that trainings name in data.service. The next one is used too.")
    ],
    host: Annotated[
        str, typer.Option(help="Name by which trainings reach this machine. localhost: trainings on this machine only.")
    ] = "localhost",
) -> None:
    """Read and decode images for trainings with data.service=[HOST:PORT].

    The image files must be here under the same paths as on the machine that trains. Both ports are open on every network
    interface without a password, whatever the host: whoever reaches them can run operations and read files in this process.

    Runs until it is stopped with Ctrl-C.
    """
    start_tensorflow()
    from kerastrain.data.service import worker

    servers = worker.start(port, host)
    print(
        printable(
            f"decoding images for trainings with data.service={host}:{port}. The ports {port} and {port + 1} are open on every "
            "network interface without a password: see SECURITY.md"
        ),
        flush=True,
    )
    try:
        signal.pause()
    except KeyboardInterrupt:
        del servers
        sys.exit(130)
