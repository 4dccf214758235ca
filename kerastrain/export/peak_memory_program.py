"""Prints the peak memory in bytes that opening and running a TFLite file adds to a process; prints nothing outside Linux.

`costs` starts this file's text with `python -c`; arguments: the file and the number of threads. It imports LiteRT and
nothing of kerastrain.
"""

import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

_STATUS = Path("/proc/self/status")


def kilobytes(name: str) -> int:
    """One entry of /proc/self/status.

    Args:
        name: str, "VmRSS" for the memory that the process holds now, "VmHWM" for its peak since the last reset.

    Returns:
        int, in kB.
    """
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])


def main(path: str, threads: str) -> None:
    """Opens the file, runs it three times on zeros, and prints the memory added at the peak.

    Args:
        path: str, the TFLite file.
        threads: str, the number of the interpreter's threads.
    """
    if not _STATUS.is_file():
        return
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak; see proc(5)
    before = kilobytes("VmRSS")
    interpreter = Interpreter(model_path=path, num_threads=int(threads))
    interpreter.allocate_tensors()
    for source in interpreter.get_input_details():
        interpreter.set_tensor(source["index"], np.zeros(source["shape"], source["dtype"]))
    for _ in range(3):
        interpreter.invoke()
    print(max(kilobytes("VmHWM") - before, 0) * 1024)


if __name__ == "__main__":
    main(*sys.argv[1:])
