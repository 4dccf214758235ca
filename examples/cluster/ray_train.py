"""Two workers under Ray Train, by the line of one machine: what follows the script's name is given to `kerastrain train`.

    python examples/cluster/ray_train.py recipe.yaml fit.epochs=5 --resume /shared/runs/flowers

Ray sets TF_CONFIG in each worker. The folder of the run must be one that all nodes see, and paths must be absolute: a
worker has a working directory of its own.

Tried by hand: Ray 2.60.0, two workers on one host, which ended with the losses of one process. Not tried: several hosts.
"""

import subprocess
import sys

from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.tensorflow import TensorflowTrainer


def worker(settings):
    """What each worker does: TF_CONFIG passes on to the command, which needs a process of its own."""
    subprocess.run(["kerastrain", "train", *settings["arguments"]], check=True)


if __name__ == "__main__":
    TensorflowTrainer(
        worker,
        train_loop_config={"arguments": sys.argv[1:]},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(failure_config=FailureConfig(max_failures=3)),
    ).fit()
