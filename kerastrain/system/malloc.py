"""Makes the C library keep freed memory, so that TensorFlow on a CPU can reuse it without asking the system.

Changes the allocator of this process. Must not know of models or strategies.
"""

import ctypes

# Parameters of mallopt (malloc.h of glibc), and their new values.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_ALL, _HEAP = 2**31 - 1, 64 * 2**20


def keep_freed_memory() -> bool:
    """Makes glibc keep freed memory instead of returning it to the system, which zeroes every page for the next step.

    A step frees its activations, and where several devices share a CPU, the heap of each thread would shrink and grow in
    every step; tests/system/test_malloc.py counts the page faults. Where TensorFlow uses oneDNN by default, as on CPUs with
    AVX-512 VNNI, it keeps its memory anyway. The memory of the process stays near its peak. Threads that already have a
    heap are not affected, so call this before TensorFlow starts its threads, which it does with the first tensor or device.

    Returns:
        bool, False if this C library has no such option; only glibc has.

    Reference: mallopt(3), https://man7.org/linux/man-pages/man3/mallopt.3.html
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # Setting any of the three stops glibc from adjusting its threshold for memory mappings, so all three are needed.
    options = {_MMAP_THRESHOLD: _ALL, _TRIM_THRESHOLD: _ALL, _TOP_PAD: _HEAP}
    return all([mallopt(parameter, value) == 1 for parameter, value in options.items()])
