"""What TFLite files cost where they run: the time of one answer and the memory for it, side by side in one run.

Takes files, gives records. Must not know what is in the files.
"""

import dataclasses
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from kerastrain.errors import InputError
from kerastrain.export import peak_memory_program

_INVOCATIONS = 3


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one answer of a file costs.

    Args:
        file: str, the file's name.
        seconds: float > 0, median time of one answer to one input.
        time_ratio: float > 0, `seconds` over those of the first file.
        memory_bytes: int, the most that a process holds more than before it opened the file, the file included; None
            where the system does not say.
        memory_ratio: float, `memory_bytes` over that of the first file, or None.
        threads: int, of the interpreter.
        repeats: int, measurements behind the median.
    """

    file: str
    seconds: float
    time_ratio: float
    memory_bytes: int | None
    memory_ratio: float | None
    threads: int
    repeats: int


def costs(paths: Sequence[str | os.PathLike], *, threads: int = 1, repeats: int = 30) -> list[Cost]:
    """Time and memory of each TFLite file for one input, as ratios to the first one.

    The files take turns, so that what else the machine does meets all of them alike; the ratios can be trusted where the
    seconds cannot. Memory is that of a process of its own for each file.

    Args:
        paths: TFLite files of one input each, the reference first.
        threads: int > 0, of the interpreter.
        repeats: int > 0, turns of each file.

    Returns:
        list of Cost, in the order of `paths`.

    Raises:
        InputError: there are no files, or a number is not positive.
        FileNotFoundError: one of the files is not there.
    """
    paths = [Path(path) for path in paths]
    if not paths or threads < 1 or repeats < 1:
        raise InputError(
            "`paths` must not be empty, `threads` and `repeats` be at least 1. Received: "
            f"{len(paths)} files, {threads!r} and {repeats!r}."
        )
    if missing := [path for path in paths if not path.is_file()]:
        raise FileNotFoundError(f"{str(missing[0])!r} is no file. Give the paths of TFLite files.")
    seconds = _seconds([_ready(path, threads) for path in paths], repeats)
    memory = [_memory(path, threads) for path in paths]
    return [
        Cost(
            file=path.name,
            seconds=own,
            time_ratio=own / seconds[0],
            memory_bytes=held,
            memory_ratio=held / memory[0] if held and memory[0] else None,
            threads=threads,
            repeats=repeats,
        )
        for path, own, held in zip(paths, seconds, memory, strict=True)
    ]


def _ready(path: Path, threads: int) -> Interpreter:
    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    for source in interpreter.get_input_details():
        interpreter.set_tensor(source["index"], np.zeros(source["shape"], source["dtype"]))
    return interpreter


def _seconds(interpreters: Sequence[Interpreter], repeats: int) -> list[float]:
    found = [[] for _ in interpreters]
    for _ in range(repeats):
        for interpreter, times in zip(interpreters, found, strict=True):
            interpreter.invoke()  # warms the caches that the others have cooled
            start = time.perf_counter()
            for _ in range(_INVOCATIONS):
                interpreter.invoke()
            times.append((time.perf_counter() - start) / _INVOCATIONS)
    return [statistics.median(times) for times in found]


def _memory(path: Path, threads: int) -> int | None:
    program = Path(peak_memory_program.__file__).read_text(encoding="utf-8")
    command = [sys.executable, "-c", program, str(path), str(threads)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return int(said) if said else None
