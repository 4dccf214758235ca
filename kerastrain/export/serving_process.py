"""A process that runs and converts SavedModels, and shares no state with the one that wrote them.

Takes folders and arrays; returns arrays, or the content of TFLite files. Must not know what the signatures compute.
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
from typing import TypeVar

import numpy as np

logger = logging.getLogger("kerastrain")

_HERE = Path(__file__).parent


Answer = TypeVar("Answer")


class NotConverted(Exception):
    """TensorFlow's converter refuses a model; the message is its reason."""


class ServingProcess:
    """A Python process with TensorFlow, without Keras and kerastrain, that runs SavedModels on the CPU and converts them.

    It does what it is asked to do one after the other.

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
        place = self._place()
        _write(place / "inputs", inputs)
        outputs = place / "outputs.npz"

        def read() -> dict[str, np.ndarray]:
            with np.load(outputs) as arrays:
                return dict(arrays)

        return self._begun(["respond", str(path.resolve()), str(place / "inputs"), str(outputs)], path, place, read)

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

    def begin_conversion(
        self, path: Path, quantize: str | None, io: str, calibration: Mapping[str, np.ndarray] | None
    ) -> Callable[[], bytes]:
        """Begins to convert a SavedModel to a TFLite file, and does not wait.

        Args:
            path: Path of the folder, which stays until the answer is there.
            quantize: as for `tflite_conversion.converter`.
            io: as for `tflite_conversion.converter`.
            calibration: as for `tflite_conversion.converter`.

        Returns:
            Callable that waits and returns the content of the file. It raises NotConverted with TensorFlow's reason if the model
            cannot be converted, and RuntimeError if the process fails.
        """
        place = self._place()
        target, arrays = place / "model.tflite", None
        if calibration is not None:
            arrays = str(place / "calibration")
            _write(Path(arrays), calibration)

        def read() -> bytes:
            reason = place / f"{target.name}.txt"
            if reason.exists():
                raise NotConverted(reason.read_text(encoding="utf-8"))
            return target.read_bytes()

        options = {"quantize": quantize, "io": io}
        request = ["convert", str(path.resolve()), options, arrays, str(_HERE / "tflite_conversion.py"), str(target)]
        return self._begun(request, path, place, read)

    def _place(self) -> Path:
        """A new folder for the files of a request."""
        self._running()
        return Path(tempfile.mkdtemp(dir=self._scratch.name))

    def _begun(self, request: list, path: Path, place: Path, read: Callable[[], Answer]) -> Callable[[], Answer]:
        """Sends a request; returns a callable that waits, reads the answer and removes the files of the request."""
        asked = self._ask(request)

        def answer() -> Answer:
            try:
                self._wait(path, request, asked)
                return read()
            finally:
                shutil.rmtree(place, ignore_errors=True)

        return answer

    def _running(self) -> subprocess.Popen:
        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        if self._process is None:
            text = (_HERE / "saved_model_program.py").read_text(encoding="utf-8")
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

    def _ask(self, request: list) -> tuple[subprocess.Popen, int]:
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

    def _wait(self, path: Path, request: list, asked: tuple) -> None:
        answer = self._answer(*asked)
        if answer is None:
            logger.debug("the process for SavedModels has ended; running %s in a new one", path.name)
            answer = self._answer(*self._ask(request))
        if answer is None or answer[0] is not None:
            errors = Path(self._scratch.name, "errors.txt").read_text(encoding="utf-8", errors="replace")
            text = errors if answer is None else answer[0]
            raise RuntimeError(f"{path.name} does not run in a fresh process:\n{text[-4000:]}")

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            for stream in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
            self._process.wait()
            self._process = None


def _write(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    for name, values in arrays.items():
        file = folder / f"{name}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, values)
