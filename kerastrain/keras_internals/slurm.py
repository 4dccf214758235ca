"""The hosts of a SLURM step, in SLURM's own order.

Takes nothing; reads the environment of the process. Must not start a server or run a program.

The private name is `_resolve_task_configuration` of `tf.distribute.cluster_resolver.SlurmClusterResolver`, read in
TensorFlow 2.21.0: the public `cluster_spec` sorts the hosts by name and so puts node10 before node2, against SLURM's
ranks. `tests/keras_internals/test_slurm.py` fails when it moves.
"""

import tensorflow as tf


def tasks_per_host(task_count: int) -> dict[str, int]:
    """The hosts of this SLURM step and the number of tasks on each.

    Args:
        task_count: int >= 1, all tasks of the step.

    Returns:
        dict from the name of a host to its number of tasks, in the order of SLURM's ranks.

    Raises:
        RuntimeError: a variable of the step is missing, or the variables contradict each other.
        ValueError: a variable cannot be read.
    """
    # One GPU per task, so that the resolver does not run nvidia-smi.
    resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
        auto_set_gpu=False, gpus_per_node=task_count, gpus_per_task=1
    )
    return resolver._resolve_task_configuration()
