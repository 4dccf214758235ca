"""Runs an exported file in a new Python process, which shares no state with the one that wrote it.

Takes the name of a program, a path and arrays; returns arrays. Must not know what a program does.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

_PACKAGES = Path(__file__).parents[2]


def run(program: str, path: Path, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Runs a program of this package on a file and inputs, on the CPU.

    Args:
        program: str, the name of the module, such as "keras_program".
        path: Path of the file or folder to open.
        inputs: mapping from a name to an array, as the program takes them.

    Returns:
        dict from a name to an array, the outputs of the program.

    Raises:
        RuntimeError: the program fails; the message contains the end of its error output.
    """
    with tempfile.TemporaryDirectory() as scratch:
        np.savez(f"{scratch}/inputs.npz", **inputs)
        text = Path(__file__).with_name(f"{program}.py").read_text()
        python_path = os.pathsep.join(filter(None, [str(_PACKAGES), os.environ.get("PYTHONPATH")]))
        finished = subprocess.run(
            [sys.executable, "-c", text, str(path.resolve()), "inputs.npz", "outputs.npz"],
            cwd=scratch,
            env={**os.environ, "PYTHONPATH": python_path, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"},
            capture_output=True,
            text=True,
        )
        if finished.returncode:
            raise RuntimeError(f"{path.name} does not run in a fresh process:\n{finished.stderr[-4000:]}")
        with np.load(f"{scratch}/outputs.npz") as outputs:
            return dict(outputs)
