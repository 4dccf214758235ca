"""Weights, loss and metrics after 20 steps in two worker processes on loopback are those of one process."""

import os
import time

import cases
import numpy as np
import processes
import pytest

from kerastrain import distribute

pytestmark = pytest.mark.multi_worker
TOLERANCE = 1e-6


def work(index, pairs, folder, environment):
    """Trains the cases `pairs` as worker `index` of the cluster in TF_CONFIG and saves the results to `folder`."""
    processes.enter(environment, [folder / f"{index}.output"] * 2)
    strategy = distribute.make("multi_worker", timeout_seconds=120)
    for name, option in pairs:
        np.savez(folder / f"{name}_{option}_{index}.npz", **cases.trained(name, option, strategy))


def train_in_processes(addresses, pairs, folder, timeout_seconds):
    """Runs `work` in one process for each address until all have ended; fails with their output if one failed."""
    context, workers = processes.server(), []
    for index in range(len(addresses)):
        environment = {**os.environ, "TF_CONFIG": distribute.Cluster(addresses, index).tf_config()}
        workers.append(context.Process(target=work, args=(index, pairs, folder, environment)))
        workers[-1].start()
    deadline = time.monotonic() + timeout_seconds
    for worker in workers:
        worker.join(max(deadline - time.monotonic(), 0))
        worker.kill()
        worker.join()
    outputs = [path.read_text() for path in sorted(folder.glob("*.output"))]
    assert [worker.exitcode for worker in workers] == [0] * len(workers), "\n".join(outputs)


def assert_all_equal_one_process(addresses, pairs, folder, timeout_seconds=300):
    train_in_processes(addresses, pairs, folder, timeout_seconds)
    differences = {}
    for name, option in pairs:
        expected = cases.trained_on_one_device(name, option)
        for index in range(len(addresses)):
            worker = dict(np.load(folder / f"{name}_{option}_{index}.npz"))
            differences[name, option, index] = max(cases.largest_differences(expected, worker))
    print(f"the largest difference of {len(differences)} trainings: {max(differences.values()):.2g}")
    assert {case: difference for case, difference in differences.items() if not difference <= TOLERANCE} == {}


def test_two_processes_equal_one(tmp_path, free_addresses):
    assert_all_equal_one_process(free_addresses(2), [("adamw", "all"), ("sgd", "accumulation")], tmp_path)


@pytest.mark.equality
def test_three_processes_equal_one(tmp_path, free_addresses):
    assert_all_equal_one_process(free_addresses(3), [("adamw", "all")], tmp_path)


def test_mixed_precision_in_two_processes_is_that_of_one(tmp_path, free_addresses):
    train_in_processes(free_addresses(2), [("sgd", "mixed_float16")], tmp_path, 300)
    expected = cases.trained_on_one_device("sgd", "mixed_float16")
    roundoff = 2.0**-11
    for index in range(2):
        worker = dict(np.load(tmp_path / f"sgd_mixed_float16_{index}.npz"))
        for name in (name for name in expected if name.startswith("weight") or name.endswith("loss")):
            np.testing.assert_allclose(worker[name], expected[name], atol=2 * roundoff, err_msg=name)
