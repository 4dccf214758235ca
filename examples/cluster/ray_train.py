"""Two workers under Ray Train, which sets TF_CONFIG in each: python examples/cluster/ray_train.py FOLDER.

Tried: `train.main` under a TF_CONFIG of this form. Not tried: this script, for Ray is not among the dependencies.
"""

import sys

from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.tensorflow import TensorflowTrainer


def worker(settings):
    """What each worker does."""
    import train

    train.main(settings["folder"])


if __name__ == "__main__":
    TensorflowTrainer(
        worker,
        train_loop_config={"folder": sys.argv[1]},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(failure_config=FailureConfig(max_failures=3)),
    ).fit()
