"""Whether the C library keeps freed memory, counted by the page faults of new processes."""

import platform
import subprocess
import sys

import pytest

# The C libraries of Alpine and macOS have no `mallopt`, so that `keep_freed_memory` changes nothing and returns False.
pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can keep freed memory")

SCRIPT = """
import resource, sys
from kerastrain.system import malloc
if sys.argv[1] == "keep":
    assert malloc.keep_freed_memory()
bytearray(b"1") * 40_000_000
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    bytearray(b"1") * 40_000_000
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

ON_DEVICES = """
import os, resource, sys
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
import tensorflow as tf
from kerastrain import distribute
from kerastrain.system import malloc
if sys.argv[1] == "give back":
    malloc.keep_freed_memory = lambda: True
strategy = distribute.make("mirrored", devices=2)

def layers():
    x = tf.random.normal([128, 64, 64, 3])
    for _ in range(4):
        x = tf.nn.relu(tf.nn.conv2d(x, tf.ones([3, 3, x.shape[-1], 16]), 1, "SAME"))
    return tf.reduce_sum(x)

step = tf.function(lambda: strategy.run(layers))
counts = []
for _ in range(12):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step()
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(sorted(counts[3:])[4])  # The median: a heap may still grow when the threads are scheduled in another order.
"""


def faults(script, what):
    command = [sys.executable, "-c", script, what]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_freed_memory_is_used_again_without_asking_the_system():
    assert faults(SCRIPT, "keep") < faults(SCRIPT, "give back") / 10


@pytest.mark.chaos
def test_the_devices_of_a_strategy_keep_what_they_free():
    assert faults(ON_DEVICES, "keep") < faults(ON_DEVICES, "give back") / 10
