import json
import socket
import threading
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import distribute
from kerastrain.distribute import cluster, strategies
from kerastrain.errors import InputError
from kerastrain.train_step import keras_trainer

TWO = {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}


@pytest.fixture(autouse=True)
def _first_strategy(monkeypatch):
    """Lets each test make the first strategy of its process, which is not a worker."""
    monkeypatch.setattr(strategies, "_made", {})
    monkeypatch.delenv("TF_CONFIG", raising=False)
    yield
    keras_trainer.unpatch()


def described(**changes):
    return {"TF_CONFIG": json.dumps({**TWO, **changes})}


def test_auto_takes_one_device_where_there_is_no_gpu():
    assert distribute.choose({}).name == "none"
    assert "no GPU" in distribute.choose({}).reason
    assert distribute.make("auto").num_replicas_in_sync == 1


def test_nccl_without_gpus_is_told_before_anything_trains():
    with pytest.raises(
        InputError, match="the all-reduce 'nccl' needs GPUs. Received: the devices CPU:0, CPU:1. Use 'auto'"
    ):
        distribute.make("mirrored", devices=2, all_reduce="nccl")


def test_slurm_tasks_that_are_no_number_are_one_sentence():
    with pytest.raises(InputError, match="SLURM_STEP_NUM_TASKS must be a whole number. Received: 'abc'"):
        distribute.choose({"SLURM_STEP_NUM_TASKS": "abc"})


def test_auto_takes_all_workers_where_there_are_some():
    choice = distribute.choose(described())
    assert (choice.name, choice.reason) == ("multi_worker", "this process is worker 1 of 2")


def test_mirrored_takes_all_devices_and_is_made_once():
    strategy = distribute.make("mirrored")
    assert strategy.num_replicas_in_sync == 2
    assert distribute.make("mirrored") is strategy
    with pytest.raises(ValueError, match="a process has one strategy"):
        distribute.make("mirrored", devices=["CPU:0"])
    assert distribute.make("none").num_replicas_in_sync == 1


@pytest.mark.parametrize("all_reduce", ["hierarchical_copy", "one_device"])
@pytest.mark.parametrize("steps_per_execution", [1, 3])
@pytest.mark.slow
def test_mirrored_adds_gradients_up_in_every_way(all_reduce, steps_per_execution):
    inputs = np.arange(12, dtype="float32").reshape(6, 2) / 10

    def weights(strategy):
        keras.utils.set_random_seed(0)
        with strategy.scope():
            model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
            model.compile("sgd", "mse", steps_per_execution=steps_per_execution)
        model.fit(inputs, inputs[:, :1], batch_size=2, shuffle=False, verbose=0)
        return model.get_weights()[0]

    expected = weights(tf.distribute.get_strategy())
    np.testing.assert_allclose(weights(distribute.make("mirrored", all_reduce=all_reduce)), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "mirored"}, "unknown strategy 'mirored'.* Did you mean 'mirrored'"),
        ({"name": "mirrored", "devices": ["GPU:7"]}, "unknown device 'GPU:7'. Known: CPU:0, CPU:1"),
        ({"name": "none", "devices": ["CPU:0"]}, "`devices` belongs to the strategy 'mirrored'"),
        ({"name": "mirrored", "all_reduce": "ring"}, "unknown all-reduce of strategy 'mirrored': 'ring'"),
        ({"name": "none", "all_reduce": "ring"}, "unknown all-reduce of strategy 'none': 'ring'"),
        ({"name": "tpu"}, "needs a TPU. Received: neither TPU_NAME"),
        ({"name": "multi_worker"}, "needs TF_CONFIG with two workers or more"),
    ],
)
def test_make_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        distribute.make(**arguments)


def test_keras_distribution_is_refused_because_it_does_nothing():
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=["cpu:0"]))
    try:
        with pytest.raises(ValueError, match="does nothing on the TensorFlow backend. Received: DataParallel"):
            distribute.make("none")
    finally:
        keras.distribution.set_distribution(None)


def test_a_cluster_is_read_from_tf_config():
    assert cluster.from_environment(described()) == cluster.Cluster(("a:1", "b:2"), 1)
    with_chief = described(cluster={"chief": ["c:3"], "worker": ["a:1", "b:2"]})
    assert cluster.from_environment(with_chief) == cluster.Cluster(("c:3", "a:1", "b:2"), 2)
    again = {"TF_CONFIG": cluster.Cluster(("a:1", "b:2"), 1).tf_config()}
    assert cluster.from_environment(again) == cluster.Cluster(("a:1", "b:2"), 1)


