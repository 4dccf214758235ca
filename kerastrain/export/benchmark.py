"""Inference time and peak memory of TFLite files, measured side by side in one run.

Takes files, returns records. Must not know what is in the files.
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
    """Time and memory of one inference.

    Args:
        file: str, the file's name.
        seconds: float > 0, median time of one inference on one input.
        time_ratio: float > 0, `seconds` divided by that of the first file.
        memory_bytes: int, peak memory that opening and running the file adds to a process, including the file; None
            where the system does not report it (outside Linux).
        memory_ratio: float, `memory_bytes` divided by that of the first file, or None.
        threads: int > 0, threads of the interpreter.
        repeats: int > 0, measurements of which the median is taken.
    """

    file: str
    seconds: float
    time_ratio: float
    memory_bytes: int | None
    memory_ratio: float | None
    threads: int
    repeats: int


def costs(paths: Sequence[str | os.PathLike], *, threads: int = 1, repeats: int = 30) -> list[Cost]:
    """Measures time and memory of each TFLite file on one input, also as ratios to the first file.

    The files are measured in turns, so that other load on the machine affects them alike: the ratios are more reliable
    than the seconds. Memory is measured in a separate process per file.

    Args:
        paths: sequence of paths of TFLite files, the reference first.
        threads: int > 0, threads of the interpreter.
        repeats: int > 0, measurements per file.

    Returns:
        list of Cost, in the order of `paths`.

    Raises:
        InputError: there are no files, or a number is not positive.
        FileNotFoundError: a file does not exist.
    """
    paths = [Path(path) for path in paths]
    if not paths or threads < 1 or repeats < 1:
        raise InputError(
            "`paths` must not be empty, and `threads` and `repeats` must be at least 1. Received: "
            f"{len(paths)} files, {threads!r} and {repeats!r}."
        )
    if missing := [path for path in paths if not path.is_file()]:
        raise FileNotFoundError(f"{str(missing[0])!r} is not a file. Pass the paths of TFLite files.")
    seconds = _seconds([_interpreter(path, threads) for path in paths], repeats)
    memory = [_memory(path, threads) for path in paths]
    return [
        Cost(
            file=path.name,
            seconds=median,
            time_ratio=median / seconds[0],
            memory_bytes=peak,
            memory_ratio=peak / memory[0] if peak and memory[0] else None,
            threads=threads,
            repeats=repeats,
        )
        for path, median, peak in zip(paths, seconds, memory, strict=True)
    ]


def seconds(paths: Sequence[str | os.PathLike], *, threads: int = 1, budget_seconds: float = 0.5) -> list[float]:
    """Measures the time of TFLite files on one input, in turns as `costs`, but neither memory nor for long.

    Args:
        paths: sequence of paths of TFLite files.
        threads: int > 0, threads of the interpreter.
        budget_seconds: float > 0, about the longest time for each file, of which at least one inference is measured.

    Returns:
        list of float > 0, the median time of one inference in seconds, in the order of `paths`.

    Example:
        >>> seconds(["runs/flowers/exports/model_int8.tflite"])  # doctest: +SKIP
        [0.0042]
    """
    interpreters = [_interpreter(Path(path), threads) for path in paths]
    once = max(_seconds(interpreters, 1), default=1.0)
    return _seconds(interpreters, max(1, min(30, int(budget_seconds / (once * (1 + _INVOCATIONS))))))


def _interpreter(path: Path, threads: int) -> Interpreter:
    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    for source in interpreter.get_input_details():
        interpreter.set_tensor(source["index"], np.zeros(source["shape"], source["dtype"]))
    return interpreter


def _seconds(interpreters: Sequence[Interpreter], repeats: int) -> list[float]:
    measurements = [[] for _ in interpreters]
    for _ in range(repeats):
        for interpreter, times in zip(interpreters, measurements, strict=True):
            interpreter.invoke()  # loads the caches again, which the other files have filled
            start = time.perf_counter()
            for _ in range(_INVOCATIONS):
                interpreter.invoke()
            times.append((time.perf_counter() - start) / _INVOCATIONS)
    return [statistics.median(times) for times in measurements]


def _memory(path: Path, threads: int) -> int | None:
    program = Path(peak_memory_program.__file__).read_text(encoding="utf-8")
    command = [sys.executable, "-c", program, str(path), str(threads)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return int(output) if output else None
