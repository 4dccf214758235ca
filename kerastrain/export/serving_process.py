"""A process that runs SavedModels, and shares no state with the one that wrote them.

Takes folders and arrays; returns arrays. Must not know what the signatures compute.
"""

import contextlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

logger = logging.getLogger("kerastrain")


class ServingProcess:
    """A Python process with TensorFlow, without Keras and kerastrain, that runs SavedModels on the CPU, one after the other.

    Starting a process takes longer than most checks, so one serves all files of a run, and may start before there is a file.
    Each SavedModel is loaded from its folder for its own call. What remains from one call to the next is TensorFlow itself,
    and the operations of `tensorflow_text` once a file has needed them; of the process that wrote the files there is nothing.

    It ends with the context manager, and with the process that started it, however that ends, and removes its files. If it is
    killed, what it has not answered is run in a new one.

    Example:
        >>> with ServingProcess() as process:  # doctest: +SKIP
        ...     outputs = process.outputs(folder, {"serving_default/images": images})["serving_default"]
    """

    def __init__(self):
        self._process, self._scratch, self._answers, self._asked = None, None, [], 0

    def __enter__(self) -> "ServingProcess":
        return self

    def __exit__(self, *error) -> None:
        self._end()
        if self._scratch is not None:
            self._scratch.cleanup()

    def start(self) -> None:
        """Starts the process, if it does not run, and does not wait; a file that is run later finds it ready.

        A process that cannot be started now is started, or reported, when a file is run.
        """
        try:
            self._running()
        except OSError as error:
            logger.debug("the process for SavedModels does not start yet: %s", error)

    def begin(self, path: Path, inputs: Mapping[str, np.ndarray]) -> Callable[[], dict[str, np.ndarray]]:
        """Begins to run a SavedModel, and does not wait.

        Args:
            path: Path of the folder.
            inputs: mapping from "SIGNATURE/ARGUMENT" to an array (n, ...).

        Returns:
            Callable that waits and returns the outputs as `outputs` does.
        """
        self._running()
        place = Path(tempfile.mkdtemp(dir=self._scratch.name))
        for name, values in inputs.items():
            file = place / "inputs" / f"{name}.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, values)
        request = [str(path.resolve()), str(place / "inputs"), str(place / "outputs.npz")]
        asked = self._ask(request)

        def answer() -> dict[str, np.ndarray]:
            try:
                return self._outputs(path, request, asked)
            finally:
                shutil.rmtree(place, ignore_errors=True)

        return answer

    def outputs(self, path: Path, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs a SavedModel.

        Args:
            path: Path of the folder.
            inputs: mapping from "SIGNATURE/ARGUMENT" to an array (n, ...).

        Returns:
            dict from the name of each signature to its first output, an array (n, ...).

        Raises:
            RuntimeError: the SavedModel does not run; the message contains the end of the error output.
        """
        return self.begin(path, inputs)()

    def _running(self) -> subprocess.Popen:
        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        if self._process is None:
            text = Path(__file__).with_name("saved_model_program.py").read_text(encoding="utf-8")
            with open(f"{self._scratch.name}/errors.txt", "ab") as errors:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", text, str(os.getpid()), self._scratch.name],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    cwd=self._scratch.name,
                    env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"},
                )
            self._answers, self._asked = [], 0
        return self._process

    def _ask(self, request: list[str]) -> tuple[subprocess.Popen, int]:
        process = self._running()
        with contextlib.suppress(BrokenPipeError):  # It has been killed, which `_answer` finds as well.
            process.stdin.write(f"{json.dumps(request)}\n".encode())
            process.stdin.flush()
        self._asked += 1
        return process, self._asked

    def _answer(self, process: subprocess.Popen, number: int) -> list | None:
        """A list with the error or None in answer to a request, or None if the process has ended before."""
        while process is self._process and len(self._answers) < number:
            line = process.stdout.readline()
            if line.endswith(b"\n"):
                self._answers.append([json.loads(line)])
            else:
                self._end()
        return self._answers[number - 1] if process is self._process else None

    def _outputs(self, path: Path, request: list[str], asked: tuple) -> dict[str, np.ndarray]:
        answer = self._answer(*asked)
        if answer is None:
            logger.debug("the process for SavedModels has ended; running %s in a new one", path.name)
            answer = self._answer(*self._ask(request))
        if answer is None or answer[0] is not None:
            errors = Path(self._scratch.name, "errors.txt").read_text(encoding="utf-8", errors="replace")
            text = errors if answer is None else answer[0]
            raise RuntimeError(f"{path.name} does not run in a fresh process:\n{text[-4000:]}")
        with np.load(request[-1]) as outputs:
            return dict(outputs)

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            for stream in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
            self._process.wait()
            self._process = None
