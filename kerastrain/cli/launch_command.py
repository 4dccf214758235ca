"""The verb that starts one training in several processes: `kerastrain launch --workers 2 train …`."""

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
    workers: Annotated[int, typer.Option(min=1, help="Processes to start on this machine.")],
    restarts: Annotated[int, typer.Option(min=0, help="How often all are started again when one fails.")] = 3,
    gpus_per_worker: Annotated[int | None, typer.Option(min=1, help="GPUs that each of them sees.")] = None,
    stop_seconds: Annotated[float, typer.Option(min=0, help="Time to save when they are told to stop.")] = 30.0,
) -> None:
    """Run `train …`, or any other command, in several processes that train as one; where a cluster set TF_CONFIG or
    SLURM's variables, as the one worker that this process is.

    A training goes on from its last saved state when a worker fails. The exit code is that of the worker that failed.
    """  # noqa: D205, D415
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
    """What each worker runs: a training goes on in its folder, whether it is started or started again."""
    if not arguments:
        raise InputError(
            "launch needs a command. Received: none. Write: kerastrain launch --workers 2 train recipe.yaml"
        )
    if arguments[0] != "train":
        return list(arguments)
    verb, *rest = arguments
    rest = [part for one in rest for part in (one.split("=", 1) if one.startswith(("--run=", "--resume=")) else [one])]
    if not {"--run", "--resume"} & set(rest):
        if in_cluster:
            raise InputError(
                "all workers of a cluster must share one folder. Received: none. Add --resume and a folder that all see."
            )
        rest += ["--resume", str(dated("runs"))]
    if "--run" in rest:
        place = rest.index("--run")
        if not in_cluster and Path(*rest[place + 1 : place + 2]).exists() and rest[place + 1 :]:
            raise InputError(
                f"{rest[place + 1]!r} exists already and nothing is overwritten. Choose another name, or go on with "
                f"what is there by --resume {rest[place + 1]}."
            )
        rest[place] = "--resume"
    if (workers > 1 or in_cluster) and not any(one.startswith("runtime.strategy=") for one in rest):
        rest.append("runtime.strategy=multi_worker")
    return [sys.executable, "-m", "kerastrain", verb, *rest]
