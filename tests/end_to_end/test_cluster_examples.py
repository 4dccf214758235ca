"""What starts workers on clusters, as far as it can be tried on one machine: the weights of one process come out."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import processes
import pytest
import yaml

from kerastrain import distribute, testing

FOLDER = Path(__file__).parents[2] / "examples" / "cluster"
RECIPE = {
    "data": {"path": "colours", "validation_fraction": 0.3},
    "model": {"backbone": "module", "dropout": 0},
    "fit": {"head_epochs": 1, "epochs": 1, "global_batch_size": 7},
    "export": {"formats": []},
}
# Starts the tasks of a step of two on this host, with the variables that SLURM gives them.
SRUN = """#!{python}
import os, subprocess, sys
step = {{"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "localhost", "SLURM_STEP_TASKS_PER_NODE": "2"}}
tasks = [subprocess.Popen(sys.argv[2:], env=os.environ | step | {{"SLURM_PROCID": str(n)}}) for n in range(2)]
sys.exit(max(task.wait() for task in tasks))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a recipe, and the run of one process in `alone`."""
    place = tmp_path_factory.mktemp("cluster")
    testing.saved_model(place / "module", image_size=(32, 32))
    testing.colour_folder(place / "colours", count=8)
    (place / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    processes.kerastrain(place, "train", "recipe.yaml", "--run", "alone")
    return place


def environment(place, **variables):
    """The environment of this process without a cluster, with `kerastrain` and what lies in `place` on the path."""
    kept = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    path = os.pathsep.join([str(place), str(Path(sys.executable).parent), kept["PATH"]])
    return {**kept, "CUDA_VISIBLE_DEVICES": "", "XDG_STATE_HOME": str(place / "state"), "PATH": path, **variables}


def assert_like_alone(place, run):
    losses = [np.loadtxt(place / name / "history.csv", delimiter=",", skiprows=1, dtype=str) for name in ("alone", run)]
    header = (place / run / "history.csv").read_text().splitlines()[0].split(",")
    columns = [number for number, name in enumerate(header) if name not in ("phase", "seconds")]
    one, other = (table[:, columns].astype(float) for table in losses)
    np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)
    assert (place / run / "finished.json").exists() == (place / "alone" / "finished.json").exists()


@pytest.mark.chaos
@pytest.mark.multi_worker
def test_the_slurm_script_trains_in_the_tasks_of_a_step(place):
    (place / "srun").write_text(SRUN.format(python=sys.executable))
    (place / "srun").chmod(0o755)
    command = ["bash", FOLDER / "slurm.sh", "recipe.yaml", "--resume", "slurm"]
    done = subprocess.run(command, cwd=place, env=environment(place), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_like_alone(place, "slurm")


@pytest.mark.chaos
@pytest.mark.multi_worker
def test_the_command_of_the_manifest_trains_under_the_operators_tf_config(place, free_addresses):
    job = yaml.safe_load((FOLDER / "tfjob.yaml").read_text())
    worker = job["spec"]["tfReplicaSpecs"]["Worker"]
    (container,) = worker["template"]["spec"]["containers"]
    addresses = free_addresses(worker["replicas"])
    workers = []
    for index in range(worker["replicas"]):
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": {"worker": addresses}, "task": task, "environment": "cloud"})
        variables = environment(place, TF_CONFIG=config)
        workers.append(subprocess.Popen(container["command"], cwd=place, env=variables))
    assert [one.wait(timeout=300) for one in workers] == [0] * len(workers)
    assert_like_alone(place, "run")


@pytest.mark.multi_worker
def test_the_cluster_example_trains_and_only_the_chief_writes(tmp_path):
    said = []
    command = [sys.executable, str(FOLDER / "train.py"), str(tmp_path)]
    assert distribute.launch(command, workers=2, restarts=0, say=said.append) == 0, said
    accuracies = [re.fullmatch(r"\[0\] accuracy (0\.\d+)", line) for line in said]
    assert [float(found[1]) > 0.9 for found in accuracies if found] == [True]
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]
