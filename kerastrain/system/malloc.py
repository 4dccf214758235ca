"""Memory that TensorFlow frees on a CPU stays with the process, for what it allocates next.

Changes how the C library of this process allocates. Must not know of models or strategies.
"""

import ctypes

# Parameters of mallopt (malloc.h of glibc), and what they become.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_ALL, _HEAP = 2**31 - 1, 64 * 2**20


def keep_freed_memory() -> bool:
    """Lets glibc keep what is freed, instead of giving it back to the system to be zeroed page by page in the next step.

    A step frees its activations, and where several devices share a CPU each thread's heap would shrink and grow again with
    every one; tests/system/test_malloc.py counts the page faults. Where TensorFlow takes oneDNN by itself, as on CPUs with
    AVX-512 VNNI, it keeps its memory anyway. What the process holds stays near its peak. Threads that already have a heap go
    on as before: call it before TensorFlow starts its own, which it does with the first tensor or device.

    Returns:
        bool, whether this C library can; only glibc does.

    Reference: mallopt(3), https://man7.org/linux/man-pages/man3/mallopt.3.html
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # All three: each alone ends glibc's own adjustment of the threshold above which it maps memory anew.
    wanted = {_MMAP_THRESHOLD: _ALL, _TRIM_THRESHOLD: _ALL, _TOP_PAD: _HEAP}
    return all([mallopt(parameter, value) == 1 for parameter, value in wanted.items()])
