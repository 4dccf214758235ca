import re
import sys
from pathlib import Path

import pytest
import yaml

from kerastrain import distribute

FOLDER = Path(__file__).parents[1] / "examples" / "cluster"


@pytest.mark.multi_worker
def test_the_cluster_example_trains_and_only_the_chief_writes(tmp_path):
    said = []
    command = [sys.executable, str(FOLDER / "train.py"), str(tmp_path)]
    assert distribute.launch(command, workers=2, restarts=0, say=said.append) == 0, said
    accuracies = [re.fullmatch(r"\[0\] accuracy (0\.\d+)", line) for line in said]
    assert [float(found[1]) > 0.9 for found in accuracies if found] == [True]
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]


def test_the_manifest_starts_the_example():
    job = yaml.safe_load((FOLDER / "tfjob.yaml").read_text())
    worker = job["spec"]["tfReplicaSpecs"]["Worker"]
    (container,) = worker["template"]["spec"]["containers"]
    assert worker["replicas"] == 2
    assert container["command"][1].endswith("examples/cluster/train.py")
