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


def faults(what):
    command = [sys.executable, "-c", SCRIPT, what]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can keep what is freed")
def test_freed_memory_is_used_again_without_asking_the_system():
    assert faults("keep") < faults("give back") / 10
