#!/bin/bash
# Two workers on two nodes, with the command line of one machine: the script's arguments go to `kerastrain train`.
#     sbatch examples/cluster/slurm.sh recipe.yaml fit.epochs=5 --resume /shared/runs/flowers
# All nodes must see the folder of the run. A job that is requeued or submitted again resumes from the last saved state.
# Tested: this script with a replacement for srun that starts two tasks on one host with SLURM's variables
# (tests/end_to_end/test_cluster_examples.py). Not tested: a SLURM cluster.
#SBATCH --job-name=kerastrain
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --requeue
# By blocks, so that the ranks follow the list of nodes, from which each worker reads the addresses of the others.
srun --distribution=block kerastrain train "$@"
