#!/bin/bash
# Two workers on two nodes: sbatch examples/cluster/slurm.sh
# Tried: reading the variables of a SLURM step (tests/test_distribute.py). Not tried: this script on a SLURM cluster.
#SBATCH --job-name=kerastrain
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --distribution=block
#SBATCH --requeue
# The command line does the same for a config: srun --distribution=block kerastrain train recipe.yaml \
#   runtime.strategy=multi_worker --resume "$SLURM_SUBMIT_DIR/run"
srun --distribution=block python examples/cluster/train.py "$SLURM_SUBMIT_DIR/run"
