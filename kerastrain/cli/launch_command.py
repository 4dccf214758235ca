"""The command that starts a training in several processes: `kerastrain launch --workers 2 train …`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from kerastrain import distribute
from kerastrain.cli.program import app, dated
from kerastrain.distribute import cluster as clusters
from kerastrain.errors import InputError
from kerastrain.system.terminal import printable


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def launch(
    context: typer.Context,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes to start on this machine.")],
    restarts: Annotated[
        int, typer.Option(min=0, help="Number of times that all processes are restarted after one fails.")
    ] = 3,
    gpus_per_worker: Annotated[int | None, typer.Option(min=1, help="Number of GPUs that each process sees.")] = None,
    stop_seconds: Annotated[
        float, typer.Option(min=0, help="Seconds that a worker has to save a checkpoint after a stop signal.")
    ] = 30.0,
) -> None:
    """Run a training in several processes.

    Write the command after the options: kerastrain launch --workers 2 train recipe.yaml. The processes train one model
    together. If a cluster has set TF_CONFIG or SLURM's variables, this process becomes one worker of that cluster.

    When a worker fails, all are restarted, and training resumes from the newest checkpoint. The exit code is that of the
    worker that failed. Other commands than train run unchanged in every process.
    """
    cluster = clusters.from_environment()
    command = _command(context.args, workers=workers, in_cluster=cluster is not None)
    code = distribute.launch(
        command,
        workers=workers,
        restarts=restarts,
        gpus_per_worker=gpus_per_worker,
        stop_seconds=stop_seconds,
        say=lambda line: print(printable(line), flush=True),
    )
    sys.exit(code)


def _command(arguments: Sequence[str], *, workers: int, in_cluster: bool) -> list[str]:
    """Returns the command of each worker. A training gets --resume, so that a restart continues in the same folder."""
    if not arguments:
        raise InputError(
            "launch needs a command. Received: none. Write: kerastrain launch --workers 2 train recipe.yaml"
        )
    if arguments[0] != "train":
        return list(arguments)
    name, *rest = arguments
    rest = [
        part
        for argument in rest
        for part in (argument.split("=", 1) if argument.startswith(("--run=", "--resume=")) else [argument])
    ]
    if not {"--run", "--resume"} & set(rest):
        if in_cluster:
            raise InputError(
                "all workers of a cluster must share one folder. Received: none. Add --resume and a folder that all workers can "
                "access."
            )
        rest += ["--resume", str(dated("runs"))]
    if "--run" in rest:
        place = rest.index("--run")
        if not in_cluster and Path(*rest[place + 1 : place + 2]).exists() and rest[place + 1 :]:
            raise InputError(
                f"{rest[place + 1]!r} exists already and is not overwritten. Choose another name, or resume the run in it "
                f"with --resume {rest[place + 1]}."
            )
        rest[place] = "--resume"
    if (workers > 1 or in_cluster) and not any(argument.startswith("runtime.strategy=") for argument in rest):
        rest.append("runtime.strategy=multi_worker")
    return [sys.executable, "-m", "kerastrain", name, *rest]
