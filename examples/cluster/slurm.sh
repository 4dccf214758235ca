#!/bin/bash
# Two workers on two nodes, by the line of one machine: what follows the script's name is given to `kerastrain train`.
#     sbatch examples/cluster/slurm.sh recipe.yaml fit.epochs=5 --resume /shared/runs/flowers
# The folder of the run must be one that all nodes see. Requeued, or submitted again, it goes on from the last saved state.
# Tried: this script with a stand-in for srun, which starts two tasks of a step on one host with SLURM's variables
# (tests/test_cluster_examples.py). Not tried: a SLURM cluster.
#SBATCH --job-name=kerastrain
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --requeue
# In blocks, so that the ranks follow the list of nodes, from which each worker reads where the others are.
srun --distribution=block kerastrain train "$@"
