"""Prints how many bytes a process holds more at its peak once it has opened and run a TFLite file; nothing outside Linux.

`costs` starts this file's text with `python -c`; arguments: the file and the threads. It imports LiteRT and nothing of
kerastrain.
"""

import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

_STATUS = Path("/proc/self/status")


def kilobytes(word: str) -> int:
    """A line of /proc/self/status: "VmRSS" is what the process holds now, "VmHWM" the most since the last reset."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(word))
    return int(line.split()[1])


def main(path: str, threads: str) -> None:
    """Opens the file, runs it three times on zeros, and prints the difference."""
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
