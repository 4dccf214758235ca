import mmap
import platform
import resource

import pytest

from kerastrain.system import resources

CPUINFO = """\
processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz
flags\t\t: fpu avx2 avx512_bf16 amx_bf16
bugs\t\t: spectre_v1

processor\t: 1
model name\t: another
flags\t\t: fpu
"""


@pytest.fixture
def proc(tmp_path, monkeypatch):
    """An empty folder in place of /proc."""
    monkeypatch.setattr(resources, "_PROC", tmp_path)
    return tmp_path


def test_available_bytes_are_those_of_the_kernel():
    with open("/proc/meminfo") as file:
        total_bytes = int(file.readline().split()[1]) * 1024
    assert 0 < resources.available_bytes() < total_bytes


def test_available_bytes_are_assumed_without_proc(proc):
    assert resources._free_bytes() == 4 * 2**30
    (proc / "meminfo").write_text("MemTotal: 8000 kB\nMemAvailable: 3000 kB\n")
    assert resources._free_bytes() == 3000 * 1024


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({"memory.max": "1000\n", "memory.current": "900\n", "memory.stat": "anon 700\ninactive_file 150\n"}, [250]),
        ({"memory.max": "max\n", "memory.current": "900\n", "memory.stat": "inactive_file 150\n"}, []),
        (
            {
                "memory/memory.limit_in_bytes": "1000",
                "memory/memory.usage_in_bytes": "400",
                "memory/memory.stat": "inactive_file 1\ntotal_inactive_file 50\n",
            },
            [650],
        ),
        ({}, []),
    ],
)
def test_container_limit_is_read_for_both_versions_of_cgroup(tmp_path, files, left):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert list(resources._container_bytes(tmp_path)) == left


def test_process_and_peak_bytes_follow_an_allocation():
    if not resources.reset_peak_bytes():
        pytest.skip("this container does not allow writing to /proc/self/clear_refs")
    before, peak_before = resources.process_bytes(), resources.peak_bytes()
    with mmap.mmap(-1, 64 * 2**20) as memory:  # A mapping, because freed heap memory may stay with the process.
        for _ in range(64):
            memory.write(b"x" * 2**20)
        during = resources.process_bytes()
    assert during - before == pytest.approx(64 * 2**20, rel=0.1)
    assert resources.peak_bytes() - peak_before >= 60 * 2**20
    assert resources.process_bytes() < during - 32 * 2**20
    assert resources.reset_peak_bytes()
    assert resources.peak_bytes() < during - 32 * 2**20


def test_process_and_peak_bytes_come_from_getrusage_without_proc(proc):
    assert not resources.reset_peak_bytes()
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert resources.peak_bytes() == pytest.approx(peak_bytes, rel=0.05)
    assert resources.process_bytes() == pytest.approx(peak_bytes, rel=0.05)


def test_name_and_flags_of_the_first_processor(proc):
    (proc / "cpuinfo").write_text(CPUINFO)
    assert resources.processor_name() == "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz"
    assert resources.processor_flags() == "fpu avx2 avx512_bf16 amx_bf16"


def test_flags_of_an_arm_processor(proc):
    (proc / "cpuinfo").write_text("processor\t: 0\nFeatures\t: fp asimd bf16\n")
    assert resources.processor_flags() == "fp asimd bf16"
    assert resources.processor_name() == (platform.processor() or platform.machine())


def test_without_cpuinfo_the_name_is_the_architecture_and_flags_are_unknown(proc):
    assert resources.processor_name() == (platform.processor() or platform.machine())
    assert resources.processor_flags() == ""


def test_processor_count_is_positive():
    assert resources.processor_count() >= 1


def test_the_memory_of_a_gpu_is_read_from_nvidia_smi(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 81559\necho 24576\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert resources.gpu_bytes() == 24576 * 2**20
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert resources.gpu_bytes() is None
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    program.write_text("#!/bin/sh\nexit 9\n")
    assert resources.gpu_bytes() is None
    program.unlink()
    assert resources.gpu_bytes() is None
