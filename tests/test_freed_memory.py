"""What the C library does with freed memory, counted in page faults of fresh processes."""

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
from kerastrain import freed_memory
if sys.argv[1] == "keep":
    assert freed_memory.keep()
bytearray(b"1") * 40_000_000
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    bytearray(b"1") * 40_000_000
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

ON_DEVICES = """
import resource, sys
import tensorflow as tf
from kerastrain import distribute
strategy = distribute.make("mirrored", devices=2) if sys.argv[1] == "mirrored" else distribute.make("none")
step = tf.function(lambda: strategy.run(lambda: tf.reduce_sum(tf.random.normal([5_000_000]))))
for _ in range(5):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(script, what):
    command = [sys.executable, "-c", script, what]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can keep what is freed")
def test_freed_memory_is_used_again_without_asking_the_system():
    assert faults(SCRIPT, "keep") < faults(SCRIPT, "give back") / 10


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can keep what is freed")
def test_the_devices_of_a_strategy_keep_what_they_free():
    assert faults(ON_DEVICES, "mirrored") < faults(ON_DEVICES, "none") / 10