def test_one_worker_is_no_cluster():
    one_worker = {"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}
    assert cluster.from_environment({"TF_CONFIG": json.dumps(one_worker)}) is None
    assert cluster.from_environment({}) is None


def test_a_cluster_is_read_from_a_slurm_step():
    step = {
        "SLURM_STEP_NUM_TASKS": "3",
        "SLURM_STEP_NODELIST": "node[2,10]",
        "SLURM_STEP_TASKS_PER_NODE": "2,1",
        "SLURM_PROCID": "2",
    }
    with pytest.MonkeyPatch.context() as patch:  # TensorFlow's resolver reads the environment of the process
        for name, value in step.items():
            patch.setenv(name, value)
        assert cluster.from_environment() == cluster.Cluster(("node2:8888", "node2:8889", "node10:8888"), 2)
        assert not distribute.is_chief()
        patch.setenv("SLURMD_NODENAME", "node2")
        with pytest.raises(ValueError, match="task 2 runs on node2, but by blocks it would run on node10"):
            cluster.from_environment()
        patch.delenv("SLURM_STEP_NODELIST")
        with pytest.raises(ValueError, match="SLURM_STEP_NUM_TASKS is above 1, but the other variables"):
            cluster.from_environment()


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"TF_CONFIG": "{worker"}, "TF_CONFIG must be JSON such as"),
        ({"TF_CONFIG": "[1]"}, "TF_CONFIG must have the keys `cluster` and `task`"),
        (described(cluster={"ps": ["a:1"], "worker": ["b:2"]}), "Parameter servers and evaluators are not supported"),
        (described(cluster={"worker": ["a", "b:2"]}), "must be a list of 'host:port'. Received: 'a'"),
        (described(cluster={"worker": ["a:99999", "b:2"]}), "Received: 'a:99999'"),
        (described(cluster={"worker": "a:1"}), "must be a list of 'host:port'. Received: 'a:1'"),
        (described(task={"type": "worker", "index": 2}), "index 2; the cluster has 2 of type 'worker', counted from 0"),
        (described(task={"type": "chief", "index": 0}), "Received: type 'chief', index 0"),
        (described(task={"type": "worker", "index": "1"}), "Received: type 'worker', index '1'"),
    ],
)
def test_a_wrong_cluster_is_told_in_a_sentence(environment, message):
    with pytest.raises(ValueError, match=message):
        cluster.from_environment(environment)


def test_an_unreachable_worker_is_told_within_the_set_time(free_addresses, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.append(clock.pop() + seconds))
    with pytest.raises(ValueError, match=r"worker 0 could not reach worker 1 at 127.0.0.1:\d+ within 60 seconds"):
        cluster.wait_for_workers(cluster.Cluster(free_addresses(2), 0), timeout_seconds=60)
    assert 60 < clock[0] < 62


def test_a_port_that_is_taken_is_told(free_addresses):
    (address,) = free_addresses(1)
    with (
        socket.create_server(("", int(address.rpartition(":")[2]))),
        pytest.raises(ValueError, match="worker 0 could not listen at"),
    ):
        cluster.wait_for_workers(cluster.Cluster((address, "b:2"), 0), timeout_seconds=1)


def test_workers_wait_for_the_last(free_addresses):
    addresses, servers = free_addresses(3), []

    def start(index):
        cluster.wait_for_workers(cluster.Cluster(addresses, index), timeout_seconds=20)
        servers.append(socket.create_server(("", int(addresses[index].rpartition(":")[2]))))  # as TensorFlow's does

    threads = [threading.Timer(index / 4, start, (index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for server in servers:
        server.close()
    assert len(servers) == 3


@pytest.mark.parametrize("count", [1, 7, 12, 13])
def test_every_example_is_seen_once_whatever_the_count(count):
    strategy = distribute.make("mirrored")
    data = distribute.shard(tf.data.Dataset.range(count).batch(4), strategy)
    seen = []
    for shard in data:
        parts = zip(*map(strategy.experimental_local_results, shard), strict=True)
        seen.append([int(number) for part, valid_count, _ in parts for number in part[:valid_count]])
        assert all(len(part) for part in strategy.experimental_local_results(shard.batch))
    assert seen == [list(range(first, min(first + 4, count))) for first in range(0, count, 4)]


def test_data_without_a_known_length_is_refused():
    strategy = distribute.make("mirrored")
    with pytest.raises(ValueError, match="known, finite length"):
        distribute.shard(tf.data.Dataset.range(5).filter(lambda number: number > 2).batch(2), strategy)
