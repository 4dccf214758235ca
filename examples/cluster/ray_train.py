"""Two workers under Ray Train, with the command line of one machine: the script's arguments go to `kerastrain train`.

    python examples/cluster/ray_train.py recipe.yaml fit.epochs=5 --resume /shared/runs/flowers

Ray sets TF_CONFIG in each worker. All nodes must see the folder of the run, and paths must be absolute, because each worker
has another working directory.

Tested by hand: Ray 2.60.0 with two workers on one host, which ended with the losses of one process. Not tested: several
hosts.
"""

import subprocess
import sys

from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.tensorflow import TensorflowTrainer


def worker(settings):
    """Runs the command in each worker, in a new process that inherits TF_CONFIG."""
    subprocess.run(["kerastrain", "train", *settings["arguments"]], check=True)


if __name__ == "__main__":
    TensorflowTrainer(
        worker,
        train_loop_config={"arguments": sys.argv[1:]},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(failure_config=FailureConfig(max_failures=3)),
    ).fit()
