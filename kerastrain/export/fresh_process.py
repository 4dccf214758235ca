"""A file's answers from a Python process that knows nothing of the one that wrote it.

Takes a program's name, a path and arrays; gives arrays. Must not know what a program does.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

_PACKAGES = Path(__file__).parents[2]


def answers(program: str, path: Path, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a program of this package writes when it is given a file and inputs, on the CPU.

    Args:
        program: "saved_model_program" or "keras_program".
        path: the file or folder to open.
        inputs: dict from a name to an array, as the program takes them.

    Returns:
        dict from a name to an array.

    Raises:
        RuntimeError: the program fails; the end of what it said is in the message.
    """
    with tempfile.TemporaryDirectory() as scratch:
        np.savez(f"{scratch}/inputs.npz", **inputs)
        text = Path(__file__).with_name(f"{program}.py").read_text()
        known = os.pathsep.join(filter(None, [str(_PACKAGES), os.environ.get("PYTHONPATH")]))
        finished = subprocess.run(
            [sys.executable, "-c", text, str(path.resolve()), "inputs.npz", "outputs.npz"],
            cwd=scratch,
            env={**os.environ, "PYTHONPATH": known, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"},
            capture_output=True,
            text=True,
        )
        if finished.returncode:
            raise RuntimeError(f"{path.name} does not run in a fresh process:\n{finished.stderr[-4000:]}")
        with np.load(f"{scratch}/outputs.npz") as outputs:
            return dict(outputs)
