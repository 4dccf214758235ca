import pytest

from kerastrain.keras_internals import slurm


def test_hosts_come_in_the_order_of_slurm(monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "3")
    monkeypatch.setenv("SLURM_STEP_NODELIST", "node[2,10]")
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", "2,1")
    assert list(slurm.tasks_per_host(3).items()) == [("node2", 2), ("node10", 1)]
    monkeypatch.delenv("SLURM_STEP_NODELIST")
    with pytest.raises(RuntimeError, match="SLURM_STEP_NODELIST"):
        slurm.tasks_per_host(3)
